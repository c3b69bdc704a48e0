"""How pictures look: one style for all, and the forms that recipes share."""

import io
import math
import textwrap

import matplotlib
import matplotlib.ticker

matplotlib.use("Agg")

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt

from recipes.frame import claims, files, report

WIDEST_ROW = 3  # Panels beside each other.
MOST_MARKERS, MOST_TICKS = 12, 6  # Along a line, below it.
TITLE_CHARACTERS = 55  # A line of a title, 5 inches.
SMALLEST_DRAWN = 1e-17  # Less than float64 tells from 1: where exact zeros are drawn on logarithmic axes.
PALETTE = "colorblind"  # Ten colours that the colour-blind can tell apart.


def save(picture, experiment, judged, folder):
    """Draws and writes a picture; returns whether there was something to draw.

    Args:
        picture: `recipe.Picture`.
        experiment: `experiment.Experiment`.
        judged: list of (claim, judgement, evidence), as of `claims.judged`.
        folder: path.
    """
    buffer = io.BytesIO()
    with plt.rc_context():  # The process may draw others, which keep their look.
        sns.set_theme(context="notebook", style="whitegrid", palette=PALETTE, rc={"axes.titlesize": 11})
        figure = picture.draw(experiment)
        if figure is None:
            return False
        found = [found_of(claim, said) for claim, said, _ in judged if claim.name in picture.claims]
        if found:
            _title(figure, "\n".join(found))
        figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
        plt.close(figure)
    files.write(folder / f"{picture.name}.png", buffer.getvalue())
    return True


def found_of(claim, said):
    """A claim and what was found of it: its verdict, or the numbers where they are too few for one."""
    if said.verdict != claims.NOT_TESTABLE:
        return f"{claim.sentence}: {said.verdict}"
    return f"{claim.sentence}: {'undecided' if claims.UNDECIDED in said.why else said.measured}"


def summary(judged):
    """What was found of each claim: a panel each, with one point a seed and a line at their mean.

    Args:
        judged: list of (claim, judgement, evidence), as of `claims.judged`.

    Returns:
        A figure.
    """
    columns = min(WIDEST_ROW, len(judged))
    lines = math.ceil(len(judged) / columns)
    figure, axes = plt.subplots(lines, columns, figsize=(4.6 * columns, 0.4 + 3.1 * lines), squeeze=False, layout="constrained")
    for axis, (claim, said, evidence) in zip(axes.flat, judged):
        rows = pd.DataFrame([{"group": group, "value": value} for group, values in evidence.items() for value in values])
        if claim.rule.scale == "log":
            rows["value"] = rows["value"].clip(lower=SMALLEST_DRAWN)
        look = dict(x="group", y="value", hue="group", palette=sns.color_palette(PALETTE, len(evidence)), legend=False, ax=axis)
        sns.stripplot(rows, **look, size=7, alpha=0.75, jitter=0.12)
        sns.pointplot(rows, **look, errorbar=None, marker="_", markersize=34, markeredgewidth=2.5, linestyle="none")
        axis.set(xlabel="", ylabel=textwrap.fill(claim.rule.what, 34), yscale=_scale(claim.rule.scale == "log", rows["value"]))
        if (claimed := getattr(claim.rule, "claimed", None)) is not None:
            axis.axhline(claimed, color="0.4", linestyle=":", linewidth=1.2)
        axis.set_xticks(range(len(evidence)), [textwrap.fill(group.replace("_", " "), 16, break_long_words=False) for group in evidence])
        axis.set_title(textwrap.fill(f"{claim.sentence}: {said.verdict}", 48), fontsize=10)
    for axis in axes.flat[len(judged) :]:
        axis.remove()
    return figure


