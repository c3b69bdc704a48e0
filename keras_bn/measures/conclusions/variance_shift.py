"""What `variance_shift` says of a training."""

import math
from collections.abc import Mapping, Sequence

from keras_bn.measures.conclusions.conclusion import CERTAIN, Conclusion, by_layer, largest, since


def conclusion(records: Sequence[dict], momenta: Mapping[str, float | None], dropouts: Mapping[str, str]) -> Conclusion:
    """Of one training. A number counts that differs from 1 by more than CERTAIN of its standard errors.

    Args:
        records: one at least, as of `VarianceShift.history`.
        momenta: by the layer's name in tags; None for a layer that averages over all batches.
        dropouts: the name of the Dropout in front of a layer, by the same.
    """
    last = records[-1]
    modes, lags = _certain(last, "mode"), _certain(last, "lag")
    warming = {layer: size for layer, size in lags.items() if _as_built(momenta[layer], last["step"]) > _value(last, "error", layer)}
    # Layers in front that warm up change the variances in inference, too; then Dropout is named only where it explains half of the shift.
    behind_dropout = {layer: size for layer, size in modes.items() if layer in dropouts and (not warming or _explained(last, layer) >= size / 2)}
    if behind_dropout:
        return _dropout_shifts(records, largest(behind_dropout), dropouts, list(warming))
    if warming:
        return _warms_up(records, largest(warming), momenta, len(warming))
    if lags:
        return _lags(records, largest(lags), momenta)
    if modes:
        return _is_passed_on(records, largest(modes), momenta)
    ratios = by_layer(last, "variance_shift/ratio")
    layer = largest(ratios) if ratios else None
    most = f": the largest ratio is {ratios[layer]:.3g} at {layer}, of standard error {_value(last, 'error', layer):.2g}" if layer else ""
    return Conclusion(
        f"VarianceShift, step {last['step']}: nothing is amiss{most}.",
        f"In inference the inputs of all {len(ratios)} layers vary as their moving variances say, as far as these data can tell.",
        "There is nothing to do; more data would tell smaller differences.",
    )


def _value(record, quantity, layer):
    value = record.get(f"variance_shift/{quantity}/{layer}")
    return math.nan if value is None else value


def _certain(record, quantity):
    """How far from 1, as an absolute logarithm, for the layers of which that is certain."""
    sizes = {layer: abs(math.log(value)) if value > 0 else math.inf for layer, value in by_layer(record, f"variance_shift/{quantity}").items()}
    return {layer: size for layer, size in sizes.items() if size > CERTAIN * _value(record, "error", layer)}


def _finding(records, layer, quantity, words):
    begin = since(records, lambda record: layer in _certain(record, quantity))
    last = records[-1]
    number = words.format(f"{_value(last, quantity, layer):.3g}")
    return f"VarianceShift, step {last['step']}: {layer} is off, since step {begin}: {number} (standard error {_value(last, 'error', layer):.2g})."


def _as_built(momentum, step):
    """Which share of the moving statistics is still what they were built with."""
    return 0.0 if momentum is None else momentum**step


def _explained(record, layer):
    """How much of the mode's logarithm is what the closed form predicts for the Dropout."""
    mode, predicted = _value(record, "mode", layer), _value(record, "predicted_ratio", layer)
    return 0.0 if math.isnan(predicted) else abs(math.log(mode)) - abs(math.log(mode * predicted))


def _dropout_shifts(records, layer, dropouts, warming):
    also = f" The moving statistics of {len(warming)} layers, {warming[0]} among them, are warming up besides." if warming else ""
    predicted = _value(records[-1], "predicted_ratio", layer)
    closed_form = "" if math.isnan(predicted) else f", for which the closed form predicts {1 / predicted:.3g}"
    return Conclusion(
        _finding(records, layer, "mode", "in inference its inputs have {} times their variance in training"),
        f"{dropouts[layer]} in front of it is why{closed_form}: it makes the inputs vary in training only, and the moving variance learns that.{also}",
        "Put Dropout behind the last batch normalisation, or use a weaker one: keras_bn.UniformDropout(0.1).",
    )


def _is_passed_on(records, layer, momenta):
    last = records[-1]
    lags = {other: abs(math.log(value)) for other, value in by_layer(last, "variance_shift/lag").items() if value > 0}
    most = largest(lags)
    return Conclusion(
        _finding(records, layer, "mode", "in inference its inputs have {} times their variance in training"),
        "No Dropout is right in front of it, nor behind one linear layer: it is passed on from further in front, where layers normalise by moving statistics "
        f"in inference and by those of the batch in training. The largest lag is {_value(last, 'lag', most):.3g}, at {most}.",
        f"Mend that first{_faster(momenta[most])}; or remove Dropout or noise further in front.",
    )


def _warms_up(records, layer, momenta, number):
    step, momentum = records[-1]["step"], momenta[layer]
    needed, momentum_needed = math.ceil(math.log(0.01) / math.log(momentum)), math.floor(100 * 0.01 ** (1 / step)) / 100 if step else 0.0
    others = f", and those of {number - 1} more layers" if number > 1 else ""
    return Conclusion(
        _finding(records, layer, "lag", "its inputs have {} times the variance that its moving variance holds"),
        f"Its moving statistics are warming up{others}: with momentum {momentum:g}, after {step} steps, {100 * momentum**step:.2g} % of them is what they were "
        "built with. It is no shift that lasts.",
        f"Train {max(0, needed - step)} steps more until 1 % is left, or build it to follow faster: keras_bn.BatchNormalization(momentum={momentum_needed:g}).",
    )


def _lags(records, layer, momenta):
    return Conclusion(
        _finding(records, layer, "lag", "its inputs have {} times the variance that its moving variance holds"),
        "Its moving statistics lag: the weights change faster than they follow, so that inference normalises by the net of some steps ago.",
        f"Lower the learning rate towards the end, or the momentum{_faster(momenta[layer])}.",
    )


def _faster(momentum):
    return "" if momentum is None else f": keras_bn.BatchNormalization(momentum={max(0.0, 1 - 4 * (1 - momentum)):.4g}) follows four times as fast"
