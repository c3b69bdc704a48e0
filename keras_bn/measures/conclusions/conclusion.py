"""`Conclusion`: what measurements say, in plain words; and what all conclusions are drawn with."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

CERTAIN = 3.0  # Standard errors: what differs by fewer may be chance.
ROUNDING = 100 * float(np.finfo("float32").eps)  # Relative: a smaller difference of sums of many terms, in float32, may be rounding.
_MEDIAN = 0.6745  # Of the absolute values of standard normal numbers.
FALLEN = 10  # Times lower a loss has fallen, whatever it scatters by.
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
    values = {name.removeprefix(f"{tag}/"): value for name, value in record.items() if name.startswith(f"{tag}/")}
    return {layer: value for layer, value in values.items() if value is not None and math.isfinite(value)}


def since(records: Sequence[dict], holds: Callable[[dict], bool]) -> int:
    """The step of the first record from which on it holds for all records; it holds for the last one."""
    step = records[-1]["step"]
    for record in reversed(records):
        if not holds(record):
            break
        step = record["step"]
    return step


def largest(values: dict[str, float]) -> str | None:
    """The layer of the largest value; None where there is none."""
    return max(values, key=values.get, default=None)


def several(number: int, singular: str) -> str:
    """Such as "1 layer" or "2 layers"."""
    return f"{number} {singular}{'' if number == 1 else 's'}"


def named(layers: Sequence[str]) -> str:
    """Such as "2 layers (02_dense, 03_dense)"; of more than three the first three."""
    return f"{several(len(layers), 'layer')} ({', '.join([*layers[:3], *(['...'] if len(layers) > 3 else [])])})"


def not_finite(measure: str, record: dict, tags: Iterable[str], loss: float | None = None) -> Conclusion | None:
    """The conclusion where a layer has no finite number for one of these tags; else None. loss: of this step, if it is finite."""
    broken = list(dict.fromkeys(name.rsplit("/", 1)[1] for tag in tags for name, value in record.items() if name.startswith(f"{tag}/") and value is None))
    if not broken:
        return None
    finding = f"{measure}, step {record['step']}: not all numbers are finite of {named(broken)}."
    if loss is not None:
        return Conclusion(
            finding,
            f"The loss is finite, {loss:.4g}: what is divided by is 0 there, such as a gradient that dead units let nothing through to.",
            "Look for units that are 0 for all data, as of a ReLU; keras_bn.callbacks.ActivationStatistics((x, y)) shows those behind batch normalisation.",
        )
    return Conclusion(
        finding,
        "Either the data hold NaN or infinity, or the training diverges, or what is divided by is 0 there: a variance, as of a single example, or a gradient.",
        "Look at the data, np.isfinite(x).all(); then at the loss: where it is none, lower the learning rate.",
    )


def not_learned(measure: str, records: Sequence[dict], tag: str) -> Conclusion | None:
    """The conclusion where the loss has not fallen by more than its scatter; else None.

    The losses are those of the measured steps. The means of their first and their last third are compared by CERTAIN standard errors of the difference. Their
    scatter is taken from the differences of neighbours, and of those from the median, so that it does not hold what the losses fall by: neither all the time
    nor at once.
    """
    losses = np.asarray([record[tag] for record in records if record.get(tag) is not None])
    if len(losses) < LEAST_LOSSES:
        return None
    third = round(len(losses) / 3)
    first, last = losses[:third].mean(), losses[-third:].mean()
    scatter = np.median(abs(np.diff(losses))) / (_MEDIAN * math.sqrt(2))
    error = scatter * math.sqrt(2 / third)
    if first - last > max(CERTAIN * error, ROUNDING * abs(first)) or 0 < FALLEN * last < first:
        return None
    return Conclusion(
        f"{measure}: the loss of the measured steps has not fallen by more than its scatter: {first:.4g} in their first third, {last:.4g} in "
        f"their last, standard error of the difference {error:.2g}.",
        "Either the net has not learned meanwhile, and small numbers here say nothing good, as what does not move does not shift; or it had converged before.",
        "If it is to learn, look at the gradients by layer, which keras_bn.callbacks.ActivationStatistics((x, y)) logs, and try another learning rate.",
    )


def unknown_whether_learned(records: Sequence[dict], tag: str) -> str:
    """A sentence, where there are too few losses for `not_learned`; else nothing."""
    number = sum(record.get(tag) is not None for record in records)
    return "" if number >= LEAST_LOSSES else f" Whether the net learns, {several(number, 'measurement')} cannot tell: {LEAST_LOSSES} could."
