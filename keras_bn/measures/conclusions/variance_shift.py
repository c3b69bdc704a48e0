"""What `variance_shift` says of a training."""

import math
from collections.abc import Mapping, Sequence

from keras_bn.measures.conclusions import shifts, words
from keras_bn.measures.conclusions.conclusion import CERTAIN, Conclusion, by_layer, largest, named, not_finite, several, since
from keras_bn.measures.conclusions.shifts import LEFT, SMALL, Normalization, moving_scatter

ORDINARY, LOWEST = 0.9, 0.8  # Momenta: a lower one than the latter is not advised, as moving statistics that follow a few batches scatter as those do.
_UNITS = {"lag": "the variance", "mean_lag": "a standard deviation"}


def conclusion(records: Sequence[dict], layers: Mapping[str, Normalization]) -> Conclusion:
    """Of one training.

    A number counts that differs from none by more than CERTAIN of its standard errors; and, but for Dropout, whose shift is there for good, by more than SMALL,
    and by more than batches differ by in training, as the net has learned to live with that.

    Args:
        records: one at least, as of `VarianceShift.history`.
        layers: by name in tags.
    """
    last = records[-1]
    broken = not_finite("VarianceShift", last, [f"variance_shift/{quantity}" for quantity in ("lag", "mode", "error", "mean_lag")])
    if broken is not None:
        return broken
    dropped, lags, modes = shifts.shifted_by_dropout(last, layers), shifts.lags(last, layers), shifts.modes(last, layers)
    if dropped:
        warming = [layer for layer in lags if shifts.warms(last, layer)]
        modes = {layer: size for layer, size in modes.items() if not any(name in dropped for name in shifts.up_to(layer, layers))}
        others = shifts.larger_of_each(modes, {layer: size for layer, size in lags.items() if layer not in warming})
        if max(dropped.values()) >= max(others.values(), default=0):
            return _dropout_shifts(records, largest(dropped), layers, warming)
        layer = largest(dropped)
        mode = shifts.value(last, "mode", layer)
        also = f" Dropout shifts {named(list(dropped))} besides: in inference the inputs of {layer} have {mode:.3g} times their variance."
        result = _lags_or_modes(records, layers, lags, modes)
        return result._replace(meaning=result.meaning + also)
    if lags or modes:
        return _lags_or_modes(records, layers, lags, modes)
    return _nothing_that_counts(last, layers)


def _nothing_that_counts(record, layers):
    """Either nothing is amiss, or the data could not tell what would be."""
    ratios = by_layer(record, "variance_shift/ratio")
    layer = largest(ratios)
    most = (
        "" if layer is None else f"the largest ratio is {ratios[layer]:.3g} at {layer}, of standard error {2 * shifts.error(record, 'mode', layer, layers):.2g}"
    )
    doubtful = shifts.doubtful(record, layers)
    if not doubtful:
        return Conclusion(
            f"VarianceShift, step {record['step']}: nothing is amiss{most and f': {most}'}.",
            f"In inference the inputs of {several(len(ratios), 'layer')} have the moments that their moving statistics say, {_as_far_as(record, layers)}.",
            "There is nothing to do; larger batches in training would scatter less, and more data would tell smaller differences.",
        )
    finding, normalization = f"VarianceShift, step {record['step']}: nothing is certain: {most}.", layers[largest(doubtful)]
    if 2 * moving_scatter(normalization.momentum) > normalization.errors**2:
        batches = round(1 / moving_scatter(normalization.momentum))
        return Conclusion(
            finding,
            f"The moving statistics scatter themselves: with momentum {normalization.momentum:g} they hold about {batches} batch"
            f"{'' if batches == 1 else 'es'}.",
            f"Let them average over more batches: keras_bn.BatchNormalization(momentum={ORDINARY:g}).",
        )
    return Conclusion(
        finding,
        "These data are too few to tell what would be a shift from chance.",
        "Give more data, in more batches: the standard error falls as one by the root of their number.",
    )


