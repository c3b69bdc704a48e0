"""The pictures of an experiment."""

import io
import math

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib import pyplot as plt

from recipes import files, report

# Okabe & Ito's palette, which the colour-blind can tell apart.
COLOURS = ("#d55e00", "#e69f00", "#009e73", "#0072b2")
PANEL_COLUMNS = 3


def save(figure, path):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, bbox_inches="tight")
    plt.close(figure)
    files.write(path, buffer.getvalue())


def accuracy_curves(results, curves, contestants, dataset):
    """Test accuracy over optimizer steps, a panel for each depth, initializer and learning rate, a colour for each contestant.

    Thin lines are seeds, the thick one their mean over the steps that all of them reached. A grown net's shallow phase is dashed.

    Args:
        results: list of dicts from `experiment.conduct`.
        curves: list of the runs' records, in the order of `results`.
        contestants: their names, in the order of the colours.
        dataset: `data.Dataset`, for the line of chance.

    Returns:
        A figure.
    """
    panels = {}
    for result, records in zip(results, curves):
        title = report.described(report.hyperparameters(result, without=["seed", "contestant"]))
        panels.setdefault(title, {}).setdefault(result["contestant"], []).append(records)
    columns = min(PANEL_COLUMNS, math.ceil(len(panels) ** 0.5))
    rows = -(-len(panels) // columns)
    wide = 7 if columns == 1 else 4.6
    figure, axes = plt.subplots(rows, columns, figsize=(wide * columns, 0.5 + 3.5 * rows), squeeze=False, sharex=True, sharey=True, layout="constrained")
    for axis, (title, by_contestant) in zip(axes.flat, panels.items()):
        axis.axhline(dataset.chance, color="0.5", linewidth=1, linestyle=":")
        for contestant, seeds in by_contestant.items():
            _draw_contestant(axis, seeds, contestant, COLOURS[contestants.index(contestant)])
        axis.set_title(title, fontsize=10)
        axis.set_ylim(-0.02, 1.02)
        axis.grid(alpha=0.25)
    for axis in axes.flat[len(panels) :]:
        axis.remove()
    figure.supxlabel("optimizer steps")
    figure.supylabel(f"test accuracy on {dataset.name}")
    handles = {label: handle for axis in figure.axes for handle, label in zip(*axis.get_legend_handles_labels())}
    handles["chance"] = plt.Line2D([], [], color="0.5", linewidth=1, linestyle=":")
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=len(handles), frameon=False)
    return figure


def _draw_contestant(axis, seeds, contestant, colour):
    phases = list(dict.fromkeys(record["phase"] for records in seeds for record in records))
    last_phase = phases[-1]
    for records in seeds:
        for phase in dict.fromkeys(record["phase"] for record in records):
            points = [(record["step"], record["test_accuracy"]) for record in records if record["phase"] == phase and record["test_accuracy"] is not None]
            if points:
                axis.plot(*zip(*points), color=colour, linewidth=0.8, alpha=0.45, linestyle="-" if phase == last_phase else "--", marker=_marker(points))
        if records[-1]["test_accuracy"] is None:
            axis.plot(records[-1]["step"], 0, marker="x", color=colour, clip_on=False)
    means = {}
    for records in seeds:
        for record in records:
            means.setdefault((record["phase"], record["step"]), []).append(record["test_accuracy"])
    for phase in phases:
        points = [(step, np.mean(values)) for (of, step), values in means.items() if of == phase and len(values) == len(seeds) and None not in values]
        label = contestant if phase == last_phase else f"{contestant}, {phase} net"
        style = dict(linestyle="-" if phase == last_phase else "--", marker=_marker(points), label=label)
        axis.plot(*(zip(*points) if points else ([], [])), color=colour, linewidth=2.2, **style)


def _marker(points):
    """A line through a single point draws nothing."""
    return "o" if len(points) == 1 else None


def sweep(results, dataset):
    """Test accuracy at the end, mean over seeds, of every contestant (rows) under every combination of initializer and learning rate (columns).

    Args:
        results: list of dicts from `experiment.conduct`.
        dataset: `data.Dataset`; the colours go from its chance to 1.

    Returns:
        A figure.
    """
    cells = {}
    for key, group in report.grouped(results).items():
        row, column = (tuple((name, value) for name, value in key if (name in ("contestant", "depth")) == of_row) for of_row in (True, False))
        cells[report.described(row), report.described(column).replace(", ", "\n")] = group
    rows, columns = (list(dict.fromkeys(names)) for names in zip(*cells))
    figure, axis = plt.subplots(figsize=(2.2 + 1.6 * len(columns), 1.6 + 0.75 * len(rows)), layout="constrained")
    values = np.full((len(rows), len(columns)), np.nan)
    for (row, column), group in cells.items():
        cell = rows.index(row), columns.index(column)
        accuracies = [result["test_accuracy"] for result in group if result["test_accuracy"] is not None]
        if accuracies:
            values[cell] = np.mean(accuracies)
        verdicts = [
            f"{verdict}{'' if len(group) == 1 else f' {count}/{len(group)}'}"
            for verdict in report.VERDICTS
            if (count := sum(result["verdict"] == verdict for result in group))
        ]
        shown = f"{values[cell]:.3f}" if accuracies else "-"
        dark = accuracies and values[cell] < 0.55
        axis.text(cell[1], cell[0], "\n".join([shown, *verdicts]), ha="center", va="center", fontsize=8, color="white" if dark else "black")
    image = axis.imshow(values, cmap="viridis", vmin=dataset.chance, vmax=1, aspect="auto")
    axis.set_facecolor("0.9")
    axis.set_xticks(range(len(columns)), columns, fontsize=8)
    axis.set_yticks(range(len(rows)), rows, fontsize=9)
    axis.xaxis.tick_top()
    axis.tick_params(length=0)
    figure.colorbar(image, ax=axis, label=f"test accuracy on {dataset.name}, mean over seeds")
    return figure
