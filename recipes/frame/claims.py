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
UNDECIDED = "do not decide"


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

    def __str__(self):
        return f"{self.mean:.3g} ({CONFIDENCE * 100:.0f} % interval {self.lower:.3g} to {self.upper:.3g})"


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


def lies_between(values: Sequence[float], lower: float, upper: float) -> str:
    """Whether a mean over seeds lies between two bounds: it holds, or does not, where the whole interval says so; else these seeds do not decide.

    Args:
        values: one a seed.
        lower, upper: infinite where there is no such bound.
    """
    found = interval(values) if values else Interval(math.nan, math.inf)
    if not math.isfinite(found.error):
        return NOT_TESTABLE
    if lower < found.lower and found.upper < upper:
        return HOLDS
    return DOES_NOT_HOLD if found.upper <= lower or found.lower >= upper else NOT_TESTABLE


def together(verdicts: Sequence[str]) -> str:
    """Of a claim about several cases: it holds partly where it holds in some and not in others; what is not decided in one is not decided in all."""
    given = set(verdicts)
    if {HOLDS, DOES_NOT_HOLD} <= given:
        return PARTLY
    return given.pop() if len(given) == 1 else NOT_TESTABLE


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
    by: how much greater it is claimed to be; less than 0: it is claimed not to be smaller by that much.
    what: the numbers are, in words.
    """

    one: str
    other: str
    by: float = 0.0
    what: str = "test accuracy"
    scale = "linear"  # Of the numbers, in pictures.

    def __call__(self, evidence):
        pairs = [(a, b) for a, b in zip(evidence[self.one], evidence[self.other], strict=True) if a is not None and b is not None]
        differences = [a - b for a, b in pairs]
        verdict = lies_between(differences, self.by, math.inf)
        why = _too_few(differences) or f"{self.one} - {self.other} = {interval(differences)}, claimed: above {self.by:g}{_undecided(verdict, differences)}"
        return Judgement(verdict, _measured(self.what, evidence), why)


@dataclasses.dataclass(frozen=True)
class Within:
    """A rule: the mean over the seeds lies between two bounds, in all of the cases, in some, or in none.

    cases: keys of the evidence, whose values are lists of one number a seed. Other keys are shown, and not judged.
    what: the numbers are, in words.
    lower, upper: the bounds; infinite: there is none.
    claimed: the number in the middle of the bounds that a picture marks; None: there is none.
    """

    cases: tuple[str, ...]
    what: str
    lower: float = -math.inf
    upper: float = math.inf
    claimed: float | None = None
    scale = "linear"

    def __call__(self, evidence):
        numbers = {case: [number for number in evidence[case] if number is not None] for case in self.cases}
        verdicts = {case: lies_between(values, self.lower, self.upper) for case, values in numbers.items()}
        bounds = " and ".join(f"{side} {bound:.4g}" for side, bound in (("above", self.lower), ("below", self.upper)) if math.isfinite(bound))
        found = (f"{case} {_too_few(values) or f'{interval(values)}{_undecided(verdicts[case], values)}'}" for case, values in numbers.items())
        return Judgement(together(list(verdicts.values())), _measured(self.what, evidence), f"{'; '.join(found)}; claimed: {bounds}")


def near(case: str, value: float, within: float, what: str) -> Within:
    """A rule: the mean over the seeds is `value`, which it may miss by less than `within`."""
    return Within((case,), what, value - within, value + within, claimed=value)


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
        present = {case: [number for number in numbers if number is not None] for case, numbers in evidence.items()}  # The others diverged before.
        if not all(present.values()):
            return Judgement(NOT_TESTABLE, self.what, _too_few([]))
        largest = {case: max(numbers) for case, numbers in present.items()}
        shown = ", ".join(f"{case} {number:.2g}" for case, number in largest.items())
        exact = [case for case in self.cases if largest[case] <= self.bound]
        off = [case for case in self.cases if case not in exact]
        why = "; ".join(f"{how}: {', '.join(of)}" for how, of in ((f"equal to {self.bound:.0e}", exact), ("not equal", off)) if of)
        verdict = together([HOLDS if case in exact else DOES_NOT_HOLD for case in self.cases])
        return Judgement(verdict, f"{self.what}: {shown} ({_counted(len(next(iter(present.values()))))})", why)


def _measured(what, evidence):
    means = ", ".join(f"{case} {mean_and_deviation(numbers)}" for case, numbers in evidence.items())
    return f"{what}: {means} ({_counted(len(next(iter(evidence.values()))))})"


def _too_few(values):
    """Why these are too few for an interval; "" where they are not."""
    return {0: "no seed has a number: trainings diverged, or were too short to judge", 1: "one seed has no spread"}.get(len(values), "")


def _undecided(verdict, values):
    return f", which {_counted(len(values))} {UNDECIDED}" if verdict == NOT_TESTABLE else ""


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
