"""The rules by which claims hold, on both sides of each edge."""

import numpy as np
import pytest
import scipy.stats

from recipes.frame import claims


def test_an_interval_is_student_s():
    values = [0.3, 0.5, 0.9, 0.6]
    lower, upper = scipy.stats.t.interval(0.95, 3, loc=np.mean(values), scale=scipy.stats.sem(values))
    assert claims.interval(values) == pytest.approx((np.mean(values), (upper - lower) / 2))
    assert claims.interval(values).lower == pytest.approx(lower)
    assert claims.interval(values).upper == pytest.approx(upper)


# Values of 0.1, 0.2, 0.3: mean 0.2, error 4.303 * 0.1 / sqrt(3) = 0.2484, so the interval goes from -0.0484 to 0.4484.
@pytest.mark.parametrize(
    ("lower", "upper", "verdict"),
    [
        (-0.049, 0.449, claims.HOLDS),
        (-0.048, 0.449, claims.NOT_TESTABLE),
        (-0.049, 0.448, claims.NOT_TESTABLE),
        (0.448, np.inf, claims.NOT_TESTABLE),
        (0.449, np.inf, claims.DOES_NOT_HOLD),
        (-np.inf, -0.048, claims.NOT_TESTABLE),
        (-np.inf, -0.049, claims.DOES_NOT_HOLD),
    ],
)
def test_a_mean_lies_between_bounds_with_its_error(lower, upper, verdict):
    assert claims.lies_between([0.1, 0.2, 0.3], lower, upper) == verdict


def test_what_is_compared_are_differences_seed_by_seed():
    """The numbers of both differ more between the seeds than from each other."""
    evidence = {"grown": [0.3, 0.5, 0.9], "plain": [0.1, 0.31, 0.68]}
    assert claims.Better("grown", "plain", by=0.16)(evidence).verdict == claims.HOLDS
    assert claims.Better("grown", "plain", by=0.19)(evidence).verdict == claims.NOT_TESTABLE
    assert claims.Better("plain", "grown")(evidence).verdict == claims.DOES_NOT_HOLD


def test_a_rule_says_what_was_measured_and_why():
    judgement = claims.Better("grown", "plain", by=0.1)({"grown": [0.9, 0.8, 0.85], "plain": [0.1, 0.1, 0.1]})
    why = "grown - plain = 0.75 (95 % interval 0.626 to 0.874), claimed: above 0.1"
    assert judgement == ("holds", "test accuracy: grown 0.850 ± 0.050, plain 0.100 ± 0.000 (3 seeds)", why)


@pytest.mark.parametrize(
    ("grown", "why"),
    [
        ([0.9, 0.3], "grown - plain = 0.5 (95 % interval -3.31 to 4.31), claimed: above 0, which 2 seeds do not decide"),
        ([0.9], "one seed has no spread"),
        ([0.9, None], "one seed has no spread"),
        ([None, None], "no seed has a number: trainings diverged, or were too short to judge"),
    ],
)
def test_what_too_few_seeds_tell_is_not_testable_and_says_why(grown, why):
    judgement = claims.Better("grown", "plain")({"grown": grown, "plain": [0.1] * len(grown)})
    assert (judgement.verdict, judgement.why) == (claims.NOT_TESTABLE, why)


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([[0.9, 0.91], [0.8, 0.81]], claims.HOLDS),
        ([[0.9, 0.91], [0.1, 0.11]], claims.PARTLY),
        ([[0.1, 0.11], [0.1, 0.11]], claims.DOES_NOT_HOLD),
        ([[0.9, 0.91], [0.1, 0.91]], claims.NOT_TESTABLE),
        ([[0.1, 0.11], [0.1, 0.91]], claims.NOT_TESTABLE),
    ],
)
def test_bounds_hold_in_all_some_or_none_of_the_cases(values, verdict):
    assert claims.Within(("a", "b"), "accuracy", lower=0.5)({**dict(zip("ab", values)), "shown": [0.0, 0.0]}).verdict == verdict


def test_bounds_say_what_was_measured_of_each_case():
    judgement = claims.near("growth", 2.0, 0.5, "growth per layer")({"growth": [1.9, 2.0, 2.1], "other": [3.0] * 3})
    why = "growth 2 (95 % interval 1.75 to 2.25); claimed: above 1.5 and below 2.5"
    assert judgement == ("holds", "growth per layer: growth 2.000 ± 0.100, other 3.000 ± 0.000 (3 seeds)", why)
    assert claims.near("growth", 2.0, 0.5, "growth").claimed == 2.0
    judgement = claims.Within(("a", "b"), "accuracy", lower=0.5)({"a": [0.9, 0.91], "b": [0.1]})
    assert judgement.why == "a 0.905 (95 % interval 0.841 to 0.969); b one seed has no spread; claimed: above 0.5"


@pytest.mark.parametrize(
    ("numbers", "verdict", "why"),
    [
        (([1e-15, 2e-12], [1e-12, 0.0]), claims.HOLDS, "equal to 1e-10: a, b"),
        (([1e-15, 2e-12], [1e-12, 0.1]), claims.PARTLY, "equal to 1e-10: a; not equal: b"),
        (([1e-15, 0.2], [1e-12, 0.1]), claims.DOES_NOT_HOLD, "not equal: a, b"),
        (([1e-15, None], [1e-12, 0.1]), claims.PARTLY, "equal to 1e-10: a; not equal: b"),
        (([None, None], [1e-12, 0.1]), claims.NOT_TESTABLE, "no seed has a number: trainings diverged, or were too short to judge"),
    ],
)
def test_equations_hold_in_all_some_or_none_of_the_cases(numbers, verdict, why):
    judgement = claims.Exact(("a", "b"), 1e-10, "sides differ by")(dict(zip("ab", numbers)))
    assert (judgement.verdict, judgement.why) == (verdict, why)


def test_an_equation_tells_with_one_seed_and_shows_other_cases():
    judgement = claims.Exact(("a",), 1e-10, "sides differ by")({"a": [1e-12], "as printed": [0.5]})
    assert judgement == ("holds", "sides differ by: a 1e-12, as printed 0.5 (1 seed)", "equal to 1e-10: a")


def test_means_say_how_many_they_are_of():
    assert claims.mean_and_deviation([0.1, None, 0.9]) == "0.500 ± 0.566 (2 of 3)"
    assert claims.mean_and_deviation([None]) == "-"
    assert claims.mean_and_deviation([0.25], digits=1) == "0.2"
