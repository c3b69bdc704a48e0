"""Numbers that claims are judged by: of groups of trainings, one a seed."""

import dataclasses
import math
import re
from collections.abc import Callable

from recipes.frame.tasks import verdicts

WITH_GOOD_STATISTICS = "recalibrated_test_accuracy or test_accuracy"  # Of a net without batch normalisation the latter.
SMALLEST, LARGEST = 1e-38, 1e38  # What float32 can tell from 0 and from infinity.


def last(values):
    """The one at the end of a training."""
    return float(values[-1])


def last_accuracy(values):
    """The one at the end of a training; of one that diverged 0, as it names nothing rightly."""
    return 0.0 if math.isnan(values[-1]) else float(values[-1])


def mean(values):
    """Of those that are numbers."""
    present = [value for value in values if not math.isnan(value)]
    return sum(present) / len(present) if present else math.nan


def mean_accuracy(values):
    """Over the records of a training; 0 of one that diverged, whose records end early."""
    return 0.0 if math.isnan(values[-1]) else float(sum(values) / len(values))


def middle_logarithm(values):
    """The power of ten of the median: what is not finite counts as the largest and 0 as the smallest that float32 has."""
    ordered = sorted(LARGEST if math.isnan(value) else min(max(value, SMALLEST), LARGEST) for value in values)
    half = len(ordered) // 2
    return math.log10(ordered[half]) / 2 + math.log10(ordered[~half]) / 2 if ordered else math.nan


@dataclasses.dataclass(frozen=True)
class Evidence:
    """For `recipe.Claim`: a function of `experiment.Experiment` that returns a dict, case to a list with one number a seed, for the seeds that all cases have.

    It returns None where a case has no seed. A number is NaN where a training left none that can be judged.

    Of hyperparameters that a case does not name and that several values were tried of, the usual one counts, or else the first: a case has one training a seed.

    cases: dict, what is shown of a case to (what its trainings have in common, hyperparameter to value; quantities; function of one array a quantity, the
        values of a training in the order of the steps, that returns a number). A quantity is a name, the beginning of some that ends in a slash, such as
        variance_shift/ratio/, a compiled pattern that they begin with, or "one or other", which is the first that was recorded.
    settled: whether a training that was too short to judge gives no number.
    """

    cases: dict[str, tuple[dict, list[str], Callable]]
    settled: bool = False

    @property
    def groups(self):
        """What the trainings of each case have in common."""
        return [chosen for chosen, _, _ in self.cases.values()]

    def __call__(self, experiment):
        arrays = {case: of_group(experiment, chosen, quantities, self.settled) for case, (chosen, quantities, _) in self.cases.items()}
        seeds = sorted(set.intersection(*(set(of_seeds) for of_seeds in arrays.values())))
        if not seeds:
            return None
        numbers = {case: [arrays[case][seed] for seed in seeds] for case in arrays}
        return {case: [math.nan if one is None else self.cases[case][2](*one) for one in of_seeds] for case, of_seeds in numbers.items()}


@dataclasses.dataclass(frozen=True)
class Differences:
    """As `Evidence`: by how much the numbers of one training exceed those of another.

    parts: dict, what is shown of a difference to (the first case, the second), each as of `Evidence`.
    absolute: whether the sign is left out.
    """

    parts: dict[str, tuple[tuple, tuple]]
    absolute: bool = False

    @property
    def _sides(self):
        return Evidence({(name, side): cases[side] for name, cases in self.parts.items() for side in (0, 1)})

    @property
    def groups(self):
        """As of `Evidence`."""
        return self._sides.groups

    def __call__(self, experiment):
        found = self._sides(experiment)
        size = abs if self.absolute else float
        return found and {name: [size(a - b) for a, b in zip(found[name, 0], found[name, 1], strict=True)] for name in self.parts}


def by_seed(groups, quantities, summarise=last, settled=False):
    """`Evidence` of the same quantities in each group.

    Args:
        groups: dict, what is shown of a group to what its trainings have in common.
        quantities, summarise, settled: as of `Evidence`.
    """
    return Evidence({name: (chosen, quantities, summarise) for name, chosen in groups.items()}, settled)


def of_group(experiment, chosen, quantities, settled=False):
    """Seed -> one array a quantity; None in place of them of a training that is too short to judge, if `settled`; seeds that lack a quantity are left out."""
    table = experiment.table
    if not set(chosen) <= set(table.columns):
        return {}
    rows = table[(table[list(chosen)] == list(chosen.values())).all(axis=1)]
    for name in experiment.hyperparameters:
        if name not in (*chosen, "seed") and rows[name].nunique() > 1:
            usual = experiment.usual.get(name)
            rows = rows[rows[name] == (usual if usual in set(rows[name]) else rows[name].iloc[0])]
    said = {result["run"]: result["verdict"] for result in experiment.results}
    found = {}
    for seed, of_seed in rows.groupby("seed"):
        [run] = of_seed["run"].unique()
        arrays = [_values(of_seed, quantity, said[run]) for quantity in quantities]
        if all(array is not None for array in arrays):
            found[int(seed)] = None if settled and verdicts.is_too_short(said[run]) else arrays
    return found


def _values(rows, quantity, verdict):
    """Of one training; a single NaN where it has none because it diverged, None where it has none else."""
    import numpy as np  # Not at the top of the file: a recipe's --help need not wait for it.

    for one in [quantity] if isinstance(quantity, re.Pattern) else quantity.split(" or "):
        values = rows[_is_of(rows["quantity"], one)]["value"].to_numpy()
        if len(values):
            return values
    return np.array([math.nan]) if verdict == verdicts.DIVERGED else None


def _is_of(names, quantity):
    if isinstance(quantity, re.Pattern):
        return names.str.match(quantity)
    return names.str.startswith(quantity) if quantity.endswith("/") else names == quantity
