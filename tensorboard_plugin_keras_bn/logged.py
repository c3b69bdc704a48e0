"""What runs hold: which quantities of which layers, and texts; and what of it a request chooses."""

from tensorboard.data import provider as data

from tensorboard_plugin_keras_bn import series
from tensorboard_plugin_keras_bn.refusal import Refusal

MOST_RUNS, MOST_QUANTITIES = 8, 3  # In one answer.
LONGEST = 100  # Characters of a name that a refusal repeats.
DIAGNOSIS = "diagnosis"  # The tag of the texts of `surgery.diagnose`.


def scalars(provider, ctx, experiment, runs=None):
    """Scalars of those runs, or of all: dict, run to a dict, tag to `ScalarTimeSeries`. Each chosen run is there."""
    chosen = None if runs is None else data.RunTagFilter(runs=runs)
    found = provider.list_scalars(ctx, experiment_id=experiment, plugin_name="scalars", run_tag_filter=chosen)
    return found if runs is None else {run: found.get(run, {}) for run in runs}


def measures(tags, quantities):
    """What one run has: dict, measure to a dict, quantity to the step of its newest number.

    Args:
        tags: dict, tag to `ScalarTimeSeries`.
        quantities: dict of quantities.json.
    """
    found = {}
    for tag, about in tags.items():
        measure, _, rest = tag.partition("/")
        quantity = rest.partition("/")[0]
        if measure in quantities and quantity in quantities[measure]["quantities"]:
            newest = found.setdefault(measure, {})
            newest[quantity] = max(newest.get(quantity, 0), about.max_step)
    return found


def chosen_runs(provider, ctx, experiment, arguments):
    """The runs that a request names.

    Raises:
        Refusal: none, too many, or one that is not there.
    """
    runs = list(dict.fromkeys(arguments.getlist("run")))
    if not 1 <= len(runs) <= MOST_RUNS:
        raise Refusal(f"received {len(runs)} runs; expected 1 to {MOST_RUNS}: run=NAME for each.")
    missing = set(runs) - {run.run_name for run in provider.list_runs(ctx, experiment_id=experiment)}
    if missing:
        raise Refusal(f"there is no run {min(missing)[:LONGEST]!r}; expected one of those that /runs lists.")
    return runs


def chosen_quantities(arguments, quantities):
    """Names measure/quantity of a request.

    Raises:
        Refusal: none, too many, or one that is not known.
    """
    chosen = list(dict.fromkeys(arguments.getlist("quantity")))
    if not 1 <= len(chosen) <= MOST_QUANTITIES:
        raise Refusal(f"received {len(chosen)} quantities; expected 1 to {MOST_QUANTITIES}: quantity=measure/quantity for each.")
    for one in chosen:
        measure, _, quantity = one.partition("/")
        if quantity not in quantities.get(measure, {}).get("quantities", {}):
            raise Refusal(f"received quantity={one[:LONGEST]!r}; expected one such as variance_shift/ratio: quantities.json lists them.")
    return chosen


def chosen_steps(arguments):
    """How many steps of a run a request wants at most.

    Raises:
        Refusal: it is no number of them.
    """
    chosen = arguments.get("steps", str(series.MOST_STEPS))
    if not (chosen.isascii() and chosen.isdigit() and len(chosen) < 10 and int(chosen) >= series.LEAST_STEPS):
        raise Refusal(f"received steps={chosen[:LONGEST]!r}; expected a whole number from {series.LEAST_STEPS} on.")
    return int(chosen)


def diagnoses(provider, ctx, experiment, runs):
    """What `surgery.diagnose` found: dict, run to a list of dicts with step and text."""
    chosen = data.RunTagFilter(runs=runs, tags=[DIAGNOSIS])
    found = provider.read_tensors(ctx, experiment_id=experiment, plugin_name="text", downsample=100, run_tag_filter=chosen)
    return {run: [{"step": one.step, "text": _text(one.numpy)} for one in tags.get(DIAGNOSIS, [])] for run, tags in found.items()}


def _text(array):
    return "\n".join(one.decode("utf-8", "replace") if isinstance(one, bytes) else str(one) for one in array.reshape(-1))
