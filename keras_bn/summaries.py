"""Where numbers go: the only file that writes TensorBoard's event files, and that reads them back."""

import contextlib
import os
import pathlib

import tensorflow as tf
from tensorboard.backend.event_processing import event_file_loader
from tensorboard.plugins.hparams import api as hparams_api
from tensorboard.util import tensor_util


@contextlib.contextmanager
def _as_os_error():
    """TensorFlow has errors of its own for a full disk and its like; the caller gets Python's."""
    try:
        yield
    except tf.errors.OpError as error:
        raise OSError(f"event file not written: {error.message.splitlines()[0]}") from error


@_as_os_error()
def writer(log_dir: str | os.PathLike) -> tf.summary.SummaryWriter:
    """A writer of one TensorBoard run, to be closed (`contextlib.closing`).

    Args:
        log_dir: the run's folder; made when it is missing.
    """
    return tf.summary.create_file_writer(str(log_dir))


@_as_os_error()
def write_scalars(writer: tf.summary.SummaryWriter, step: int, values: dict[str, float]) -> None:
    """Writes one point of each chart, and flushes, so that it is there to be looked at.

    Args:
        writer: from `writer`.
        step: int, optimizer updates so far: the x-axis of every chart.
        values: dict, tag to float.

    Example:
        >>> with contextlib.closing(writer(log_dir)) as run:
        ...     write_scalars(run, 10, {"accuracy": 0.5})
        >>> read_scalars(log_dir)
        [{'step': 10, 'accuracy': 0.5}]
    """
    with writer.as_default():
        for tag, value in values.items():
            tf.summary.scalar(tag, value, step=step)
    writer.flush()


@_as_os_error()
def write_hparams(writer: tf.summary.SummaryWriter, hparams: dict[str, bool | int | float | str]) -> None:
    """Says which hyperparameters the run had, for TensorBoard's HParams dashboard.

    Args:
        writer: from `writer`; its folder is one row of the dashboard, its scalars are the row's metrics.
        hparams: dict, name to bool, int, float or str.
    """
    with writer.as_default():
        hparams_api.hparams(hparams)
    writer.flush()


@_as_os_error()
def write_hparams_layout(log_dir: str | os.PathLike, domains: dict[str, list], metrics: dict[str, str]) -> None:
    """Says which columns the HParams dashboard of all runs below `log_dir` has.

    Args:
        log_dir: the folder that holds the runs' folders.
        domains: dict, hyperparameter's name to the list of the values that occur.
        metrics: dict, scalar's tag to the name to show.
    """
    with contextlib.closing(writer(log_dir)) as top, top.as_default():
        hparams_api.hparams_config(
            hparams=[hparams_api.HParam(name, hparams_api.Discrete(values)) for name, values in domains.items()],
            metrics=[hparams_api.Metric(tag, display_name=shown) for tag, shown in metrics.items()],
        )


def read_scalars(log_dir: str | os.PathLike) -> list[dict[str, float]]:
    """The scalars that the event files in a folder hold, as records.

    Args:
        log_dir: one run's folder (folders below it are other runs, and not read).

    Returns:
        A list of dicts, one a step in ascending order: "step" and one float a tag. Of two values of one tag at one step the later written stays.
    """
    records = {}
    for path in sorted(pathlib.Path(log_dir).glob("events.out.tfevents.*")):
        for event in event_file_loader.EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == "scalars":
                    record = records.setdefault(event.step, {"step": event.step})
                    record[value.tag] = tensor_util.make_ndarray(value.tensor).item()
    return [records[step] for step in sorted(records)]
