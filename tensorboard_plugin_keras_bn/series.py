"""Numbers by layer and step, thinned to as many as a page can show."""

import math
import re

from tensorboard.data import provider as data

MOST_NUMBERS = 120_000  # In one answer: some 0.7 s of reading on a slow machine.
MOST_STEPS, LEAST_STEPS = 1000, 50  # Of one run: a picture has no more columns.


def read(provider, ctx, experiment, scalars, prefixes, most=MOST_STEPS):
    """Quantities of runs: dict, prefix to a dict, run to `by_step`.

    Args:
        scalars: dict, run to a dict, tag to `ScalarTimeSeries`.
        prefixes: measure/quantity, whose tags are the prefix itself, or go on with a slash and the layer.
        most: steps of a run.
    """
    layers = {prefix: {run: _layers(tags, prefix) for run, tags in scalars.items()} for prefix in prefixes}
    chosen = {tag for of_runs in layers.values() for tags in of_runs.values() for tag in tags}
    number = sum(len(tags) for of_runs in layers.values() for tags in of_runs.values())
    most = max(LEAST_STEPS, min(most, MOST_STEPS, MOST_NUMBERS // max(number, 1)))
    found = {}
    if chosen:
        only = data.RunTagFilter(runs=list(scalars), tags=list(chosen))
        found = provider.read_scalars(ctx, experiment_id=experiment, plugin_name="scalars", downsample=most, run_tag_filter=only)

    def table(run, tags):
        points = {layer: found.get(run, {}).get(tag, []) for tag, layer in tags.items()}
        return by_step(points, [own_name(scalars[run][tag].description) for tag in tags], most)

    return {prefix: {run: table(run, tags) for run, tags in of_runs.items()} for prefix, of_runs in layers.items()}


def _layers(tags, prefix):
    """Tag -> layer, in the order of the layers' numbers."""
    found = {tag: tag.removeprefix(prefix).removeprefix("/") for tag in tags if tag == prefix or tag.startswith(f"{prefix}/")}
    return dict(sorted(found.items(), key=lambda pair: by_number(pair[1])))


def by_number(layer):
    """Sorts layers by the number that they begin with, as in 02_conv2d."""
    return int(re.match(r"\d{0,9}", layer, re.ASCII)[0] or 0), layer


def own_name(description):
    """A layer's own name, from its chart's description; None where it says none."""
    said = re.search(r" Layer: (.*)\.$", description, re.DOTALL)
    return said[1] if said else None


def by_step(points, names, most):
    """A table of layers by steps: dict of layers, names, steps, values (a list of one value a step for each layer; see `plain`), is_thinned.

    Args:
        points: dict, layer to a list of `ScalarDatum`.
        names: of the layers, their own.
        most: steps to keep, evenly chosen; the newest stays.
    """
    steps = sorted({one.step for of_layer in points.values() for one in of_layer})
    # The provider has thinned what is as long as it was asked for.
    is_thinned = len(steps) > most or any(len(of_layer) >= most for of_layer in points.values())
    if len(steps) > most:
        steps = [steps[round(place * (len(steps) - 1) / (most - 1))] for place in range(most)]
    values = []
    for of_layer in points.values():
        by_own_step = {one.step: one.value for one in of_layer}
        values.append([plain(by_own_step[step]) if step in by_own_step else None for step in steps])
    return {"layers": list(points), "names": names, "steps": steps, "values": values, "is_thinned": is_thinned}


def plain(value):
    """What JSON holds: a number, or the text "NaN", "Infinity" or "-Infinity"; what is missing is null."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
