"""Where numbers go: the only file that writes TensorBoard's event files, and that reads them back."""

import contextlib
import os
import pathlib
import re
import weakref
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tensorboard.backend.event_processing import event_file_loader
from tensorboard.plugins.hparams import api as hparams_api
from tensorboard.util import tensor_util

from keras_bn import dashboard, heatmap


class Measured(NamedTuple):
    """What one measurement gives to log. All by tag: scalars: floats; descriptions: texts, of scalars; histograms: arrays of values."""

    scalars: dict[str, float]
    descriptions: dict[str, str]
    histograms: dict[str, np.ndarray]


@contextlib.contextmanager
def _as_os_error():
    """TensorFlow has errors of its own for a full disk and its like; the caller gets Python's."""
    try:
        yield
    except tf.errors.OpError as error:
        raise OSError(f"event file not written: {error.message.splitlines()[0]}") from error


@contextlib.contextmanager
def _recorded_by(writer):
    """Within it, summaries are that writer's; at its end they are flushed, so that they are there to be looked at."""
    # Keras's TensorBoard callback leaves word that nothing be recorded on most steps, by whomever.
    with tf.summary.record_if(True), writer.as_default():
        yield
    writer.flush()


def _place(tag):
    """What a tag's last part counts, then the tag."""
    return int(re.match(r"\d*", tag.rsplit("/", 1)[1])[0] or 0), tag


_logs = weakref.WeakValueDictionary()  # Those that are open, by their folder.


class Log:
    """One TensorBoard run that several write into."""

    @classmethod
    def open(cls, log_dir: str | os.PathLike) -> "Log":
        """The log of that folder; the same one to all who hold it, since TensorBoard may follow one event file a folder only."""
        path = str(log_dir) if "://" in str(log_dir) else os.path.abspath(log_dir)
        log = _logs.get(path)
        if log is None or not tf.io.gfile.isdir(path):
            _logs[path] = log = cls(path)
        return log

    def __init__(self, log_dir):
        self._earlier = read_scalars(log_dir)  # What a training that was interrupted has left there.
        self._last = {tag: record["step"] for record in self._earlier for tag in record}
        self._writer = writer(log_dir)
        self._announced, self._laid_out = [], []

    def announce(self, measure: str) -> None:
        """Says that the measure, one of CHARTS, will be written; its charts stand on the Custom Scalars page from the next writing on."""
        if measure not in self._announced:
            self._announced.append(measure)

    def begin_anew(self) -> None:
        """Says that no earlier training goes on: whatever is there already is another's."""
        self._earlier, self._last = [], {}

    @_as_os_error()
    def write(self, step: int, measured: Measured) -> None:
        """Writes one point of each chart, and flushes, so that it is there to be looked at.

        What a training that goes on where another was interrupted comes past once more is there already, and left as it is.

        Args:
            step: int, optimizer updates so far: the x-axis of every chart.
            measured: its tags are whole, with the measure's name.
        """
        if any(self._last.get(tag, -1) >= step for tag in measured.scalars):
            return
        with _recorded_by(self._writer):
            if self._laid_out != self._announced:
                self._laid_out = list(self._announced)
                tf.summary.experimental.write_raw_pb(dashboard.layout(self._laid_out), step=step)
            for tag, value in measured.scalars.items():
                tf.summary.scalar(tag, value, step=step, description=measured.descriptions.get(tag))
            for tag, values in measured.histograms.items():
                tf.summary.histogram(tag, values, step=step)
        self._last.update(dict.fromkeys(measured.scalars, step))

    @_as_os_error()
    def draw(self, tag: str, records: list[dict], colours: heatmap.Colours) -> None:
        """Writes a picture of all layers by all steps so far.

        Args:
            tag: measure/quantity; the layers are what stands behind it in the records' tags.
            records: dicts with "step" and a float a tag.
            colours: of the picture.
        """
        records = [*(record for record in self._earlier if record["step"] < records[0]["step"]), *records]
        records = {record["step"]: record for record in records if any(name.startswith(f"{tag}/") for name in record)}
        records = [records[step] for step in sorted(records)]
        rows = sorted({name for record in records for name in record if name.startswith(f"{tag}/")}, key=_place)
        if rows:
            steps = [record["step"] for record in records]
            values = np.array([[record.get(row, np.nan) for record in records] for row in rows], "float64")
            picture = heatmap.drawn(tag, [row.removeprefix(f"{tag}/") for row in rows], steps, values, colours)
            with _recorded_by(self._writer):
                tf.summary.image(tag, tf.io.decode_png(picture)[tf.newaxis], step=steps[-1])


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
    with _recorded_by(writer):
        for tag, value in values.items():
            tf.summary.scalar(tag, value, step=step)


@_as_os_error()
def write_hparams(writer: tf.summary.SummaryWriter, hparams: dict[str, bool | int | float | str]) -> None:
    """Says which hyperparameters the run had, for TensorBoard's HParams dashboard.

    Args:
        writer: from `writer`; its folder is one row of the dashboard, its scalars are the row's metrics.
        hparams: dict, name to bool, int, float or str.
    """
    with _recorded_by(writer):
        hparams_api.hparams(hparams)


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
