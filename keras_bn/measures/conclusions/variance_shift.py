"""What `variance_shift` says of a training."""

import math
from collections.abc import Mapping, Sequence

from keras_bn.measures.conclusions.conclusion import CERTAIN, Conclusion, by_layer, largest, named, not_finite, several, since

LEFT = 0.01  # Below it the share of the moving statistics that is still as built counts as none.


def conclusion(records: Sequence[dict], momenta: Mapping[str, float | None], dropouts: Mapping[str, str]) -> Conclusion:
    """Of one training. A number counts that differs from 1 by more than CERTAIN of its standard errors.

    Args:
        records: one at least, as of `VarianceShift.history`.
        momenta: by the layer's name in tags; None for a layer that averages over all batches, 1 for a frozen one, whose statistics do not move.
        dropouts: the name of the Dropout in front of a layer, by the same.
    """
    last = records[-1]
    broken = not_finite("VarianceShift", last, ["variance_shift/lag", "variance_shift/mode", "variance_shift/error"])
    if broken is not None:
        return broken
    modes, lags = _certain(last, "mode"), _certain(last, "lag")
    warming = {layer: size for layer, size in lags.items() if _warms(last, layer, momenta.get(layer))}
    # Dropout makes inputs vary less in inference. Layers in front that warm up change their variance, too: then only what it explains is put down to it.
    dropped = {layer: size for layer, size in modes.items() if layer in dropouts and 0 < _value(last, "mode", layer) < 1}
    behind_dropout = {layer: size for layer, size in dropped.items() if not warming or _is_by_dropout(last, layer)}
    if behind_dropout:
        return _dropout_shifts(records, largest(behind_dropout), dropouts, list(warming))
    if warming:
        return _warms_up(records, largest(warming), momenta, len(warming))
    if lags:
        return _lags(records, largest(lags), momenta)
    if modes:
        return Conclusion(
            _finding(records, largest(modes), "mode", "in inference its inputs have {} times their variance in training"),
            "No Dropout that explains it was found right in front of it, nor with one linear layer between, and no layer's moving statistics lag for certain.",
            "Look for Dropout or noise further in front; what layers in front normalise by differs between training and inference, too, and adds up.",
        )
    ratios = by_layer(last, "variance_shift/ratio")
    layer = largest(ratios)
    most = "" if layer is None else f": the largest ratio is {ratios[layer]:.3g} at {layer}, of standard error {_value(last, 'error', layer):.2g}"
    return Conclusion(
        f"VarianceShift, step {last['step']}: nothing is amiss{most}.",
        f"In inference the inputs of {several(len(ratios), 'layer')} vary as their moving variances say, as far as these data can tell.",
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


def _is_by_dropout(record, layer):
    """Whether what the closed form predicts for the Dropout is half of the mode at least, as logarithms."""
    mode, predicted = _value(record, "mode", layer), _value(record, "predicted_ratio", layer)
    return math.isnan(predicted) or abs(math.log(mode * predicted)) <= abs(math.log(mode)) / 2


def _as_built(momentum, step):
    """Which share of the moving statistics is still what they were built with, if they began with this optimizer."""
    return 0.0 if momentum is None or momentum == 0 else momentum**step


def _warms(record, layer, momentum):
    """Whether what they were built with explains the lag: with a share of it left, the moving variance is (1 - share) of its mean at least."""
    share = _as_built(momentum, record["step"])
    if momentum == 1 or share <= LEFT:
        return False
    most = -math.log(1 - share) if share < 1 else math.inf
    return math.log(max(_value(record, "lag", layer), 1e-300)) <= most + CERTAIN * _value(record, "error", layer)


def _dropout_shifts(records, layer, dropouts, warming):
    also = f" Warming up besides: the moving statistics of {named(warming)}." if warming else ""
    predicted = _value(records[-1], "predicted_ratio", layer)
    if math.isnan(predicted):
        why = f"{dropouts[layer]} in front of it is why"
    elif _is_by_dropout(records[-1], layer):
        why = f"{dropouts[layer]} in front of it is why, for which the closed form predicts {1 / predicted:.3g}"
    else:
        why = f"{dropouts[layer]} in front of it explains {1 / predicted:.3g} by the closed form, and the rest is passed on by layers further in front"
    return Conclusion(
        _finding(records, layer, "mode", "in inference its inputs have {} times their variance in training"),
        f"{why}: Dropout makes inputs vary in training only, and the moving variance learns that.{also}",
        "Put Dropout behind the last batch normalisation, or use a weaker one: keras_bn.UniformDropout(0.1).",
    )


def _warms_up(records, layer, momenta, number):
    step, momentum = records[-1]["step"], momenta[layer]
    needed = math.ceil(math.log(LEFT) / math.log(momentum))
    faster = f", or build it to follow faster: keras_bn.BatchNormalization(momentum={math.floor(100 * LEFT ** (1 / step)) / 100:g})" if step else ""
    others = f", and those of {several(number - 1, 'more layer')}" if number > 1 else ""
    return Conclusion(
        _finding(records, layer, "lag", "its inputs have {} times the variance that its moving variance holds"),
        f"Its moving statistics are warming up{others}: with momentum {momentum:g}, after {several(step, 'step')} of this optimizer, "
        f"{100 * momentum**step:.3g} % of them is what they were built with. It is no shift that lasts.",
        f"Train {several(needed - step, 'step')} more until {100 * LEFT:g} % is left{faster}.",
    )


def _lags(records, layer, momenta):
    momentum = momenta.get(layer)
    finding = _finding(records, layer, "lag", "its inputs have {} times the variance that its moving variance holds")
    if momentum == 1:
        return Conclusion(
            finding,
            "Its moving statistics do not move, as the layer is frozen or its momentum is 1: these inputs are others than those that they were taken from.",
            "Let them move, and compile the model anew: layer.trainable = True; or leave it, if the layers behind learn to live with it.",
        )
    faster = "" if not momentum else f": keras_bn.BatchNormalization(momentum={1 - min(1, 4 * (1 - momentum)):.4g})"
    return Conclusion(
        finding,
        "Its moving statistics lag: the weights change faster than they follow, so that inference normalises by the net of some steps ago. Or these data "
        "differ from those of the training, or their batches in size.",
        f"Lower the learning rate towards the end, or let the statistics follow faster{faster}.",
    )
