"""A log that several write into, that a resumed training continues, and that a real TensorBoard server shows."""

import gc
import json
import pathlib
import re
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
import uuid

import numpy as np
import pytest
import tensorflow as tf

from keras_bn import summaries
from keras_bn.measures.loss_landscape import QUANTITIES as LANDSCAPE_QUANTITIES
from keras_bn.measures.variance_shift import QUANTITIES as VARIANCE_QUANTITIES
from keras_bn.summaries import log

RECORDS = [{"step": step, "variance_shift/ratio/01_batch_normalization": 1.0 + step, "variance_shift/ratio/02_batch_normalization": 2.0} for step in (3, 7)]


@pytest.fixture
def logged(tmp_path):
    """A folder into which two hold one log and have written."""
    logs = [summaries.Log.open(tmp_path / "run") for _ in range(2)]
    assert logs[0] is logs[1]
    logs[0].announce("variance_shift", VARIANCE_QUANTITIES)
    logs[1].announce("loss_landscape", LANDSCAPE_QUANTITIES)
    for record in RECORDS:
        scalars = {tag: value for tag, value in record.items() if tag != "step"}
        descriptions = dict.fromkeys(scalars, "its own name")
        logs[0].write(record["step"], summaries.Measured(scalars, descriptions, {"variance_shift/inputs": np.arange(10.0)}), logs[0])
    logs[0].draw("variance_shift/ratio", RECORDS, "ratio")
    summaries.write_hparams(tmp_path / "run", {"learning_rate": 0.5})
    return tmp_path


def test_what_a_log_writes_comes_back(logged):
    assert summaries.read_scalars(logged / "run") == RECORDS


@pytest.mark.parametrize(("value", "shown"), [(1e300, np.inf), (-1e39, -np.inf), (np.float64(1e40), np.inf), (1e-300, 0.0), (0.5, 0.5)])
def test_a_number_beyond_float32_is_infinite_in_its_chart(value, shown, tmp_path):
    log_of_run = summaries.Log.open(tmp_path)
    log_of_run.write(0, summaries.Measured({"a": value}, {}, {}), log_of_run)
    [path] = tmp_path.glob("events*")
    tensors = [tf.make_ndarray(one.tensor) for event in tf.compat.v1.train.summary_iterator(str(path)) for one in event.summary.value if one.tag == "a"]
    assert tensors == [shown]


def test_a_log_is_closed_with_its_last_holder_and_opened_anew_where_its_folder_is_gone(tmp_path):
    first = summaries.Log.open(tmp_path / "run")
    shutil.rmtree(tmp_path / "run")
    second = summaries.Log.open(tmp_path / "run")
    assert second is not first
    second.write(1, summaries.Measured({"loss": 0.5}, {}, {}), second)
    assert summaries.read_scalars(tmp_path / "run") == [{"step": 1, "loss": 0.5}]
    del first, second
    gc.collect()
    assert not list(log._open_logs)


@pytest.mark.parametrize("scheme", ["", "ram://"])
def test_a_resumed_training_writes_nothing_twice_and_a_new_one_everything(scheme, tmp_path):
    log_dir = f"ram://{uuid.uuid4()}" if scheme else str(tmp_path)

    def written(steps, anew=False):
        """What one process with a log of its own adds to the folder."""
        before = set(tf.io.gfile.listdir(log_dir)) if tf.io.gfile.isdir(log_dir) else set()
        run = summaries.Log.open(log_dir)
        if anew:
            run.begin_anew()
        for step in steps:
            run.write(step, summaries.Measured({"variance_shift/ratio/01_batch_normalization": step / 2}, {}, {}), run)
        del run
        gc.collect()
        (name,) = set(tf.io.gfile.listdir(log_dir)) - before
        alone = f"{log_dir}/alone"
        tf.io.gfile.makedirs(alone)
        tf.io.gfile.copy(f"{log_dir}/{name}", f"{alone}/{name}")
        records = summaries.read_scalars(alone)
        tf.io.gfile.rmtree(alone)
        return [record["step"] for record in records]

    assert written([2, 4, 6]) == [2, 4, 6]
    assert written([4, 6, 8]) == [8]
    assert written([4, 6, 8], anew=True) == [4, 6, 8]


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
            address = next(match[0] for line in server.stderr if (match := re.search(r"http://127\.0\.0\.1:\d+/", line)))

            def answer(path, body=None):
                request = urllib.request.Request(f"{address}data/{path}", data=body, headers={"Content-Type": "application/json"})
                with urllib.request.urlopen(request, timeout=60) as response:
                    return json.load(response)

            tag = "variance_shift/ratio/01_batch_normalization"
            shown = next(match for _ in range(1000) if (match := answer("plugin/scalars/tags")))  # One of them loads while it answers.
            assert "its own name" in shown["run"][tag]["description"]
            points = answer(f"plugin/scalars/scalars?run=run&tag={urllib.parse.quote(tag)}")
            assert [(step, value) for _, step, value in points] == [(record["step"], record[tag]) for record in RECORDS]
            categories = answer("plugin/custom_scalars/layout")["category"]
            assert [category["title"] for category in categories] == ["variance shift", "loss landscape"]
            band = next(chart["margin"]["series"][0] for chart in categories[1]["chart"] if "margin" in chart)
            assert band == {"value": "loss_landscape/loss", "lower": "loss_landscape/loss_min", "upper": "loss_landscape/loss_max"}
            lines = categories[0]["chart"][0]["multiline"]["tag"]
            assert [bool(re.match(pattern, tag)) for pattern in lines] == [True]
            assert set(answer("plugin/images/tags")["run"]) == {"variance_shift/ratio"}
            assert set(answer("plugin/histograms/tags")["run"]) == {"variance_shift/inputs"}
            groups = answer("plugin/hparams/session_groups", json.dumps({"allowedStatuses": ["STATUS_UNKNOWN", "STATUS_RUNNING"], "sliceSize": 10}).encode())
            assert groups["sessionGroups"][0]["hparams"] == {"learning_rate": 0.5}
        finally:
            server.kill()


def test_an_address_with_a_slash_at_its_end_is_the_same_folder():
    assert summaries.Log.open("ram://with_slash/run/") is summaries.Log.open("ram://with_slash/run")


def test_an_address_that_was_made_a_path_is_refused():
    with pytest.raises(ValueError, match="`log_dir`") as caught:
        summaries.Log.open(pathlib.PurePosixPath("gs://bucket/run"))
    assert str(caught.value) == (
        "`log_dir` is PurePosixPath('gs:/bucket/run'), an address from which a path object has taken a slash; expected the address: give it as a string."
    )
