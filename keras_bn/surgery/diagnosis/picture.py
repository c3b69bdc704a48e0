"""The picture of a diagnosis."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from keras_bn.measures.conclusions.conclusion import CERTAIN
from keras_bn.surgery.diagnosis.finding import HINTS

_GOOD, _HINT, _BAD = "tab:blue", "0.3", "tab:red"
_MOST_LABELS = 60  # Rows with a name of their own; of more every second, third, ... has one, and those that are marked.


def drawn(title: str, shifts: Sequence) -> Figure:
    """Layers down; along, how many times the moving variance the variance in inference is, and how far the means are apart, beside CERTAIN standard errors.

    Args:
        shifts: of `report.Shift`; those with faults that are no hints are red and bold. Faults stand beside the first of layers in a row that have the same.
    """
    is_bad = [not HINTS.issuperset(shift.faults) for shift in shifts]
    figure = Figure(figsize=(9, 1.8 + 0.24 * max(1, min(len(shifts), 2 * _MOST_LABELS))), dpi=100, layout="constrained")
    of_variance, of_mean = figure.subplots(1, 2, sharey=True)
    rows, colours = np.arange(len(shifts)), [_BAD if bad else _GOOD for bad in is_bad]
    variances, means = (np.asarray([getattr(shift, name) for shift in shifts], float) for name in ("variance", "mean"))
    variances = np.where(variances > 0, variances, np.nan)
    errors = np.asarray([min(CERTAIN * shift.error, 0.99) for shift in shifts])
    of_variance.set_xscale("log")
    of_variance.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    of_variance.xaxis.set_minor_formatter(NullFormatter())
    for axes, values, none, (lower, upper) in (
        (of_variance, variances, 1, (1 - errors, 1 + errors)),
        (of_mean, means, 0, (np.zeros(len(shifts)), [CERTAIN * shift.mean_error for shift in shifts])),
    ):
        axes.axvline(none, color="0.6", linewidth=1)
        axes.hlines(rows, lower, upper, color="0.75", linewidth=6)
        axes.scatter(values, rows, color=colours, s=24, zorder=3)
        axes.grid(axis="y", color="0.92")
        axes.set_axisbelow(True)
    present = variances[np.isfinite(variances)]
    lowest, highest = min([0.5, *present / 1.3]), max([2.0, *present * 1.3])
    of_variance.set_xlim(lowest, highest)
    of_variance.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if highest < 50 * lowest else (1,), numticks=8))
    of_mean.set_xlim(left=-0.05 * max(1.0, np.nanmax(means, initial=0.0)))
    of_variance.set_xlabel("variance in inference / moving variance")
    of_mean.set_xlabel("means apart, in standard deviations")
    every = -(-len(shifts) // _MOST_LABELS) if shifts else 1
    labelled = [row for row in rows if row % every == 0 or shifts[row].faults]
    of_variance.set_yticks(labelled, [shifts[row].layer for row in labelled], fontsize=8)
    for label, row in zip(of_variance.get_yticklabels(), labelled):
        if is_bad[row]:
            label.set(color=_BAD, fontweight="bold")
    for row in rows:
        if shifts[row].faults and (row == 0 or shifts[row].faults != shifts[row - 1].faults):
            of_mean.annotate(
                ", ".join(shifts[row].faults), (1.01, row), xycoords=("axes fraction", "data"), va="center", fontsize=8, color=_BAD if is_bad[row] else _HINT
            )
    of_variance.set_ylim(max(1, len(shifts)) - 0.5, -0.5)
    figure.suptitle(f"{title}\n1 and 0: the moving statistics are right; grey: what may be chance, {CERTAIN:g} standard errors", fontsize=10)
    return figure
