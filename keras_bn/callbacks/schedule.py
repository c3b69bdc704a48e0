"""At which optimizer steps something is due, from what a user says of it."""

import numbers
from collections.abc import Callable

EPOCH = "epoch"


def due(every: int | str | Callable) -> Callable[[int], bool] | None:
    """A function step -> bool, or None where it is once an epoch.

    Args:
        every: a number of optimizer steps, "epoch", or the function itself.

    Raises:
        ValueError: anything else.

    Example:
        >>> [step for step in range(7) if due(3)(step)]
        [0, 3, 6]
    """
    if callable(every):
        return every
    if every == EPOCH:
        return None
    if isinstance(every, numbers.Integral) and not isinstance(every, bool) and every > 0:
        return lambda step: step % every == 0
    raise ValueError(f'`every` is {every!r}; expected a positive number of optimizer steps, "epoch", or a function that says of a step whether it is due.')
