"""Which layers shift, and why: the rules by which `variance_shift` and `surgery.diagnose` judge what was measured.

A record is a dict of numbers by tags such as variance_shift/lag/02_batch_normalization; layers: a dict of `Normalization` by name in tags.
"""

import math
from collections.abc import Callable, Mapping, Sequence, Set
from typing import NamedTuple

from keras_bn.measures.conclusions.conclusion import CERTAIN, by_layer, largest

SHIFTED = "lag", "mean_lag", "mode", "mean_mode"  # Quantities.
_LEAST = 1e-300  # Logarithms of less than that are of that.
SMALL = 0.1  # Standard deviations: a shift of less adds less than 1 % to the variance of what a layer returns.
LEFT = 0.01  # Standard deviations, or a share of the variance: less than that left of what moving statistics began with counts as none.


class Normalization(NamedTuple):
    """What else is known of a layer than its records.

    momentum: None for a layer that averages over all batches, 1 for a frozen one, whose statistics do not move.
    updates: of its moving statistics since the training began; fewer than there were, where a step calls the layer several times.
    errors: the standard error of its lag, by the scatter between batches.
    dropout: the name of the Dropout in front of it, or None.
    moved: whether its moving statistics have changed since the training began.
    calls_a_step: how many updates of them make a step, as gradient accumulation has it.
    in_front: the layers that its inputs depend on; None: all with a lower number.
    acting: names of the layers in front of it that act in training only.
    """

    momentum: float | None
    updates: int = 0
    errors: float = 1.0
    dropout: str | None = None
    moved: bool = True
    calls_a_step: int = 1
    in_front: Set[str] | None = None
    acting: Sequence[str] = ()

    @property
    def left(self) -> float:
        """The share of the moving statistics that is still what the training began with, at most."""
        return 0.0 if self.momentum is None or self.momentum == 1 or not self.moved else self.momentum**self.updates


def moving_scatter(momentum: float | None) -> float:
    """The variance of a moving average of that momentum, by that of what it averages, if those are independent."""
    return 0.0 if momentum is None else (1 - momentum) / (1 + momentum)


def value(record: dict, quantity: str, layer: str, default: float = math.nan) -> float:
    """Of one quantity of a layer; the default where there is none."""
    number = record.get(f"variance_shift/{quantity}/{layer}")
    return default if number is None else number


def sizes(record: dict, quantity: str) -> dict[str, float]:
    """How far from none, in standard deviations of the inputs: of a ratio of variances how many more or fewer, relative."""
    values = by_layer(record, f"variance_shift/{quantity}")
    return values if quantity.startswith("mean") else {layer: abs(math.log(value)) / 2 if value > 0 else math.inf for layer, value in values.items()}


def error(record: dict, quantity: str, layer: str, layers: Mapping[str, Normalization]) -> float:
    """Standard error of a size. In inference those of the layers in front are passed on, as their moving statistics scale and shift what comes here."""
    names = up_to(layer, layers) if quantity in ("mode", "mean_mode", "ratio") else [layer]
    variances = [value(record, "error", name, 0.0) / 2 for name in names]
    means = [value(record, "mean_error", name, 0.0) for name in names]
    return math.hypot(*({"lag": variances, "mode": variances, "ratio": variances, "mean_lag": means}.get(quantity) or variances + means))


def scatter(record: dict, layer: str, layers: Mapping[str, Normalization]) -> float:
    """What batches of the training differ by, in standard deviations: each example is normalised by the others of its batch, here and in front."""
    quantities = ("error", 2), ("mean_error", 1)
    return math.hypot(*(value(record, name, each, 0.0) / part / layers[each].errors for each in up_to(layer, layers) for name, part in quantities))


def up_to(layer: str, layers: Mapping[str, Normalization]) -> list[str]:
    """The layers in front of it, and itself."""
    names, in_front = list(layers), layers[layer].in_front
    return [*(name for name in names[: names.index(layer)] if in_front is None or name in in_front), layer]


def certain(record: dict, quantity: str, layers: Mapping[str, Normalization]) -> dict[str, float]:
    """Those of which the measurement's own error leaves no doubt."""
    present = {layer: size for layer, size in sizes(record, quantity).items() if layer in layers}  # Earlier calls may have used others.
    return {layer: size for layer, size in present.items() if size > CERTAIN * error(record, quantity, layer, layers)}


def large(record: dict, quantity: str, layers: Mapping[str, Normalization]) -> dict[str, float]:
    """Of these, those that are not small, and larger than what batches of the training scatter by."""
    return {layer: size for layer, size in certain(record, quantity, layers).items() if size > max(SMALL, scatter(record, layer, layers))}


