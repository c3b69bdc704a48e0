"""Event files: written, and read back with step, tag and value."""

import contextlib

import pytest
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from keras_bn import summaries


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
