"""`Diagnosis`: what was found, as a page, as Markdown, as JSON, as a picture and in TensorBoard."""

import contextlib
import json
import os
import pathlib
import textwrap
from typing import NamedTuple

import numpy as np

from keras_bn import summaries
from keras_bn.measures.conclusions.conclusion import several
from keras_bn.surgery.diagnosis.finding import HINTS, Finding
from keras_bn.surgery.whole_files import whole

TAG = "diagnosis"  # Of its text in TensorBoard.
_WIDTH = 100  # Characters of a line on the page.
SUFFIXES = ".txt", ".md", ".json", ".png", ".pdf", ".svg"


class Shift(NamedTuple):
    """Of one layer, by its own name: what the picture shows.

    variance: variance in inference / moving variance; mean: of the means, in standard deviations; error, mean_error: their standard errors.
    faults: of the findings that name it.
    """

    layer: str
    variance: float
    error: float
    mean: float
    mean_error: float
    faults: tuple[str, ...]


class Diagnosis(NamedTuple):
    """What `diagnose` found. Printed, it is a page.

    model: its name.
    findings: worst first; none where nothing is wrong.
    evidence: on what that was found, a sentence or more.
    evaluations: dict, a mode to its loss and metrics, by name; empty where none could be computed.
    shifts: one `Shift` a layer, in the order in which the model holds them.
    doubtful: layers of which these data are too few to tell.
    """

    model: str
    findings: list[Finding]
    evidence: str
    evaluations: dict[str, dict[str, float]]
    shifts: list[Shift]
    doubtful: list[str]

    @property
    def faults(self) -> list[Finding]:
        """The findings that are more than hints."""
        return [finding for finding in self.findings if finding.fault not in HINTS]

    def __str__(self) -> str:
        lines = [self._headline(), *textwrap.wrap(self.evidence, _WIDTH)]
        if self.evaluations:
            lines += ["", *table(self._rows())]
        for number, finding in enumerate(self.findings, 1):
            lines += ["", f"{number}. {finding.layer}: {finding.fault}"]
            for name, text in _parts(finding):
                width = _WIDTH if name != "remedy" else len(text) + _WIDTH  # A line of code stays one.
                lines += textwrap.wrap(text, width, initial_indent=f"   {name:9s}", subsequent_indent=" " * 12, break_long_words=False)
        return "\n".join(lines)

    def markdown(self) -> str:
        """The same as Markdown."""
        lines = [f"# {self._headline()}", "", self.evidence]
        if self.evaluations:
            lines += ["", *table(self._rows(), is_markdown=True)]
        for number, finding in enumerate(self.findings, 1):
            parts = dict(_parts(finding))
            lines += ["", f"## {number}. {finding.layer}: {finding.fault}", "", f"Measured: {parts['measured']}.", "", parts["why"], ""]
            lines += ["```python", parts["remedy"], "```"]
        return "\n".join(lines) + "\n"

    def to_dict(self) -> dict:
        """The same for programs: what JSON holds; numbers that are not finite are None."""
        return _plain(
            {
                "model": self.model,
                "evidence": self.evidence,
                "evaluations": self.evaluations,
                "findings": [finding._asdict() for finding in self.findings],
                "doubtful": self.doubtful,
                "shifts": [shift._asdict() for shift in self.shifts],
            }
        )

    def plot(self):
        """A `matplotlib.figure.Figure`: layers down, the shift of variance and of mean along, those that a finding names marked."""
        from keras_bn.surgery.diagnosis.picture import drawn  # matplotlib is slow to import.

        return drawn(self._headline(), self.shifts)

    def write(self, path) -> None:
        """Writes it whole: as text (.txt), Markdown (.md), JSON (.json) or a picture (.png, .pdf, .svg). A file that is there is replaced.

        Raises:
            ValueError: a name that ends otherwise.
            OSError: the file cannot be written; what was there is as it was.
        """
        path = pathlib.Path(path)
        if path.suffix not in SUFFIXES:
            raise ValueError(f"{path} says by its end what is to be written; expected one of {', '.join(SUFFIXES)}: choose one.")
        with whole(path) as temporary:
            if path.suffix in (".png", ".pdf", ".svg"):
                self.plot().savefig(temporary)
            else:
                texts = {".txt": lambda: f"{self}\n", ".md": self.markdown, ".json": lambda: json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n"}
                temporary.write_text(texts[path.suffix]())

    def log(self, log_dir: str | os.PathLike, step: int) -> None:
        """Writes it into a TensorBoard run, for the pages "Batch Norm" and "Text".

        Args:
            log_dir: the run's folder: that of the callbacks which measured the training, or another.
            step: int, optimizer updates that the model has had.

        Raises:
            OSError: the event file cannot be written.

        Example:
            >>> import keras_bn
            >>> model = keras.Sequential([keras.Input((2,)), keras_bn.BatchNormalization()])
            >>> keras_bn.surgery.diagnose(model, np.random.default_rng(0).normal(3, 2, (256, 2)), verbose=False).log(log_dir, step=0)
        """
        with contextlib.closing(summaries.writer(log_dir)) as run:
            summaries.write_text(run, step, TAG, self.markdown())

    def _headline(self):
        hints = len(self.findings) - len(self.faults)
        nothing = "nothing is certain" if self.doubtful else "nothing is wrong"
        parts = [several(len(self.faults), "finding") if self.faults else nothing, *([several(hints, "hint")] if hints else [])]
        return f"{self.model}: {', '.join(parts)}"

    def _rows(self):
        names = list(dict.fromkeys(name for values in self.evaluations.values() for name in values))
        rows = [["", *names]]
        for mode, values in self.evaluations.items():
            rows.append([mode, *(shown(values.get(name)) for name in names)])
        return rows


def shown(value) -> str:
    """As reports show it."""
    if isinstance(value, float | np.floating):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return f"{', '.join(map(str, value[:3]))}{f' and {len(value) - 3} more' if len(value) > 3 else ''}"
    return "-" if value is None else str(value)


def _parts(finding):
    # The losses stand in the table above.
    measured = "; ".join(f"{name.replace('_', ' ')} {shown(value)}" for name, value in finding.measured.items() if not name.startswith("loss_"))
    return [("measured", measured), ("why", finding.why), ("remedy", finding.remedy)]


def table(rows: list[list[str]], is_markdown: bool = False) -> list[str]:
    """The lines of a table; rows: of cells, the first the heads."""
    separator, edge = (" | ", "| ") if is_markdown else ("  ", "")
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [(edge + separator.join(cell.ljust(width) for cell, width in zip(row, widths)) + edge[::-1]).rstrip() for row in rows]
    if is_markdown:
        lines.insert(1, f"|{'|'.join('-' * (width + 2) for width in widths)}|")
    return lines


def _plain(value):
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