def lags(record: dict, layers: Mapping[str, Normalization], selected: Callable = large) -> dict[str, float]:
    """By what moving statistics differ from what inputs have in training, of the layers that `selected` selects by that."""
    return larger_of_each(selected(record, "lag", layers), selected(record, "mean_lag", layers))


def modes(record: dict, layers: Mapping[str, Normalization]) -> dict[str, float]:
    """By what inputs in inference differ from those in training, of the layers where that is large."""
    return larger_of_each(large(record, "mode", layers), large(record, "mean_mode", layers))


def right(record: dict, layers: Mapping[str, Normalization]) -> set[str]:
    """Layers whose moving statistics are those of the inputs in inference, whatever the inputs are in training, as recalibration makes them: the difference is
    small, or no more than the error."""
    quantities = ("ratio", "ratio"), ("mean_shift", "mean_mode")  # And whose error it has.
    of_layers = {quantity: sizes(record, quantity) for quantity, _ in quantities}

    def is_right(layer, quantity, other):
        return of_layers[quantity].get(layer, math.inf) <= max(SMALL, CERTAIN * error(record, other, layer, layers))

    return {layer for layer in layers if all(is_right(layer, *each) for each in quantities)}


def doubtful(record: dict, layers: Mapping[str, Normalization]) -> dict[str, float]:
    """Layers of which the data cannot tell whether there is a shift that counts, to the size of what they show."""
    result, of_layers = {}, [sizes(record, quantity) for quantity in SHIFTED]
    for name in layers:
        least, size = max(SMALL, scatter(record, name, layers)), max(each.get(name, 0.0) for each in of_layers)
        if size > least or CERTAIN * error(record, "mode", name, layers) > 2 * least:
            result[name] = size
    return result


def larger_of_each(one: dict[str, float], other: dict[str, float]) -> dict[str, float]:
    """The larger size of each layer."""
    return {layer: max(one.get(layer, 0.0), other.get(layer, 0.0)) for layer in one | other}


def warms(record: dict, layer: str) -> bool:
    """Whether what the moving statistics began with explains half of what they are off by, at least."""
    off, explained, besides = off_by_lag(record, layer)
    return explained != 0 and 2 * besides <= abs(off)


def off_by_lag(record: dict, layer: str) -> tuple[float, float, float]:
    """By what the moving mean, or the moving variance relative to that in training, is off; what of that is explained by what it began with; and the rest."""
    if quantity_of_lag(record, layer) == "mean_lag":
        return tuple(value(record, quantity, layer, 0.0) for quantity in ("mean_lag", "mean_warm_up", "mean_besides"))
    ratio, most = value(record, "lag", layer), value(record, "warm_up", layer, 0.0)
    off = 1 / ratio - 1 if ratio > 0 else math.inf
    explained = math.copysign(min(abs(off), abs(most)), most) if off * most > 0 else 0.0  # Less is left, where a step calls the layer several times.
    return off, explained, abs(off - explained)


def quantity_of_lag(record: dict, layer: str) -> str:
    """Which of the moving statistics is off by more."""
    return largest({quantity: sizes(record, quantity).get(layer, 0.0) for quantity in ("lag", "mean_lag")})


def shifted_by_dropout(record: dict, layers: Mapping[str, Normalization]) -> dict[str, float]:
    """Layers whose inputs vary less in inference, which Dropout explains by half at least: in front, and further in front, whose shifts add up.

    Where moving statistics in front lag, only what it does right in front: the closed form holds for the inputs of inference, which are scaled by them.
    """
    lagging = lags(record, layers)

    def explained(layer):
        names = [layer] if any(name in lagging for name in up_to(layer, layers)) else behind_a_dropout_of_their_own(layer, layers)
        return sum(logarithm(record, "predicted_ratio", name) for name in names)

    shifted = certain(record, "mode", layers)
    return {layer: size for layer, size in shifted.items() if 0 < -logarithm(record, "mode", layer) and explained(layer) >= size}


def behind_a_dropout_of_their_own(layer: str, layers: Mapping[str, Normalization]) -> list[str]:
    """The layers with a Dropout in front, up to this one."""
    return [name for name in up_to(layer, layers) if layers[name].dropout is not None]


def logarithm(record: dict, quantity: str, layer: str) -> float:
    """Of a ratio of variances; 0 where there is none."""
    return math.log(max(value(record, quantity, layer, 1.0), _LEAST))
