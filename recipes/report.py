"""What an experiment found, in words: the table, and what learned under what."""

import shlex
import statistics

from tabulate import tabulate

VERDICTS = ("learned", "stuck at chance", "diverged")


# What of a result was measured; the rest are the hyperparameters.
MEASURED = ("test_accuracy", "best_test_accuracy", "verdict", "steps", "seconds", "parameters")


def hyperparameters(result, without=()):
    """What of a result was chosen, as a tuple of (hyperparameter, value), but for the names in `without`."""
    return tuple((name, value) for name, value in result.items() if name not in (*MEASURED, *without))


def grouped(results):
    """The results that differ in nothing but the seed, together.

    Returns:
        dict, from a tuple of (hyperparameter, value) without the seed to the list of its results, in the order of the results.
    """
    groups = {}
    for result in results:
        groups.setdefault(hyperparameters(result, without=["seed"]), []).append(result)
    return groups


def described(key):
    """Some (hyperparameter, value) in words: "depth 19, he_normal, learning rate 0.01"."""
    return ", ".join(value if isinstance(value, str) else f"{name.replace('_', ' ')} {value}" for name, value in key)


def table(results):
    """The results as a table in Markdown: a row for each combination, mean and standard deviation (divisor N-1) over its seeds."""
    rows = []
    for key, group in grouped(results).items():
        verdicts = [f"{verdict} {sum(result['verdict'] == verdict for result in group)}/{len(group)}" for verdict in VERDICTS]
        rows.append(
            {
                **{name.replace("_", " "): value for name, value in key},
                "test accuracy": mean_and_deviation([result["test_accuracy"] for result in group]),
                "best test accuracy": mean_and_deviation([result["best_test_accuracy"] for result in group]),
                "verdict (of seeds)": ", ".join(verdict for verdict in verdicts if " 0/" not in verdict),
                "seconds": f"{statistics.mean(result['seconds'] for result in group):.0f}",
                "parameters": f"{group[0]['parameters']:,}",
            }
        )
    return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True)


def mean_and_deviation(values):
    """ "mean ± standard deviation" of the values that are not None, and how many those are where some are missing."""
    present = [value for value in values if value is not None]
    if not present:
        return "-"
    text = f"{statistics.mean(present):.3f}"
    if len(present) > 1:
        text += f" ± {statistics.stdev(present):.3f}"
    return text if len(present) == len(values) else f"{text} ({len(present)} of {len(values)})"


def findings(results):
    """For each contestant, a line that says how many seeds it learned with: where it had several combinations, with every one, some or none under which."""
    combinations = {}
    groups = grouped(results)
    if len(groups) == len({contestant for (_, contestant), *_ in groups}):
        return "\n".join(
            f"* `{contestant}` learned with {sum(result['verdict'] == 'learned' for result in group)} of {len(group)} seeds."
            for ((_, contestant), *_), group in groups.items()
        )
    for key, group in groups.items():
        (_, contestant), *rest = key
        learned = sum(result["verdict"] == "learned" for result in group)
        outcome = "every seed" if learned == len(group) else "some seeds" if learned else "no seed"
        combinations.setdefault(contestant, {}).setdefault(outcome, []).append(described(rest))
    lines = []
    for contestant, outcomes in combinations.items():
        total = sum(len(listed) for listed in outcomes.values())
        parts = [f"with {outcome} under {len(listed)} of {total} ({'; '.join(listed)})" for outcome, listed in outcomes.items()]
        lines.append(f"* `{contestant}` learned " + "; ".join(parts) + ".")
    return "\n".join(lines)


def markdown(title, results, dataset, config, pictures, notes=()):
    """The whole report.

    Args:
        title: str.
        results: list of dicts from `experiment.conduct`.
        dataset: `data.Dataset`.
        config: the work folder's config.json.
        pictures: list of (file name, what it shows).
        notes: sentences about what was left out.
    """
    machine = config["machine"]
    flags = " ".join(shlex.quote(f"--{name}={_flag(value)}") for name, value in config["flags"].items() if value is not None)
    fallen = [
        f"{described(hyperparameters(result))} ({result['best_test_accuracy']:.3f})"
        for result in results
        if result["verdict"] == "stuck at chance" and result["best_test_accuracy"] > dataset.chance_bound
    ]
    if fallen:
        notes = [*notes, f"At chance at the end, but above it in some epoch (best test accuracy): {'; '.join(fallen)}."]
    command = f"`python -m recipes.{config['recipe']} {flags}`"
    data = (
        f"Data: {dataset.name}, {len(dataset.y_train):,} training and {len(dataset.y_test):,} test images "
        f"of {'x'.join(map(str, dataset.image_shape))}, {dataset.classes} classes."
    )
    made_on = (
        f"Machine: {machine['cpu']}, {machine['cores']} cores, accelerators: {', '.join(machine['accelerators']) or 'none'}; {machine['system']}; "
        f"Python {machine['python']}, TensorFlow {machine['tensorflow']}, Keras {machine['keras']}, keras_bn {machine['keras_bn']}."
    )
    legend = (
        "Accuracies are on the test images, mean ± standard deviation over the seeds; the best is the largest of all epochs, so it is chosen on those very "
        "images. A seed has diverged if its loss stopped being finite; it has no test accuracy then. It is stuck at chance if its test accuracy at the end "
        f"is at most {dataset.chance_bound:.3f}, which guessing exceeds less than once in 100,000 times (naming the most frequent class gives "
        f"{dataset.chance:.3f}). Otherwise it learned. In its first hundred steps a normalised net's test accuracy lags behind what it has learned, since its "
        "moving statistics keep 0.99 of the old value at each step. Seconds are of training and evaluation, mean over the seeds; a grown net's include its "
        "shallow net."
    )
    shown = [f"![{what}]({name})" for name, what in pictures]
    return "\n\n".join([f"# {title}", command, data, made_on, table(results), findings(results), legend, *notes, *shown]) + "\n"


def _flag(value):
    return ",".join(map(str, value)) if isinstance(value, list) else value
