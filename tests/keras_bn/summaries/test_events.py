"""Event files: written, and read back with step, tag and value, on disk and behind a scheme."""

import contextlib
import uuid

import pytest
import tensorflow as tf
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from keras_bn import summaries


@pytest.fixture(params=["disk", "disk, with a glob's characters", "ram"])
def log_dir(request, tmp_path):
    if request.param == "ram":
        return f"ram://{uuid.uuid4()}/run"
    return tmp_path / ("run" if request.param == "disk" else "run[0-9]*")


def write(log_dir, step, values):
    with contextlib.closing(summaries.writer(log_dir)) as writer:
        summaries.write_scalars(writer, step, values)


def test_scalars_come_back(log_dir):
    write(log_dir, 7, {"accuracy": 0.25, "loss": 1.5})
    write(log_dir, 3, {"accuracy": 0.125})
    assert summaries.read_scalars(log_dir) == [{"step": 3, "accuracy": 0.125}, {"step": 7, "accuracy": 0.25, "loss": 1.5}]


def test_a_folder_without_event_files_holds_nothing(log_dir):
    assert summaries.read_scalars(log_dir) == []
    write(f"{log_dir}/below", 1, {"loss": 1.0})
    assert summaries.read_scalars(log_dir) == []


def test_a_file_is_read_up_to_where_its_writer_was_killed(tmp_path):
    write(tmp_path, 1, {"loss": 1.5})
    write(tmp_path, 2, {"loss": 2.5})
    first, _ = sorted(tmp_path.iterdir())
    with contextlib.closing(summaries.writer(tmp_path)) as writer:
        for step in (3, 4):
            summaries.write_scalars(writer, step, {"loss": 0.5})
    cut = (set(tmp_path.iterdir()) - {first, _}).pop()
    cut.write_bytes(cut.read_bytes()[:-10])
    assert summaries.read_scalars(tmp_path) == [{"step": 1, "loss": 1.5}, {"step": 2, "loss": 2.5}, {"step": 3, "loss": 0.5}]


def test_scalars_of_other_writers_come_back_and_what_is_no_scalar_does_not(tmp_path):
    old_form = tf.compat.v1.Summary(value=[tf.compat.v1.Summary.Value(tag="loss", simple_value=0.5)])
    with tf.io.TFRecordWriter(str(tmp_path / "events.out.tfevents.1.theirs")) as file:
        file.write(tf.compat.v1.Event(step=4, summary=old_form).SerializeToString())
    with contextlib.closing(tf.summary.create_file_writer(str(tmp_path))) as writer, writer.as_default():
        tf.summary.histogram("inputs", [1.0, 2.0], step=4)
        tf.summary.text("note", "0.5", step=4)
    assert summaries.read_scalars(tmp_path) == [{"step": 4, "loss": 0.5}]


def test_a_file_that_cannot_be_written_is_an_os_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="event file not written: "):
        summaries.writer(tmp_path / "file" / "run")


def hparams_data(log_dir):
    accumulator = event_accumulator.EventAccumulator(str(log_dir)).Reload()
    contents = accumulator.summary_metadata
    return {tag: plugin_data_pb2.HParamsPluginData.FromString(data.plugin_data.content) for tag, data in contents.items() if tag.startswith("_hparams_")}


def test_hparams_come_back(tmp_path):
    summaries.write_hparams(tmp_path / "run", {"contestant": "plain", "depth": 19})
    values = hparams_data(tmp_path / "run")["_hparams_/session_start_info"].session_start_info.hparams
    assert values["contestant"].string_value == "plain"
    assert values["depth"].number_value == 19


def test_hparams_that_are_written_again_take_the_place_of_the_earlier(tmp_path):
    write(tmp_path / "run", 3, {"loss": 0.5})
    for verdict in ("at chance", "learned"):
        summaries.write_hparams(tmp_path / "run", {"verdict": verdict})
    values = hparams_data(tmp_path / "run")["_hparams_/session_start_info"].session_start_info.hparams
    assert values["verdict"].string_value == "learned"
    assert summaries.read_scalars(tmp_path / "run") == [{"step": 3, "loss": 0.5}]


def test_the_layout_of_hparams_comes_back(tmp_path):
    summaries.write_hparams(tmp_path, {"contestant": "plain"}, layout=({"contestant": ["plain", "batch_norm"]}, {"test_accuracy": "test accuracy"}))
    experiment = hparams_data(tmp_path)["_hparams_/experiment"].experiment
    assert [info.name for info in experiment.hparam_infos] == ["contestant"]
    assert [(info.name.tag, info.display_name) for info in experiment.metric_infos] == [("test_accuracy", "test accuracy")]