def _lags_or_modes(records, layers, lags, modes):
    """What layers lag by is passed on as modes, and adds up: first the lags, where they explain half of the largest mode, or where statistics warm up, of which
    so much may be passed on that nothing can be said of modes."""
    last, mode = records[-1], largest(modes)
    in_front = (
        {} if mode is None else {layer: size for layer, size in shifts.lags(last, layers, shifts.certain).items() if layer in shifts.up_to(mode, layers)[:-1]}
    )
    explains = mode is None or 2 * max([sum(in_front.values()), *lags.values()]) >= modes[mode]
    if lags and (explains or any(shifts.warms(last, layer) for layer in lags)):
        layer = largest(lags)
        return (_warms_up if shifts.warms(last, layer) else _lag_lasts)(records, layer, layers)
    # The first one's mode is no other layer's, and is passed on.
    first = next((layer for layer in shifts.up_to(mode, layers) if layer in modes and (shifts.up_to(layer, layers) == [layer] or layers[layer].acting)), mode)
    quantity = "mode" if first in shifts.large(last, "mode", layers) else "mean_mode"
    finding = _finding(records, first, quantity, layers, lambda record: first in shifts.modes(record, layers))
    if layers[first].acting:
        return _acts_in_training(finding, layers[first].acting)
    return _of_unknown_cause(finding, first, layers, in_front if explains else {})


def _acts_in_training(finding, acting):
    return Conclusion(
        finding,
        words.acting(acting),
        f"If inference is worse for it, weaken {'it' if len(acting) == 1 else 'them'}; "
        "a Dropout can stand behind the last batch normalisation, or be a keras_bn.UniformDropout(0.1).",
    )


def _of_unknown_cause(finding, mode, layers, lags):
    remedy = f"Lower the learning rate towards the end{_follow(layers[mode].momentum)}."
    if lags:
        return Conclusion(finding, f"The moving statistics of {named(list(lags))} are off by little each, which adds up on the way here.", remedy)
    if shifts.up_to(mode, layers) == [mode]:
        return Conclusion(
            finding,
            words.CODE_OF_ITS_OWN,
            "Look at what the layers in front of it do with `training`.",
        )
    return Conclusion(
        finding,
        words.ADDS_UP,
        remedy,
    )


def _as_far_as(record, layers):
    """How well a layer's moments agree."""
    certain = {layer for quantity in (*shifts.SHIFTED, "ratio") for layer in shifts.certain(record, quantity, layers)}
    if not certain:
        return "as far as these data can tell"
    scatter = max(shifts.scatter(record, layer, layers) for layer in certain)
    if scatter < SMALL:
        return f"or differ by less than {SMALL:g} standard deviations"
    return f"or differ by less than batches do in training, which is {scatter:.2g} standard deviations"


def _finding(records, layer, quantity, layers, holds):
    last = records[-1]
    error = shifts.error(last, quantity, layer, layers) * (1 if quantity.startswith("mean") else 2)
    what = words.MEASURED[quantity].format(shifts.value(last, quantity, layer))
    return f"VarianceShift, step {last['step']}: {layer} is off, since step {since(records, holds)}: {what} (standard error {error:.2g})."


def _dropout_shifts(records, layer, layers, warming):
    last, in_front = records[-1], shifts.behind_a_dropout_of_their_own(layer, layers)
    also = f" Warming up besides: the moving statistics of {named(warming)}." if warming else ""
    own = shifts.logarithm(last, "predicted_ratio", layer)
    rest = abs(shifts.logarithm(last, "mode", layer) + own)
    if layers[layer].dropout is None:
        strongest = max(in_front, key=lambda name: shifts.logarithm(last, "predicted_ratio", name))
        why = f"{layers[strongest].dropout} is why, in front of {strongest}, whose inputs pass on what they shift by"
    else:
        why = f"{layers[layer].dropout} in front of it is why, for which the closed form predicts {math.exp(-own):.3g}"
        if rest / 2 > CERTAIN * shifts.error(last, "mode", layer, layers):
            why = (
                f"{layers[layer].dropout} in front of it explains {math.exp(-own):.3g} by the closed form, and the rest is passed on by layers further in front"
            )
    if layer not in shifts.large(last, "mode", layers):
        scatter = shifts.scatter(last, layer, layers)
        also = f" It is small: less than {SMALL:g} standard deviations, or than the {scatter:.2g} that batches differ by in training.{also}"
    return Conclusion(
        _finding(records, layer, "mode", layers, lambda record: layer in shifts.shifted_by_dropout(record, layers)),
        f"{why}: {words.DROPOUT}{also}",
        "Put Dropout behind the last batch normalisation, or use a weaker one: keras_bn.UniformDropout(0.1).",
    )


