"""`Log`: one TensorBoard run that several callbacks write into, and that a resumed training continues."""

import os
import re
import weakref
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_bn.summaries import dashboard, events, heatmap


class Measured(NamedTuple):
    """What one measurement gives to log. All by tag: scalars: floats; descriptions: texts, of scalars; histograms: arrays of values."""

    scalars: dict[str, float]
    descriptions: dict[str, str]
    histograms: dict[str, np.ndarray]


_open_logs = weakref.WeakValueDictionary()  # By folder.


class Log:
    """One TensorBoard run that several write into."""

    @classmethod
    def open(cls, log_dir: str | os.PathLike) -> "Log":
        """The log of that folder; the same one for all who hold it, since TensorBoard may follow one event file a folder only.

        Raises:
            ValueError: an address such as gs://bucket that was made a path object.
        """
        if isinstance(log_dir, os.PathLike) and re.match(r"\w{2,}:/[^/]", os.fspath(log_dir)):
            raise ValueError(f"`log_dir` is {log_dir!r}, an address from which a path object has taken a slash; expected the address: give it as a string.")
        path = cls.path_of(log_dir)
        log = _open_logs.get(path)
        if log is None or not tf.io.gfile.isdir(path):
            _open_logs[path] = log = cls(path)
        return log

    @staticmethod
    def path_of(log_dir: str | os.PathLike) -> str:
        """The same text for all ways to write a folder."""
        return str(log_dir).rstrip("/") if "://" in str(log_dir) else os.path.abspath(log_dir)

    def __init__(self, log_dir):
        self._earlier = events.read_scalars(log_dir)  # Left by a training that was interrupted.
        self._last_steps = {tag: record["step"] for record in self._earlier for tag in record}
        self._writer = events.writer(log_dir)
        self._number = 0  # Of calls of `write`.
        self._begun, self._written = weakref.WeakKeyDictionary(), {}  # An author's first call; the last call that wrote a tag, and its author, weakly.
        self._tables, self._laid_out = {}, {}

    def announce(self, measure: str, table: Sequence[dashboard.Charted]) -> None:
        """Puts a measure's charts on the Custom Scalars page, from the next `write` on.

        Args:
            measure: its name, which its tags begin with.
            table: the measure's quantities.
        """
        self._tables[measure] = table

    def begin_anew(self) -> None:
        """Forgets what the folder held: the training that starts now does not continue the one that wrote it."""
        self._earlier, self._last_steps, self._written = [], {}, {}

    @events.as_os_error()
    def write(self, step: int, measured: Measured, author: object) -> None:
        """Writes one point of each chart, and flushes, so that TensorBoard can show it.

        A training that continues an interrupted one passes some steps a second time; those are in the folder already, and are not written again.

        Args:
            step: int, optimizer updates so far: the x-axis of every chart.
            measured: its tags are whole, with the measure's name.
            author: who measures.

        Raises:
            OSError: the event file cannot be written.
            ValueError: another author, who writes at the same time, has written this point.
        """
        self._number += 1
        begun = self._begun.setdefault(author, self._number)
        if any(self._last_steps.get(tag, -1) >= step for tag in measured.scalars):
            # One who has written before this author began may be the training that this one continues.
            if any(number > begun and other() is not author for other, number in (self._written[tag] for tag in measured.scalars if tag in self._written)):
                raise ValueError(
                    "another one writes the same tags into this folder, and was first at this step; expected one folder for each: give them others."
                )
            return
        with events.recorded_by(self._writer):
            if self._laid_out != self._tables:
                self._laid_out = dict(self._tables)
                tf.summary.experimental.write_raw_pb(dashboard.layout(self._laid_out), step=step)
            for tag, value in measured.scalars.items():
                value = tf.constant(value, tf.float64)  # TensorFlow refuses a Python float beyond float32; charts, which are float32, show infinity.
                tf.summary.scalar(tag, value, step=step, description=measured.descriptions.get(tag))
            for tag, values in measured.histograms.items():
                tf.summary.histogram(tag, values, step=step)
        self._last_steps.update(dict.fromkeys(measured.scalars, step))
        self._written.update(dict.fromkeys(measured.scalars, (weakref.ref(author), self._number)))

    @events.as_os_error()
    def draw(self, tag: str, records: list[dict], label: str, **colours) -> None:
        """Writes a picture of all layers by all steps so far.

        Args:
            tag: measure/quantity; the layers are the last part of the records' tags.
            records: dicts with "step" and a float (or None for what is not finite) a tag.
            label: of the colour bar.
            colours: as of `heatmap.drawn`.

        Raises:
            OSError: the event file cannot be written.
        """
        records = [*(record for record in self._earlier if record["step"] < records[0]["step"]), *records]
        records = {record["step"]: record for record in records if any(name.startswith(f"{tag}/") for name in record)}
        records = [records[step] for step in sorted(records)]
        rows = sorted({name for record in records for name in record if name.startswith(f"{tag}/")}, key=_number_and_tag)
        if rows:
            steps = [record["step"] for record in records]
            values = np.array([[record.get(row, np.nan) for record in records] for row in rows], "float64")
            picture = heatmap.drawn(tag, [row.removeprefix(f"{tag}/") for row in rows], steps, values, label, **colours)
            with events.recorded_by(self._writer):
                tf.summary.image(tag, tf.io.decode_png(picture)[tf.newaxis], step=steps[-1])


def _number_and_tag(tag):
    """Sorts tags by the number that their last part begins with, as in 02_conv2d."""
    return int(re.match(r"\d*", tag.rsplit("/", 1)[1])[0] or 0), tag
