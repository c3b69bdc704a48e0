"""A real TensorBoard with the tab: loaded both ways, and with a broken file of the plugin."""

import json
import pathlib
import shutil
import urllib.parse

from tests.tensorboard_plugin_keras_bn.known_logs import STEPS, WORST, ratios
from tests.tensorboard_plugin_keras_bn.started import TensorBoard

ROOT = pathlib.Path(__file__).parents[2]


def test_tensorboard_answers_over_http(tensorboard):
    found = tensorboard.json("series", run=["a"], quantity="variance_shift/ratio")["variance_shift/ratio"]["a"]
    assert found["layers"] == list(ratios(0))
    assert found["values"][2] == [ratios(step)[WORST] for step in STEPS]
    [diagnosis] = tensorboard.json("overview", run="a")["a"]["diagnoses"]
    assert diagnosis["step"] == 90
    status, page = tensorboard.ask("/data/plugin_entry.html?name=keras_bn")
    assert status == 200
    assert "static/index.js" in page
    assert tensorboard.ask(f"/data/plugin/keras_bn/series?{urllib.parse.urlencode({'run': 'nosuch'})}")[0] == 400
    assert tensorboard.ask("/data/plugin/keras_bn/runs", "POST")[0] == 405


def test_a_broken_file_of_the_plugin_leaves_tensorboard_running(logs, tmp_path):
    shutil.copytree(ROOT / "tensorboard_plugin_keras_bn", tmp_path / "tensorboard_plugin_keras_bn")
    (tmp_path / "tensorboard_plugin_keras_bn" / "series.py").write_text("this is no Python")
    started = TensorBoard(logs, cwd=tmp_path)
    status, listing = started.ask("/data/plugins_listing")
    started.end()
    assert status == 200
    assert "scalars" in json.loads(listing)
    assert "keras_bn" not in json.loads(listing)
