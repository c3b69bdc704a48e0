"""At which optimizer steps something is due, from what a user says of it."""

import numbers
from collections.abc import Callable, Sequence

EPOCH = "epoch"
DENSE = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256)  # The first steps of the default schedule, which goes on by every SPARSE.
SPARSE = 512
SHORT, LONG = 100, 1000  # In a training of fewer steps than SHORT each of those is due, whatever it costs; one of fewer than LONG may take what LONG may.
BUDGET = 0.07  # What measurements may take, as a share of the training.
FEWEST = 2
SLACK = 0.25  # Of the budget, for the others, where those that cost most take it all: a tenth of the training in all.


def refuse(every: int | str | Callable | None) -> None:
    """Raises a ValueError for what is none of a number of optimizer steps, "epoch", a function of the step, or None."""
    if every is None or callable(every) or every == EPOCH:
        return
    if not isinstance(every, numbers.Integral) or isinstance(every, bool) or every <= 0:
        raise ValueError(
            f'`every` is {every!r}; expected a positive number of optimizer steps, "epoch", or a function that says of a step whether it is due: leave it out '
            "for a schedule that is dense first, and then rarer."
        )


class Schedule:
    """`Schedule(every, steps, costs)(step, epoch)`: whether something is due.

    By default it is at the steps of DENSE, then at every SPARSE, and at the last step: ten times in 20 steps, sixteen times in 1,000. In a training of SHORT
    steps or more, where that would take more than BUDGET of it, of those steps so many are left as it allows, from the first to the last.

    Args:
        every: a number of optimizer steps, "epoch", a function of the step, or None for the default.
        steps: those of the whole training that can be due; None: unknown.
        costs: of one measurement, about, in train steps: of this one, and of each of the others that share the default.

    Example:
        >>> short, long = Schedule(None, range(24), costs=[5]), Schedule(None, range(1000), costs=[15, 5])
        >>> [step for step in range(24) if short(step, epoch=False)]
        [0, 1, 2, 3, 4, 6, 8, 12, 16, 23]
        >>> [step for step in range(1000) if long(step, epoch=False)]
        [0, 16, 999]
    """

    def __init__(self, every: int | str | Callable | None, steps: range | None = None, costs: Sequence[float] = (1.0,)):
        self._every, self._chosen = every, None
        if every is None and steps:
            due = [*(step for step in (*DENSE, *range(SPARSE, steps[-1], SPARSE)) if step in steps[:-1]), steps[-1]]
            number = _affordable(BUDGET * max(len(steps), LONG), *costs)
            if number < len(due) and len(steps) >= SHORT:
                due = [due[round(index * (len(due) - 1) / (number - 1))] for index in range(number)]
            self._chosen = set(due)

    def __call__(self, step: int, epoch: bool) -> bool:
        """epoch: what counts for "epoch"."""
        if callable(self._every):
            return self._every(step)
        if self._every is not None:
            return epoch if self._every == EPOCH else step % self._every == 0
        return step in DENSE or (step > 0 and step % SPARSE == 0) if self._chosen is None else step in self._chosen


def _affordable(budget, cost, *others):
    """How many measurements: FEWEST of those of which that is more than their part of the budget; of the others as many as what is left allows, or SLACK."""
    part = budget / (1 + len(others))
    if FEWEST * cost > part:
        return FEWEST
    dear, cheap = ([each for each in (cost, *others) if (FEWEST * each > part) == is_dear] for is_dear in (True, False))
    return max(FEWEST, int(max(budget - FEWEST * sum(dear), SLACK * budget) / sum(cheap)))
