"""A picture of numbers by layer and step."""

import io
import math
import re

import numpy as np

_WIDTH, _DPI = 3.3, 200  # TensorBoard shows a picture some 330 pixels wide: half of what is drawn, with letters of 7 points.
_ROW, _FONT = 0.11, 7  # Inches of a row, which is a line of text; points.
_LONGEST = 14  # Characters of a row's label.


def drawn(
    title: str,
    rows: list[str],
    steps: list[int],
    values: np.ndarray,
    label: str,
    *,
    logarithmic: bool = False,
    lowest: float | None = None,
    highest: float | None = None,
) -> bytes:
    """A PNG picture of values by row and step, one column a measurement.

    Args:
        title: of the picture.
        rows: their labels, from top to bottom.
        steps: of the columns, ascending.
        values: (rows, steps); what is not finite is grey.
        label: of the colour bar.
        logarithmic: whether the colours are; values that are not positive are grey then.
        lowest, highest: ends of the colour bar; None: the least and the greatest of the values, `rounded`. Logarithmic colours span a factor of two at least.
    """
    from matplotlib import colors, style  # Slow to import, and needed only here.

    shown = np.where(np.isfinite(values) & ((values > 0) | (not logarithmic)), values, np.nan)
    present = shown[np.isfinite(shown)]
    least, greatest = (present.min(), present.max()) if present.size else (1.0, 1.0)
    lowest = rounded(least, down=True) if lowest is None else lowest
    highest = rounded(greatest, down=False) if highest is None else highest
    if logarithmic:
        highest = max(highest, 2 * lowest)  # Or all colours would show what is hardly a difference.
    if highest <= lowest:
        highest = lowest + max(1.0, abs(lowest) / 100)
    scale = colors.LogNorm(lowest, highest) if logarithmic else colors.Normalize(lowest, highest)
    with style.context("default"):  # A theme of the user's, such as seaborn's, would draw its grid over the fields.
        return _png(title, rows, steps, shown, label, scale, "RdBu" if lowest == -highest else "viridis")


def rounded(value: float, down: bool) -> float:
    """The next of 1, 2 and 5 times a power of ten, and 0, so that the colour bars of several runs are alike where their numbers are."""
    if not value:
        return 0.0
    size, away = abs(value), (value < 0) == down
    power = 10.0 ** math.floor(math.log10(size))
    candidates = [multiple * power for multiple in (1.0, 2.0, 5.0, 10.0)]
    nearest = min(one for one in candidates if one >= size * (1 - 1e-9)) if away else max(one for one in candidates if one <= size * (1 + 1e-9))
    return math.copysign(nearest, value)


def labels(rows: list[str]) -> tuple[list[str], str]:
    """Short labels of rows such as 02_conv2d, and what stands beside all of them: numbers, where all are of one kind."""
    parts = [re.fullmatch(r"(\d+)_(.+)", row) for row in rows]
    kinds = {part[2] for part in parts if part}
    if len(kinds) == 1 and all(parts):
        return [part[1] for part in parts], kinds.pop()
    return [row if len(row) <= _LONGEST else f"{row[: _LONGEST - 1]}…" for row in rows], ""


def _png(title, rows, steps, shown, label, scale, colour_map):
    from matplotlib import figure

    drawing = figure.Figure(figsize=(_WIDTH, 1.0 + _ROW * max(len(rows), 4)), dpi=_DPI, layout="constrained")
    axes = drawing.subplots()
    axes.set_facecolor("0.8")
    picture = axes.imshow(shown, aspect="auto", interpolation="nearest", cmap=colour_map, norm=scale)
    short, kind = labels(rows)
    axes.set_yticks(range(len(rows)), short, fontsize=_FONT)
    axes.set_ylabel(kind, fontsize=_FONT)
    columns = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), 5)).round().astype(int))
    axes.set_xticks(columns, [steps[column] for column in columns], fontsize=_FONT)
    axes.set_xlabel("step", fontsize=_FONT)
    axes.set_title(title.replace("/", "\n"), fontsize=_FONT)
    bar = drawing.colorbar(picture, ax=axes, ticks=scale.inverse(np.linspace(0, 1, 3)), format="%.3g")
    bar.set_label(label, fontsize=_FONT)
    bar.ax.tick_params(labelsize=_FONT)
    bar.minorticks_off()
    out = io.BytesIO()
    drawing.savefig(out, format="png")
    return out.getvalue()