def _warms_up(records, layer, layers):
    last, (momentum, updates, *_) = records[-1], layers[layer]
    others = sum(shifts.warms(last, each) for each in shifts.lags(last, layers) if each != layer)
    quantity = shifts.quantity_of_lag(last, layer)
    _, explained, besides = shifts.off_by_lag(last, layer)
    besides /= 1 if quantity == "mean_lag" else 2
    lasts = "It is no shift that lasts."
    if besides > max(SMALL, shifts.scatter(last, layer, layers), CERTAIN * shifts.error(last, quantity, layer, layers)):
        lasts = (
            f"Without it {besides:.2g} standard deviations are left, by which its inputs have moved on: centre what goes into the net, or learn more slowly."
        )
    left, number = abs(explained), explained if quantity == "mean_lag" else 1 / (1 + explained)
    updates_needed = math.log(LEFT / left) / math.log(momentum) if left > LEFT and momentum else 1
    needed = math.ceil(updates_needed / layers[layer].calls_a_step)
    fitting = math.floor(1000 * (LEFT * layers[layer].left / left) ** (1 / updates)) / 1000 if updates else 0.0
    faster = f", or let them follow faster: keras_bn.BatchNormalization(momentum={fitting:g})" if LOWEST <= fitting < momentum else ""
    return Conclusion(
        _finding(records, layer, quantity, layers, lambda record: layer in shifts.lags(record, layers, shifts.certain) and shifts.warms(record, layer)),
        f"{words.warming(momentum, updates, layers[layer].left, others)}, which alone would make that {number:.3g}. {lasts}",
        f"Train {several(needed, 'step')} more, until it makes {100 * LEFT:g} % of {_UNITS[quantity]}{faster}.",
    )


def _lag_lasts(records, layer, layers):
    momentum, quantity = layers[layer].momentum, shifts.quantity_of_lag(records[-1], layer)
    finding = _finding(
        records, layer, quantity, layers, lambda record: layer in shifts.lags(record, layers, shifts.certain) and not shifts.warms(record, layer)
    )
    if momentum != 1 and not layers[layer].moved:
        return Conclusion(
            finding,
            "Its moving statistics have not changed since the training began, though the layer is trainable: no step calls it in training mode.",
            "Call the net with training=True in the training step; or, if it is not to be trained, give the one that is as `net`.",
        )
    if momentum == 1:
        return Conclusion(
            finding,
            words.FIXED,
            "Let them move, by layer.trainable = True, and layer.momentum = 0.99 if that is 1, and compile the model anew; or leave it, if the layers behind "
            "learn to live with it.",
        )
    return Conclusion(
        finding,
        words.LAG,
        f"If the data are those of the training, {'centre what goes into the net, or ' if quantity == 'mean_lag' else ''}lower the learning rate towards the "
        f"end{_follow(momentum)}.",
    )


def _follow(momentum):
    """What else can be done about moving statistics; with a lower momentum than LOWEST they scatter more than they lag."""
    if momentum is None:
        return ", or let the statistics average anew: layer.reset_statistics()"
    if momentum == 1:
        return ""
    if momentum < ORDINARY:
        return f", or let the statistics average over more batches: keras_bn.BatchNormalization(momentum={ORDINARY:g})"
    return f", or let the statistics follow faster: keras_bn.BatchNormalization(momentum={max(LOWEST, 1 - 4 * (1 - momentum)):.4g})"
