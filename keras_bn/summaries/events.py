"""TensorBoard's event files, in folders that TensorFlow can reach: on disk, or behind a scheme such as gs://."""

import contextlib
import os
import re
from collections.abc import Iterator

import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams_api

_PREFIX = "events.out.tfevents."
_HPARAMS_SUFFIX = ".hparams"


@contextlib.contextmanager
def as_os_error():
    """TensorFlow has errors of its own for a full disk and its like; the caller gets Python's."""
    try:
        yield
    except tf.errors.OpError as error:
        message = re.sub(r"^\{\{.*?\}\} *", "", error.message.splitlines()[0])  # Without the name of TensorFlow's operation.
        raise OSError(f"event file not written: {message}; expected a folder that can be written to: choose another or mend this one.") from error


@contextlib.contextmanager
def recorded_by(writer: tf.summary.SummaryWriter):
    """Inside it, summaries go to that writer; at its end they are flushed, so that TensorBoard can show them."""
    # Keras's TensorBoard callback switches recording off on most steps, for everybody.
    with tf.summary.record_if(True), writer.as_default():
        yield
    writer.flush()


@as_os_error()
def writer(log_dir: str | os.PathLike) -> tf.summary.SummaryWriter:
    """A writer of one TensorBoard run, to be closed (`contextlib.closing`).

    Args:
        log_dir: the run's folder; made when it is missing.

    Raises:
        OSError: the folder cannot be written to.
    """
    return tf.summary.create_file_writer(str(log_dir))


@as_os_error()
def write_scalars(writer: tf.summary.SummaryWriter, step: int, values: dict[str, float]) -> None:
    """Writes one point of each chart, and flushes, so that TensorBoard can show it.

    Args:
        writer: from `writer`.
        step: int, optimizer updates so far: the x-axis of every chart.
        values: dict, tag to float.

    Raises:
        OSError: the event file cannot be written.

    Example:
        >>> with contextlib.closing(writer(log_dir)) as run:
        ...     write_scalars(run, 10, {"accuracy": 0.5})
        >>> read_scalars(log_dir)
        [{'step': 10, 'accuracy': 0.5}]
    """
    with recorded_by(writer):
        for tag, value in values.items():
            tf.summary.scalar(tag, value, step=step)


@as_os_error()
def write_text(writer: tf.summary.SummaryWriter, step: int, tag: str, text: str) -> None:
    """Writes one text, in Markdown, for TensorBoard's Text page, and flushes.

    Args:
        writer: from `writer`.
        step: int, optimizer updates so far.
        tag: its name.
        text: the same tag may have one at each step.

    Raises:
        OSError: the event file cannot be written.
    """
    with recorded_by(writer):
        tf.summary.text(tag, text, step=step)


@as_os_error()
def write_hparams(
    log_dir: str | os.PathLike, hparams: dict[str, bool | int | float | str], layout: tuple[dict[str, list], dict[str, str]] | None = None
) -> None:
    """Writes the run's hyperparameters for TensorBoard's HParams dashboard, in place of those that an earlier call wrote.

    Args:
        log_dir: the run's folder; it is one row of the dashboard, its scalars are the row's metrics.
        hparams: dict, name to bool, int, float or str.
        layout: of one of the runs below a folder: (domains, metrics), which columns the dashboard of all of them has. domains: dict, hyperparameter's name to
            the list of the values that occur. metrics: dict, scalar's tag to the name to show.

    Raises:
        OSError: the event file cannot be written.
    """
    for path in tf.io.gfile.glob(os.path.join(str(log_dir), f"{_PREFIX}*{_HPARAMS_SUFFIX}")):
        tf.io.gfile.remove(path)
    with contextlib.closing(tf.summary.create_file_writer(str(log_dir), filename_suffix=_HPARAMS_SUFFIX)) as own, recorded_by(own):
        if layout is not None:
            domains, metrics = layout
            hparams_api.hparams_config(
                hparams=[hparams_api.HParam(name, hparams_api.Discrete(values)) for name, values in domains.items()],
                metrics=[hparams_api.Metric(tag, display_name=shown) for tag, shown in metrics.items()],
            )
        hparams_api.hparams(hparams)


def read_scalars(log_dir: str | os.PathLike) -> list[dict[str, float]]:
    """The scalars that the event files in a folder hold, as records.

    Args:
        log_dir: one run's folder (folders below it are other runs, and not read).

    Returns:
        A list of dicts, one a step in ascending order: "step" and one float a tag. Of two values of one tag at one step the later written stays. A file whose
        writer was interrupted is read up to there.
    """
    records = {}
    for event in _events(str(log_dir)):
        for value in event.summary.value:
            if value.WhichOneof("value") == "simple_value":  # TensorFlow 1's form, which PyTorch's writer still uses.
                number = value.simple_value
            elif value.metadata.plugin_data.plugin_name == "scalars":
                number = tf.make_ndarray(value.tensor).item()
            else:
                continue
            records.setdefault(event.step, {"step": event.step})[value.tag] = number
    return [records[step] for step in sorted(records)]


def _events(log_dir: str) -> Iterator[tf.compat.v1.Event]:
    """All events in the folder's event files, in the order in which the files were begun."""
    # Listed, not globbed: a folder's name may hold a glob's special characters.
    names = tf.io.gfile.listdir(log_dir) if tf.io.gfile.isdir(log_dir) else []
    for name in sorted(name for name in names if name.startswith(_PREFIX)):
        # A file that ends in the middle of a record belongs to a process that was killed, or that is writing right now.
        with contextlib.suppress(tf.errors.DataLossError):
            for record in tf.data.TFRecordDataset(tf.io.gfile.join(log_dir, name)).as_numpy_iterator():
                yield tf.compat.v1.Event.FromString(record)