def curves(rows, label, title, *, x="step", hue="contestant", panels=(), order=None, limits=None, log="", reference=None, share=True):
    """A quantity over optimizer steps: mean over the seeds as a line, standard deviation as a band, single seeds as thin lines; a panel a combination.

    On a logarithmic y-axis the line is the geometric mean, and the band goes from the smallest to the largest.

    Args:
        rows: of `tables.tidy`, of one quantity.
        label: of the y-axis, with its unit.
        title: what was found.
        x: the column along the x-axis: the step, or a hyperparameter, whose values are marked.
        hue: the column that colours and dashes tell apart.
        panels: columns, each combination of whose values is a panel; those with one value make none.
        order: values of `hue`, so that a contestant has one colour in all pictures; None: as they come.
        limits: of the y-axis.
        log: the axes that are logarithmic: "", "x", "y" or "xy".
        reference: (value, what it is called): a dotted line.
        share: whether all panels have the same axes.

    Returns:
        A figure; None where there are no rows.
    """
    rows = rows.dropna(subset="value")
    if rows.empty:
        return None
    panels = [name for name in panels if rows[name].nunique() > 1]
    named = [", ".join(_named(name, value) for name, value in zip(panels, values)) for values in rows[panels].itertuples(index=False)]
    groups = rows.assign(panel=named).groupby("panel", sort=False)
    order = [name for name in (order or rows[hue].unique()) if name in set(rows[hue])]
    look = dict(x=x, y="value", hue=hue, hue_order=order, palette=sns.color_palette(PALETTE, len(order)), style=hue, style_order=order)
    over_training = x == "step"
    spread = dict(errorbar=("pi", 100) if "y" in log else "sd")  # Of the logarithms, where the axis is logarithmic already.
    marked = sorted(rows[x].unique())
    has_markers = not over_training and len(marked) <= MOST_MARKERS
    columns = len(groups) if len(groups) <= WIDEST_ROW else min(WIDEST_ROW, math.ceil(len(groups) ** 0.5))
    lines = math.ceil(len(groups) / columns)
    size = (7.5, 4.2) if len(groups) == 1 else (4 * columns, 0.9 + 3 * lines)
    figure, axes = plt.subplots(lines, columns, figsize=size, squeeze=False, sharex=share, sharey=share, layout="constrained")
    for axis, (name, of_panel) in zip(axes.flat, groups):
        axis.set(xscale=_scale("x" in log, of_panel[x]), yscale=_scale("y" in log, of_panel["value"]))
        sns.lineplot(of_panel, **look, markers=has_markers, **spread, linewidth=2.2, legend=name == next(iter(groups.groups)), ax=axis)
        if over_training and of_panel["seed"].nunique() > 1:
            sns.lineplot(of_panel, **look, units="run", estimator=None, linewidth=0.6, alpha=0.6, legend=False, ax=axis)
        if reference is not None:
            axis.axhline(reference[0], color="0.4", linestyle=":", linewidth=1.2)
            axis.annotate(reference[1], (0.99, reference[0]), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=8, color="0.3")
        axis.set(title=name, xlabel="", ylabel="")
        if has_markers and len(marked) <= MOST_TICKS:
            axis.set_xticks(marked, [f"{value:g}" for value in marked])
            axis.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
        if limits is not None:
            axis.set_ylim(*limits)
    for axis in axes.flat[len(groups) :]:
        axis.remove()
    handles, labels = axes.flat[0].get_legend_handles_labels()
    axes.flat[0].get_legend().remove()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    _title(figure, title)
    for number, axis in enumerate(figure.axes):
        if number % columns == 0:
            axis.set_ylabel(label)
        if number >= len(groups) - columns:  # Nothing is below it.
            axis.set_xlabel("optimizer steps" if over_training else x.replace("_", " "))
            axis.tick_params(labelbottom=True)
    return figure


