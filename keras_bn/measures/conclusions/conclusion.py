"""`Conclusion`: what measurements say, in plain words; and what all conclusions are drawn with."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

CERTAIN = 3.0  # Standard errors: what differs by fewer may be chance.
LEAST_LOSSES = 6  # From which on the scatter of losses is known well enough to say whether they have fallen.


class Conclusion(NamedTuple):
    """finding: the worst layer, its number, and since when; or that nothing is amiss. meaning: what that says. remedy: what to do, in code where possible."""

    finding: str
    meaning: str
    remedy: str

    def __str__(self) -> str:
        return "\n".join(self)


def by_layer(record: dict, tag: str) -> dict[str, float]:
    """The finite numbers of a record whose tags are `tag`/LAYER, by layer."""
    return {name.removeprefix(f"{tag}/"): value for name, value in record.items() if name.startswith(f"{tag}/") and value is not None and math.isfinite(value)}


def since(records: Sequence[dict], holds: Callable[[dict], bool]) -> int:
    """The step of the first record from which on it holds for all records; it holds for the last one."""
    step = records[-1]["step"]
    for record in reversed(records):
        if not holds(record):
            break
        step = record["step"]
    return step


def largest(values: dict[str, float]) -> str:
    """The layer of the largest value."""
    return max(values, key=values.get)


def not_learned(measure: str, records: Sequence[dict], tag: str) -> Conclusion | None:
    """The conclusion where the loss has not fallen by more than its scatter; else None.

    The losses are those of the measured steps. The means of their first and their second half are compared by CERTAIN standard errors of the difference.
    """
    losses = [record[tag] for record in records if record.get(tag) is not None]
    if len(losses) < LEAST_LOSSES:
        return None
    first, second = np.array_split(np.asarray(losses), 2)
    error = math.sqrt(first.var(ddof=1) / len(first) + second.var(ddof=1) / len(second))
    if first.mean() - second.mean() > CERTAIN * error and first.mean() - second.mean() > np.finfo("float32").eps * abs(first.mean()):
        return None
    return Conclusion(
        f"{measure}: the loss of the measured steps has not fallen: {first.mean():.4g} in their first half, {second.mean():.4g} in their second, "
        f"of standard error {error:.2g}.",
        "The net has not learned meanwhile, so that small numbers here say nothing good: what does not move does not shift.",
        "First make it learn: look at the gradients by layer, keras_bn.callbacks.ActivationStatistics((x, y)), and try another learning rate.",
    )
