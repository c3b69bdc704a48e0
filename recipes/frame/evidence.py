"""Numbers that claims are judged by: of groups of trainings, one a seed."""

import math


def last(values):
    """The one at the end of a training."""
    return float(values[-1])


def last_accuracy(values):
    """The one at the end of a training; of one that diverged 0, as it names nothing rightly."""
    return 0.0 if math.isnan(values[-1]) else float(values[-1])


def mean(values):
    return float(values.mean())


def mean_accuracy(values):
    """Over the records of a training; 0 where it had diverged."""
    return sum(0.0 if math.isnan(value) else float(value) for value in values) / len(values)


def mean_logarithm(values):
    """The power of ten of the geometric mean of those that are positive."""
    positive = [math.log10(value) for value in values if value > 0]
    return sum(positive) / len(positive) if positive else math.nan


def by_seed(groups, quantities, summarise=last):
    """A function for `Claim.evidence`: of each group of trainings a list with one number a seed, for the seeds that all groups have.

    Args:
        groups: dict, what the group is called to what its trainings have in common (hyperparameter to value).
        quantities: of the table, each a name or the beginning of some, such as variance_shift/ratio/.
        summarise: function of one array a quantity, the values of a training in the order of the steps, that returns a number.

    Returns:
        Function of `experiment.Experiment` that returns a dict, group to list, or None where a group has no seed.
    """

    return labelled({name: (chosen, quantities, summarise) for name, chosen in groups.items()})


def labelled(parts):
    """As `by_seed`, of numbers that are each made of other quantities, or in another way.

    Args:
        parts: dict, what a number is called to (what its trainings have in common, quantities, summarise).
    """

    def collected(experiment):
        arrays = {name: _of_group(experiment, chosen, quantities) for name, (chosen, quantities, _) in parts.items()}
        seeds = sorted(set.intersection(*(set(of_seeds) for of_seeds in arrays.values())))
        return {name: [summarise(*arrays[name][seed]) for seed in seeds] for name, (_, _, summarise) in parts.items()} if seeds else None

    return collected


def differences(parts):
    """As `labelled`, of what a training of a first group is more than that of a second one.

    Args:
        parts: dict, what a difference is called to (the first group's hyperparameters, the second's, quantities, summarise).
    """
    sides = {(name, side): (part[side], *part[2:]) for name, part in parts.items() for side in (0, 1)}

    def collected(experiment):
        found = labelled(sides)(experiment)
        return found and {name: [a - b for a, b in zip(found[name, 0], found[name, 1], strict=True)] for name in parts}

    return collected


def _of_group(experiment, chosen, quantities):
    """Seed -> one array a quantity; seeds that lack one are left out."""
    table = experiment.table
    if not set(chosen) <= set(table.columns):
        return {}
    rows = table[(table[list(chosen)] == list(chosen.values())).all(axis=1)]
    found = {}
    for seed, of_seed in rows.groupby("seed"):
        arrays = [of_seed[_is_of(of_seed["quantity"], quantity)]["value"].to_numpy() for quantity in quantities]
        if all(len(array) for array in arrays):
            found[int(seed)] = arrays
    return found


def _is_of(names, quantity):
    return names.str.startswith(quantity) if quantity.endswith("/") else names == quantity
