"""A picture of numbers by layer and step."""

import io
from typing import NamedTuple

import numpy as np


class Colours(NamedTuple):
    """How a picture of layers by steps is coloured. quantity: which; lowest, highest: of the colours, or None for those of the values."""

    quantity: str
    logarithmic: bool = False
    lowest: float | None = None
    highest: float | None = None


def drawn(title: str, rows: list[str], steps: list[int], values: np.ndarray, colours: Colours) -> bytes:
    """A PNG picture of values by row and step, one column a measurement.

    Args:
        title: of the picture.
        rows: their labels, from top to bottom.
        steps: of the columns, ascending.
        values: (rows, steps); what is not finite is grey.
        colours: `Colours`.
    """
    from matplotlib import colors, figure  # Slow to import, and needed only here.

    shown = np.where(np.isfinite(values) & ((values > 0) | (not colours.logarithmic)), values, np.nan)
    present = shown[np.isfinite(shown)]
    lowest = colours.lowest if colours.lowest is not None else (present.min() if present.size else 1.0)
    highest = colours.highest if colours.highest is not None else (present.max() if present.size else 1.0)
    if highest <= lowest:
        highest = lowest * 1.01 if lowest > 0 else lowest + 1
    scale = colors.LogNorm(lowest, highest) if colours.logarithmic else colors.Normalize(lowest, highest)
    drawing = figure.Figure(figsize=(6, 1.4 + 0.22 * len(rows)), dpi=100, layout="constrained")
    axes = drawing.subplots()
    axes.set_facecolor("0.8")
    picture = axes.imshow(shown, aspect="auto", interpolation="nearest", cmap="RdBu" if lowest == -highest else "viridis", norm=scale)
    axes.set_yticks(range(len(rows)), rows, fontsize=8)
    places = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), 9)).round().astype(int))
    axes.set_xticks(places, [steps[place] for place in places], fontsize=8)
    axes.set_xlabel("step")
    axes.set_title(title, fontsize=10)
    bar = drawing.colorbar(picture, ax=axes, label=colours.quantity, ticks=scale.inverse(np.linspace(0, 1, 5)), format="%.3g")
    bar.minorticks_off()
    out = io.BytesIO()
    drawing.savefig(out, format="png")
    return out.getvalue()
