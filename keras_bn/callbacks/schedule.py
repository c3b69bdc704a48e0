"""At which optimizer steps something is due, from what a user says of it."""

import numbers
from collections.abc import Callable

EPOCH = "epoch"


def refuse(every: int | str | Callable) -> None:
    """Raises a ValueError for what is none of a number of optimizer steps, "epoch", or a function of the step."""
    if not (callable(every) or every == EPOCH or (isinstance(every, numbers.Integral) and not isinstance(every, bool) and every > 0)):
        raise ValueError(f'`every` is {every!r}; expected a positive number of optimizer steps, "epoch", or a function that says of a step whether it is due.')


def is_due(every: int | str | Callable, step: int, epoch: bool) -> bool:
    """Whether something is due.

    Args:
        every: a number of optimizer steps, "epoch", or a function of the step.
        step: which.
        epoch: what counts for "epoch".

    Example:
        >>> [step for step in range(7) if is_due(3, step, epoch=False)]
        [0, 3, 6]
    """
    if callable(every):
        return every(step)
    return epoch if every == EPOCH else step % every == 0
