"""Turns and sums, on a clock that is set by hand."""

import gc

import pytest

from benchmarks import timing


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def contestants(clock, calls, **durations):
    """Each takes its seconds, and twice as long right after another's call."""

    def contestant(name, duration):
        def call():
            clock.now += duration if calls and calls[-1] == name else 2 * duration
            calls.append(name)

        return call

    return {name: contestant(name, duration) for name, duration in durations.items()}


def test_each_repetition_times_every_contestant_once_undisturbed_by_the_others(clock):
    calls = []
    times = timing.interleaved(contestants(clock, calls, slow=3.0, fast=1.0), repetitions=20, budget=1e9, clock=clock)
    assert times == {"slow": pytest.approx([3.0] * 20), "fast": pytest.approx([1.0] * 20)}
    turns = calls[2 * timing.WARM_UP :]
    orders = {tuple(turns[start : start + 4]) for start in range(0, len(turns), 4)}
    assert orders == {("slow", "slow", "fast", "fast"), ("fast", "fast", "slow", "slow")}


@pytest.mark.parametrize(("repetitions", "budget", "made"), [(3, 0.0, 3), (20, 0.0, timing.FEWEST), (20, 13.5, 7), (20, 1e9, 20)])
def test_no_repetition_begins_after_the_budget_but_the_fewest(repetitions, budget, made, clock):
    times = timing.interleaved(contestants(clock, [], only=1.0), repetitions, budget, clock=clock)
    assert len(times["only"]) == made


def test_several_calls_that_count_have_their_mean(clock):
    calls = []
    times = timing.interleaved(contestants(clock, calls, slow=3.0, fast=1.0), repetitions=4, budget=1e9, settling=0, calls=4, clock=clock)
    assert len(calls) == 2 * (timing.WARM_UP + 4 * 4)
    # The first of four takes twice as long, after another's, unless the same one had the turn before.
    assert set(times["slow"]) <= {3.0, 3.0 * 5 / 4}


def test_calls_that_do_not_count_are_as_many_as_asked_for(clock):
    calls = []
    times = timing.interleaved(contestants(clock, calls, slow=3.0, fast=1.0), repetitions=2, budget=1e9, warm_up=1, settling=0, clock=clock)
    assert len(calls) == 2 + 2 * 2
    assert {len(each) for each in times.values()} == {2}


def test_garbage_is_collected_again_after_a_contestant_that_fails(clock):
    def fail():
        calls.append(0)
        if len(calls) > timing.WARM_UP:
            assert not gc.isenabled()
            raise RuntimeError

    calls = []
    with pytest.raises(RuntimeError):
        timing.interleaved({"failing": fail}, repetitions=2, budget=1.0, clock=clock)
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_ratios_are_of_the_same_repetition():
    assert timing.ratios([2.0, 40.0, 600.0], [1.0, 10.0, 100.0]) == {"median": 4.0, "lower": 3.0, "upper": 5.0}


def test_geometric_means_are_taken_of_median_and_quartiles_apart():
    summaries = [{"median": 2.0, "lower": 1.0, "upper": 4.0}, {"median": 8.0, "lower": 4.0, "upper": 9.0}]
    assert timing.geometric_mean(summaries) == pytest.approx({"median": 4.0, "lower": 2.0, "upper": 6.0})


def test_overheads_are_shares_of_the_plain_time_of_the_same_repetition():
    plain, keras, ours = [1.0, 2.0, 4.0], [1.5, 3.0, 6.0], [1.1, 2.2, 4.4]
    assert timing.overheads(keras, plain) == pytest.approx({"median": 50.0, "lower": 50.0, "upper": 50.0})
    assert timing.overhead_ratio(ours, keras, plain) == pytest.approx({"median": 0.2, "lower": 0.2, "upper": 0.2})


def test_the_interval_of_an_overhead_ratio_holds_it_and_is_not_empty():
    plain, keras, ours = [1.0] * 5, [1.4, 1.45, 1.5, 1.55, 1.6], [1.05, 1.14, 1.1, 1.06, 1.15]
    ratio = timing.overhead_ratio(ours, keras, plain)
    assert ratio["median"] == pytest.approx(0.2)
    assert 0.05 / 0.6 < ratio["lower"] < 0.2 < ratio["upper"] < 0.15 / 0.4


def test_there_is_no_overhead_ratio_to_an_overhead_that_may_be_none():
    assert timing.overhead_ratio([1.1, 1.1, 1.1], [0.9, 1.2, 1.3], [1.0, 1.0, 1.0]) is None
