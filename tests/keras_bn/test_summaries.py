"""Event files: written, and read back with step, tag and value."""

import contextlib
import gc
import json
import re
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request

import numpy as np
import pytest
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from keras_bn import heatmap, summaries


def test_scalars_come_back(tmp_path):
    with contextlib.closing(summaries.writer(tmp_path)) as writer:
        summaries.write_scalars(writer, 7, {"accuracy": 0.25, "loss": 1.5})
        summaries.write_scalars(writer, 3, {"accuracy": 0.125})
    assert summaries.read_scalars(tmp_path) == [{"step": 3, "accuracy": 0.125}, {"step": 7, "accuracy": 0.25, "loss": 1.5}]


def test_a_folder_without_event_files_holds_nothing(tmp_path):
    assert summaries.read_scalars(tmp_path) == []


def test_a_file_that_cannot_be_written_is_an_os_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="event file not written: "):
        summaries.writer(tmp_path / "file" / "run")


def hparams_data(log_dir):
    accumulator = event_accumulator.EventAccumulator(str(log_dir)).Reload()
    contents = accumulator.summary_metadata
    return {tag: plugin_data_pb2.HParamsPluginData.FromString(data.plugin_data.content) for tag, data in contents.items() if tag.startswith("_hparams_")}


def test_hparams_come_back(tmp_path):
    with contextlib.closing(summaries.writer(tmp_path / "run")) as writer:
        summaries.write_hparams(writer, {"contestant": "plain", "depth": 19})
    values = hparams_data(tmp_path / "run")["_hparams_/session_start_info"].session_start_info.hparams
    assert values["contestant"].string_value == "plain"
    assert values["depth"].number_value == 19


def test_the_layout_of_hparams_comes_back(tmp_path):
    summaries.write_hparams_layout(tmp_path, {"contestant": ["plain", "batch_norm"]}, {"test_accuracy": "test accuracy"})
    experiment = hparams_data(tmp_path)["_hparams_/experiment"].experiment
    assert [info.name for info in experiment.hparam_infos] == ["contestant"]
    assert [(info.name.tag, info.display_name) for info in experiment.metric_infos] == [("test_accuracy", "test accuracy")]


RECORDS = [{"step": step, "variance_shift/ratio/01_batch_normalization": 1.0 + step, "variance_shift/ratio/02_batch_normalization": 2.0} for step in (3, 7)]


@pytest.fixture
def logged(tmp_path):
    """A folder into which two hold one log and have written."""
    logs = [summaries.Log.open(tmp_path / "run") for _ in range(2)]
    assert logs[0] is logs[1]
    logs[0].announce("variance_shift")
    logs[1].announce("loss_landscape")
    for record in RECORDS:
        scalars = {tag: value for tag, value in record.items() if tag != "step"}
        descriptions = dict.fromkeys(scalars, "its own name")
        logs[0].write(record["step"], summaries.Measured(scalars, descriptions, {"variance_shift/inputs": np.arange(10.0)}))
    logs[0].draw("variance_shift/ratio", RECORDS, heatmap.Colours("ratio"))
    with contextlib.closing(summaries.writer(tmp_path / "run")) as run:
        summaries.write_hparams(run, {"learning_rate": 0.5})
    return tmp_path


def test_what_a_log_writes_comes_back(logged):
    assert summaries.read_scalars(logged / "run") == RECORDS


def test_a_log_is_closed_with_its_last_holder_and_opened_anew_where_its_folder_is_gone(tmp_path):
    first = summaries.Log.open(tmp_path / "run")
    shutil.rmtree(tmp_path / "run")
    second = summaries.Log.open(tmp_path / "run")
    assert second is not first
    second.write(1, summaries.Measured({"loss": 0.5}, {}, {}))
    assert summaries.read_scalars(tmp_path / "run") == [{"step": 1, "loss": 0.5}]
    del first, second
    gc.collect()
    assert not list(summaries._logs)


@pytest.mark.parametrize("load_fast", ["true", "false"])
def test_a_tensorboard_server_shows_all_of_it(logged, load_fast):
    """A real server over HTTP, by each of its two ways to load: charts, descriptions, the custom scalars' page, pictures, histograms, hyperparameters."""
    if load_fast == "true":
        pytest.importorskip("tensorboard_data_server")
    command = [
        sys.executable,
        "-m",
        "tensorboard.main",
        "--logdir",
        str(logged),
        "--port",
        "0",
        "--host",
        "127.0.0.1",
        "--reload_task",
        "blocking",
        "--reload_interval",
        "0",
    ]
    with subprocess.Popen([*command, "--load_fast", load_fast], stderr=subprocess.PIPE, text=True) as server:
        try:
            address = next(found[0] for line in server.stderr if (found := re.search(r"http://127\.0\.0\.1:\d+/", line)))

            def asked(path, body=None):
                request = urllib.request.Request(f"{address}data/{path}", data=body, headers={"Content-Type": "application/json"})
                with urllib.request.urlopen(request, timeout=60) as answer:
                    return json.load(answer)

            tag = "variance_shift/ratio/01_batch_normalization"
            shown = next(found for _ in range(1000) if (found := asked("plugin/scalars/tags")))  # One of them loads while it answers.
            assert "its own name" in shown["run"][tag]["description"]
            points = asked(f"plugin/scalars/scalars?run=run&tag={urllib.parse.quote(tag)}")
            assert [(step, value) for _, step, value in points] == [(record["step"], record[tag]) for record in RECORDS]
            categories = asked("plugin/custom_scalars/layout")["category"]
            assert [category["title"] for category in categories] == ["variance shift", "loss landscape"]
            band = next(chart["margin"]["series"][0] for chart in categories[1]["chart"] if "margin" in chart)
            assert band == {"value": "loss_landscape/loss", "lower": "loss_landscape/loss_min", "upper": "loss_landscape/loss_max"}
            lines = categories[0]["chart"][0]["multiline"]["tag"]
            assert [bool(re.match(pattern, tag)) for pattern in lines] == [True]
            assert set(asked("plugin/images/tags")["run"]) == {"variance_shift/ratio"}
            assert set(asked("plugin/histograms/tags")["run"]) == {"variance_shift/inputs"}
            groups = asked("plugin/hparams/session_groups", json.dumps({"allowedStatuses": ["STATUS_UNKNOWN", "STATUS_RUNNING"], "sliceSize": 10}).encode())
            assert groups["sessionGroups"][0]["hparams"] == {"learning_rate": 0.5}
        finally:
            server.kill()
