"""Times of several contestants, taken in turns in one process, and what they sum up to."""

import gc
import math
import random
import statistics
import time

WARM_UP = 3
FEWEST = 5  # Repetitions that are made however long they take.


def interleaved(contestants, repetitions, budget, warm_up=WARM_UP, settling=1, calls=1, clock=time.perf_counter):
    """The times of each contestant, repetition by repetition, so that whatever else the machine does strikes all of them alike.

    First each is called some times, for what is traced, compiled or allocated once. In every repetition each has its turn, in an order drawn anew: calls
    that do not count, after which caches and threads are no longer those of the contestant before, and those that do. Garbage is collected between the
    repetitions only.

    Args:
        contestants: dict, from a name to a function without arguments that returns when its work is done.
        repetitions: how many, at least 2.
        budget: seconds after which no further repetition begins, unless fewer than FEWEST are made.
        warm_up: calls of each before the first repetition, at least 1.
        settling: calls in each turn that do not count. Where one call is long by itself, none is needed.
        calls: how many calls in a row count in each turn; their mean is one time. Calls that take less than a millisecond need several.
        clock: seconds.

    Returns:
        dict, from the name to the list of its times in seconds. Times at the same place are of the same repetition.
    """
    for call in contestants.values():
        for _ in range(warm_up):
            call()
    order, times = list(contestants), {name: [] for name in contestants}
    draw = random.Random(0)
    collecting = gc.isenabled()
    gc.collect()
    gc.freeze()  # What is there by now need not be looked through again.
    gc.disable()
    try:
        end = clock() + budget
        for repetition in range(repetitions):
            if repetition >= FEWEST and clock() > end:
                break
            draw.shuffle(order)
            for name in order:
                for _ in range(settling):
                    contestants[name]()
                begin = clock()
                for _ in range(calls):
                    contestants[name]()
                times[name].append((clock() - begin) / calls)
            gc.collect()
    finally:
        gc.unfreeze()
        if collecting:
            gc.enable()
    return times


def summary(values):
    """Median and quartiles of at least two numbers, as a dict with the keys median, lower and upper."""
    lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": median, "lower": lower, "upper": upper}


def ratios(numerators, denominators):
    """`summary` of the ratios within each repetition: what slows down a whole repetition cancels."""
    return summary([numerator / denominator for numerator, denominator in zip(numerators, denominators)])


def geometric_mean(summaries):
    """The geometric means of the medians, of the lower and of the upper quartiles, with the keys of `summary`; all are positive."""
    return {key: statistics.geometric_mean(each[key] for each in summaries) for key in ("median", "lower", "upper")}


def overheads(times, plain):
    """`summary` of what the times are above those of `plain` in the same repetition, in per cent of the latter."""
    return summary(_overheads(times, plain))


def overhead_ratio(times, other, plain, resamples=1000):
    """How large the median overhead of `times` over `plain` is, as a share of that of `other`.

    Its spread is the bootstrap's: repetitions are drawn with replacement. Ratios within single repetitions would be of differences as small as the noise.

    Args:
        times, other, plain: lists of seconds; the same place is the same repetition.
        resamples: how many bootstrap samples.

    Returns:
        As of `summary`, but lower and upper are the bounds of the 95 % interval; None where the overhead of `other` is not clearly above 0.
    """
    pairs = list(zip(_overheads(times, plain), _overheads(other, plain)))
    draw = random.Random(0)
    samples = [pairs, *(draw.choices(pairs, k=len(pairs)) for _ in range(resamples))]
    medians = [[statistics.median(column) for column in zip(*sample)] for sample in samples]
    shares = [ours / others if others > 0 else math.inf for ours, others in medians]
    bounds = statistics.quantiles(shares[1:], n=40, method="inclusive") if math.inf not in shares else [math.inf]
    shown = {"median": shares[0], "lower": bounds[0], "upper": bounds[-1]}
    return shown if math.isfinite(sum(shown.values())) else None


def _overheads(times, plain):
    return [100 * (time / base - 1) for time, base in zip(times, plain)]
