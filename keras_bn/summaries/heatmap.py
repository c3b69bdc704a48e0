"""A picture of numbers by layer and step."""

import io

import numpy as np


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
        lowest, highest: ends of the colour bar; None: the least and the greatest of the values. Logarithmic colours span a factor of two at least.
    """
    from matplotlib import colors, style  # Slow to import, and needed only here.

    shown = np.where(np.isfinite(values) & ((values > 0) | (not logarithmic)), values, np.nan)
    present = shown[np.isfinite(shown)]
    if lowest is None:
        lowest = present.min() if present.size else 1.0
    if highest is None:
        highest = present.max() if present.size else 1.0
    if logarithmic:
        highest = max(highest, 2 * lowest)  # Or all colours would show what is hardly a difference.
    if highest <= lowest:
        highest = lowest + max(1.0, abs(lowest) / 100)
    scale = colors.LogNorm(lowest, highest) if logarithmic else colors.Normalize(lowest, highest)
    with style.context("default"):  # A theme of the user's, such as seaborn's, would draw its grid over the fields.
        return _png(title, rows, steps, shown, label, scale, "RdBu" if lowest == -highest else "viridis")


def _png(title, rows, steps, shown, label, scale, colour_map):
    from matplotlib import figure

    drawing = figure.Figure(figsize=(6, 1.4 + 0.22 * len(rows)), dpi=100, layout="constrained")
    axes = drawing.subplots()
    axes.set_facecolor("0.8")
    picture = axes.imshow(shown, aspect="auto", interpolation="nearest", cmap=colour_map, norm=scale)
    axes.set_yticks(range(len(rows)), rows, fontsize=8)
    columns = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), 9)).round().astype(int))
    axes.set_xticks(columns, [steps[column] for column in columns], fontsize=8)
    axes.set_xlabel("step")
    axes.set_title(title, fontsize=10)
    bar = drawing.colorbar(picture, ax=axes, label=label, ticks=scale.inverse(np.linspace(0, 1, 5)), format="%.3g")
    bar.minorticks_off()
    out = io.BytesIO()
    drawing.savefig(out, format="png")
    return out.getvalue()