def percentiles(rows, label, title):
    """Percentiles of a quantity over optimizer steps, of the first seed: a panel a contestant.

    Args:
        rows: of `tables.by_layer`, whose layer is a percentile.
        label, title: as of `curves`.

    Returns:
        A figure; None where there are no rows.
    """
    rows = rows[rows["seed"] == rows["seed"].min()]
    rows = rows.assign(percentile=rows["layer"] + " %").sort_values("layer_number", kind="stable")
    return curves(rows, label, title, hue="percentile", panels=["contestant"])


def agreement(rows, measured, predicted, title, *, order=None):
    """Measured over predicted numbers, one point each, beside the line where they are equal; logarithmic.

    Args:
        rows: with the columns measured, predicted and contestant.
        measured, predicted: labels of the axes, with their units.
        title: what was found.
        order: of the contestants, as of `curves`.

    Returns:
        A figure; None where no row has two positive numbers.
    """
    rows = rows[_are_positive(rows[["measured", "predicted"]]).all(axis=1)]
    if rows.empty:
        return None
    order = [name for name in (order or rows["contestant"].unique()) if name in set(rows["contestant"])]
    figure, axis = plt.subplots(figsize=(6.5, 5.2), layout="constrained")
    look = dict(hue="contestant", hue_order=order, style="contestant", style_order=order, palette=sns.color_palette(PALETTE, len(order)))
    sns.scatterplot(rows, x="predicted", y="measured", **look, s=45, alpha=0.75, ax=axis)
    axis.axline((1, 1), slope=1, color="0.4", linestyle=":", linewidth=1.2)
    axis.set(xscale="log", yscale="log", xlabel=predicted, ylabel=measured)
    for one in (axis.xaxis, axis.yaxis):
        one.set_major_formatter("{x:g}")
        one.set_minor_formatter("{x:g}")
    axis.get_legend().remove()
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=len(order), frameon=False)
    _title(figure, title)
    return figure


def heatmap(rows, label, title, *, index, columns, limits=(None, None), digits=3):
    """The mean of a quantity over the seeds, by what was chosen: a field a combination, with its number.

    Args:
        rows: of `tables.tidy`, of one quantity, one a training.
        label: of the colour bar.
        title: what was found.
        index, columns: lists of column names, whose values make rows and columns.
        limits: of the colours.
        digits: of the numbers.
    """
    values = rows.pivot_table(index=index, columns=columns, values="value", aggfunc="mean", sort=False)
    figure, axis = plt.subplots(figsize=(2.5 + 1.3 * values.shape[1], 1.5 + 0.6 * values.shape[0]), layout="constrained")
    sns.heatmap(values, annot=True, fmt=f".{digits}f", cmap="viridis", vmin=limits[0], vmax=limits[1], ax=axis, cbar_kws={"label": label}, linewidths=1)
    _title(figure, title)
    axis.set(xlabel=", ".join(columns).replace("_", " "), ylabel=", ".join(index).replace("_", " "))
    axis.tick_params(axis="y", rotation=0)
    return figure


def outcomes(experiment):
    """A title that says what was found: what became of each contestant."""
    said = {}
    for key, group in report.grouped(experiment, without=[name for name in experiment.hyperparameters if name != "contestant"]).items():
        said.setdefault(report.counted([result["verdict"] for result in group]), []).append(dict(key)["contestant"])
    return "; ".join(f"{', '.join(names)}: {verdict}" for verdict, names in said.items())


def _title(figure, text):
    """Lines as long as the figure is wide."""
    longest = int(TITLE_CHARACTERS * figure.get_figwidth() / 5)
    figure.suptitle("\n".join(textwrap.fill(line, longest) for line in text.splitlines()), fontsize=12)


def _scale(is_logarithmic, values):
    """Of an axis: matplotlib cannot draw a logarithmic one along which nothing is positive, as where all trainings diverged."""
    return "log" if is_logarithmic and _are_positive(values).any() else "linear"


def _are_positive(values):
    return np.isfinite(values.astype(float)) & (values > 0)


def _named(name, value):
    return value if isinstance(value, str) else f"{name.replace('_', ' ')} {value:g}"
