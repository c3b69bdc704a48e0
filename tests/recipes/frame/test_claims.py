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


# Differences of 0.1, 0.2, 0.3: mean 0.2, error 4.303 * 0.1 / sqrt(3) = 0.248.
@pytest.mark.parametrize(("by", "verdict"), [(-0.05, claims.HOLDS), (-0.047, claims.PARTLY), (0.44, claims.PARTLY), (0.45, claims.DOES_NOT_HOLD)])
def test_what_exceeds_does_so_by_more_than_the_error(by, verdict):
    assert claims.exceeds([0.4, 0.6, 0.8], [0.3, 0.4, 0.5], by) == verdict


def test_one_seed_tells_nothing():
    judgement = claims.Better("grown", "plain")({"grown": [0.9], "plain": [0.1]})
    assert judgement == ("not testable at this scale", "test accuracy grown 0.900, plain 0.100, 1 seed", "one seed has no spread")


def test_a_rule_says_what_was_measured_and_why():
    judgement = claims.Better("grown", "plain")({"grown": [0.9, 0.8, 0.85], "plain": [0.1, 0.1, 0.1]})
    assert judgement.verdict == "holds"
    assert judgement.measured == "test accuracy grown 0.850 ± 0.050, plain 0.100 ± 0.000, 3 seeds"
    assert judgement.why == "the difference is 0.750, at 95% between 0.626 and 0.874"


# The mean of these is 2, between 1.752 and 2.248.
@pytest.mark.parametrize(
    ("value", "within", "verdict"),
    [(2.0, 0.13, claims.HOLDS), (2.0, 0.12, claims.PARTLY), (2.5, 0.11, claims.PARTLY), (2.5, 0.1, claims.DOES_NOT_HOLD), (1.6, 0.09, claims.DOES_NOT_HOLD)],
)
def test_what_is_near_is_so_with_its_error(value, within, verdict):
    assert claims.Near("growth", value, within, "growth")({"growth": [1.9, 2.0, 2.1, None]}).verdict == verdict


def test_nearness_says_what_was_measured():
    judgement = claims.Near("growth", 2.0, 0.5, "growth a layer")({"growth": [1.9, 2.0, 2.1]})
    assert judgement.measured == "growth a layer 2.000 ± 0.100, claimed 2.000, 3 seeds"
    assert judgement.why == "the mean is at 95% between 1.752 and 2.248, claimed is between 1.000 and 3.000"
    assert claims.Near("growth", 2.0, 0.5, "growth")({"growth": [1.9]}).verdict == claims.NOT_TESTABLE


@pytest.mark.parametrize(
    ("numbers", "verdict", "why"),
    [
        (([1e-15, 2e-12], [1e-12, 0.0]), claims.HOLDS, "equal to 1e-10: a, b"),
        (([1e-15, 2e-12], [1e-12, 0.1]), claims.PARTLY, "equal to 1e-10: a; not equal: b"),
        (([1e-15, None], [1e-12, 0.1]), claims.DOES_NOT_HOLD, "not equal: a, b"),
    ],
)
def test_equations_hold_in_all_some_or_none_of_the_cases(numbers, verdict, why):
    judgement = claims.Exact(("a", "b"), 1e-10, "sides differ by")(dict(zip("ab", numbers)))
    assert (judgement.verdict, judgement.why) == (verdict, why)


def test_an_equation_tells_with_one_seed_and_shows_other_cases():
    judgement = claims.Exact(("a",), 1e-10, "sides differ by")({"a": [1e-12], "as printed": [0.5]})
    assert judgement == ("holds", "sides differ by a 1e-12, as printed 0.5, 1 seed", "equal to 1e-10: a")


def test_means_say_how_many_they_are_of():
    assert claims.mean_and_deviation([0.1, None, 0.9]) == "0.500 ± 0.566 (2 of 3)"
    assert claims.mean_and_deviation([None]) == "-"
    assert claims.mean_and_deviation([0.25], digits=1) == "0.2"
