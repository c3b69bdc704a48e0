"""What is said of a claim: a verdict by a rule, which has the measurement's own error in it."""

import dataclasses
import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from recipes.frame import files

HOLDS, PARTLY, DOES_NOT_HOLD, NOT_TESTABLE = "holds", "holds partly", "does not hold here", "not testable at this scale"
VERDICTS = HOLDS, PARTLY, DOES_NOT_HOLD, NOT_TESTABLE
CONFIDENCE = 0.95


class Judgement(NamedTuple):
    """verdict: one of VERDICTS. measured: the numbers, in words. why: one clause."""

    verdict: str
    measured: str
    why: str


class Interval(NamedTuple):
    """A mean over seeds, and how far it may be off with CONFIDENCE; infinitely far where there is one seed."""

    mean: float
    error: float

    @property
    def lower(self):
        return self.mean - self.error

    @property
    def upper(self):
        return self.mean + self.error


def interval(values: Sequence[float]) -> Interval:
    """Of the mean of some values, by Student's t.

    Example:
        >>> interval([1.0, 2.0, 3.0])
        Interval(mean=2.0, error=2.484...)
    """
    import scipy.stats  # Not at the top of the file: a recipe's --help need not wait for it.

    if len(values) < 2:
        return Interval(values[0], math.inf)
    quantile = float(scipy.stats.t.ppf(0.5 + CONFIDENCE / 2, len(values) - 1))
    return Interval(statistics.mean(values), quantile * statistics.stdev(values) / math.sqrt(len(values)))


def exceeds(greater: Sequence[float], less: Sequence[float], by: float = 0.0) -> str:
    """Whether the one exceeds the other by more than `by`, seed by seed: holds, does not hold, or partly where the error of the mean difference does not tell.

    Args:
        greater, less: one value a seed, in the same order of seeds.
        by: how much greater it is claimed to be.
    """
    differences = interval([a - b for a, b in zip(greater, less, strict=True)])
    if not math.isfinite(differences.error):
        return NOT_TESTABLE
    if differences.lower > by:
        return HOLDS
    return DOES_NOT_HOLD if differences.upper <= by else PARTLY


def mean_and_deviation(values: Sequence[float | None], digits: int = 3) -> str:
    """ "mean ± standard deviation" (divisor N-1) of the values that are not None, and how many those are where some are missing."""
    present = [value for value in values if value is not None]
    if not present:
        return "-"
    text = f"{statistics.mean(present):.{digits}f}"
    if len(present) > 1:
        text += f" ± {statistics.stdev(present):.{digits}f}"
    return text if len(present) == len(values) else f"{text} ({len(present)} of {len(values)})"


@dataclasses.dataclass(frozen=True)
class Better:
    """A rule: the numbers of `one` are greater than those of `other`, seed by seed, by more than `by`.

    one, other: contestants, keys of the evidence, whose values are lists of one number a seed.
    by: how much greater it is claimed to be.
    what: the numbers are, in words.
    """

    one: str
    other: str
    by: float = 0.0
    what: str = "test accuracy"
    scale = "linear"  # Of the numbers, in pictures.

    def __call__(self, evidence):
        pairs = [(a, b) for a, b in zip(evidence[self.one], evidence[self.other], strict=True) if a is not None and b is not None]
        seeds = len(pairs)
        means = ", ".join(f"{name} {mean_and_deviation(evidence[name])}" for name in (self.one, self.other))
        measured = f"{self.what} {means}, {_counted(seeds)}"
        if seeds < 2:
            return Judgement(NOT_TESTABLE, measured, "one seed has no spread" if seeds else "no seed has a number of both")
        difference = interval([a - b for a, b in pairs])
        why = f"the difference is {difference.mean:.3f}, at {CONFIDENCE:.0%} between {difference.lower:.3f} and {difference.upper:.3f}"
        if self.by:
            why += f", claimed is more than {self.by:g}"
        return Judgement(exceeds(*zip(*pairs), self.by), measured, why)


@dataclasses.dataclass(frozen=True)
class Near:
    """A rule: the mean of the numbers of `one` is `value`, to a share of `within`: with all of its interval, with a part, or with none.

    one: key of the evidence, whose value is a list of one number a seed.
    value: that is claimed.
    within: share of it that the numbers may be off by.
    what: the numbers are, in words.
    """

    one: str
    value: float
    within: float
    what: str
    scale = "linear"

    def __call__(self, evidence):
        numbers = [number for number in evidence[self.one] if number is not None]
        measured = f"{self.what} {mean_and_deviation(numbers)}, claimed {self.value:.3f}, {_counted(len(numbers))}"
        if len(numbers) < 2:
            return Judgement(NOT_TESTABLE, measured, "one seed has no spread" if numbers else "no seed has a number")
        found, lower, upper = interval(numbers), self.value * (1 - self.within), self.value * (1 + self.within)
        why = f"the mean is at {CONFIDENCE:.0%} between {found.lower:.3f} and {found.upper:.3f}, claimed is between {lower:.3f} and {upper:.3f}"
        if lower <= found.lower and found.upper <= upper:
            return Judgement(HOLDS, measured, why)
        return Judgement(DOES_NOT_HOLD if found.upper < lower or found.lower > upper else PARTLY, measured, why)


@dataclasses.dataclass(frozen=True)
class Exact:
    """A rule: two sides of an equation differ by no more than rounding, whatever the numbers: in all of the cases, in some, or in none.

    One seed is enough: random numbers on which the sides agree by accident are not met.

    cases: keys of the evidence, whose values are lists of one number a seed: what the sides differ by.
    bound: the most that rounding makes them differ by.
    what: the numbers are, in words.
    """

    cases: tuple[str, ...]
    bound: float
    what: str
    scale = "log"

    def __call__(self, evidence):
        largest = {case: max((math.inf if number is None else number) for number in numbers) for case, numbers in evidence.items()}
        measured = f"{self.what} {', '.join(f'{case} {number:.2g}' for case, number in largest.items())}, {_counted(len(next(iter(evidence.values()))))}"
        exact = [case for case in self.cases if largest[case] <= self.bound]
        off = [case for case in self.cases if case not in exact]
        why = "; ".join(f"{how}: {', '.join(of)}" for how, of in ((f"equal to {self.bound:.0e}", exact), ("not equal", off)) if of)
        return Judgement(HOLDS if len(exact) == len(self.cases) else PARTLY if exact else DOES_NOT_HOLD, measured, why)


def _counted(seeds):
    return f"{seeds} seed{'' if seeds == 1 else 's'}"


def judged(claims, experiment):
    """Those of the claims that the trainings tell of, as a list of (claim, `Judgement`, evidence).

    Args:
        claims: list of `recipe.Claim`.
        experiment: `experiment.Experiment`.
    """
    pairs = [(claim, claim.evidence(experiment)) for claim in claims]
    pairs = [(claim, files.finite(evidence)) for claim, evidence in pairs if evidence is not None]
    return [(claim, claim.rule(evidence), evidence) for claim, evidence in pairs]
