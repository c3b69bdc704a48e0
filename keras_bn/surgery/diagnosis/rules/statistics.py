"""Moving statistics that are not those of the inputs: by the rules of `measures.conclusions.shifts`, which say what counts beside errors.

A layer's moving statistics are held against its inputs in training mode, which do not depend on the moving statistics of layers in front: what one layer is off
by is not found again in those behind. Where several are off, the finding names the first.
"""

import math

import keras
import numpy as np

from keras_bn.inspection import normalization_layers
from keras_bn.measures.conclusions import shifts, words
from keras_bn.measures.conclusions.conclusion import CERTAIN
from keras_bn.measures.conclusions.shifts import SMALL
from keras_bn.surgery.diagnosis.evidence import ALL_RECALIBRATED, Evidence
from keras_bn.surgery.diagnosis.finding import Finding, several_layers
from keras_bn.surgery.diagnosis.rules.losses import RECALIBRATE, costs, of_losses
from keras_bn.surgery.freeze import Frozen


def never_updated(evidence: Evidence) -> Finding | None:
    """Where moving mean and variance are exactly 0 and 1, as they are built."""
    names = _as_built(evidence)
    if not names:
        return None
    first, steps = _first(names, evidence), evidence.steps
    trained = f"though the optimizer has made {steps} updates" if steps else "as the model was not trained, or this layer ran in inference mode only"
    return Finding(
        evidence.layers[first].name,
        "never_updated",
        {"moving_mean": 0.0, "moving_variance": 1.0, **_off_by(first, evidence), **evidence.several(names), **of_losses(evidence)},
        f"Its moving statistics still have their initial values, {trained}: inference normalises by a mean of 0 and a variance of 1.",
        _recalibrate(first, evidence),
    )


def negative_variance(evidence: Evidence) -> Finding | None:
    """Where a moving variance is below 0, as averaging or loading weights can make it."""
    layers = {layer: np.flatnonzero(keras.ops.convert_to_numpy(layer.moving_variance) < 0) for layer in _normalizations(evidence.model)}
    layers = {layer: channels for layer, channels in layers.items() if len(channels)}
    if not layers:
        return None
    layer, channels = next(iter(layers.items()))
    return Finding(
        layer.name,
        "negative_variance",
        {"channels": channels.tolist(), "shift": math.inf, **several_layers(layers)},
        "No variance is below 0: weights were averaged, quantised or loaded so that it is, and inference divides by a number too small, or by none.",
        RECALIBRATE,
    )


def lag(evidence: Evidence) -> Finding | None:
    """Where moving statistics differ from what inputs have in training, and move; and recalibrating lowers the loss, or nobody can tell."""
    names = [name for name in lagging(evidence) if name not in evidence.fixed and not _warms(name, evidence)]
    if not names or costs(evidence) is False:
        return None
    first = _first(names, evidence)
    measured = {**_off_by(first, evidence), **evidence.several(names), **of_losses(evidence)}
    why = words.OFF
    if evidence.calls[first] > 1:
        why = f"It is called {evidence.calls[first]} times, and normalises each call by itself in training, while its moving statistics mix them: {words.OFF}"
    return Finding(evidence.layers[first].name, "statistics_lag", measured, why, RECALIBRATE)


def warming_up(evidence: Evidence) -> Finding | None:
    """Where what a layer was built with explains half of what its statistics are off by, at least; or where more than MUCH of them is left of whatever the
    training began with, such as those of a pretrained net, by momentum ** updates."""
    names = [name for name in lagging(evidence) if name not in evidence.fixed and _warms(name, evidence)]
    if not names or costs(evidence) is False:
        return None
    first = _first(names, evidence)
    normalization = evidence.normalizations[first]
    if evidence.steps is None:
        why = "Its moving statistics are partly those that it was built with: it has made too few updates for its momentum."
    else:
        why = f"{words.warming(normalization.momentum, normalization.updates, normalization.left)}, be it a new layer's or that of other data."
    measured = {"momentum": normalization.momentum, **_off_by(first, evidence), **evidence.several(names), **of_losses(evidence)}
    if evidence.steps is not None:
        measured = {"updates": normalization.updates, "left": normalization.left, **measured}
    return Finding(evidence.layers[first].name, "warming_up", measured, why, RECALIBRATE)


def dropout(evidence: Evidence) -> Finding | None:
    """Where Dropout explains that inputs vary less in inference (Li 2018, eq. 7, 8), and that costs something: recalibrating lowers the loss, or without losses
    the shift is larger than SMALL and than what batches scatter by."""
    record, layers = evidence.record, evidence.normalizations
    exempt = right(evidence)
    shifted = {name: size for name, size in shifts.shifted_by_dropout(record, layers).items() if name not in exempt}
    is_costly = costs(evidence)
    if not shifted or is_costly is False or (is_costly is None and not any(name in shifts.large(record, "mode", layers) for name in shifted)):
        return None
    behind = [name for name in evidence.layers if layers[name].dropout is not None and any(name in shifts.up_to(each, layers) for each in shifted)]
    first = max(behind, key=lambda name: shifts.logarithm(record, "predicted_ratio", name))
    predicted = 1 / shifts.value(record, "predicted_ratio", first)
    measured = {
        "dropout": layers[first].dropout,
        "variance_in_inference_to_training": shifts.value(record, "mode", first),
        "standard_error": 2 * shifts.error(record, "mode", first, layers),
        "predicted": predicted,
        "shift": max(shifted.values()),
        **evidence.several(shifted),
        **of_losses(evidence),
    }
    why = f"The Dropout {layers[first].dropout} in front of it lowers the variance in inference, by the closed form to {predicted:.3g} times: {words.DROPOUT}"
    return Finding(evidence.layers[first].name, "dropout_in_front", measured, why, RECALIBRATE)


def acting_in_training(evidence: Evidence) -> Finding | None:
    """Where inputs in inference are others than in training, which neither Dropout nor by half what moving statistics in front are off by explains; and that
    costs something, or nobody can tell."""
    record, layers = evidence.record, evidence.normalizations
    off = {*shifts.shifted_by_dropout(record, layers), *_as_built(evidence), *lagging(evidence)}
    lags, modes = shifts.lags(record, layers, shifts.certain), shifts.modes(record, layers)
    exempt = right(evidence)

    def is_explained(name):
        in_front = shifts.up_to(name, layers)
        return bool(off & set(in_front)) or 2 * sum(lags.get(each, 0.0) for each in in_front[:-1]) >= modes[name]

    names = [name for name in modes if name not in exempt and not is_explained(name)]
    if not names or costs(evidence) is False:
        return None
    first = _first(names, evidence)
    quantity = max(("mode", "mean_mode"), key=lambda each: shifts.sizes(record, each).get(first, 0.0))
    acting = layers[first].acting
    measured = {
        _NAMES[quantity]: shifts.value(record, quantity, first),
        "standard_error": shifts.error(record, quantity, first, layers) * (1 if quantity.startswith("mean") else 2),
        "shift": modes[first],
        **({"acting": list(acting)} if acting else {}),
        **evidence.several(names),
        **of_losses(evidence),
    }
    why = words.acting(acting) if acting else words.CODE_OF_ITS_OWN if shifts.up_to(first, layers) == [first] else words.ADDS_UP
    return Finding(evidence.layers[first].name, "other_inputs_in_training", measured, why, RECALIBRATE)


def other_data(evidence: Evidence) -> Finding | None:
    """Where statistics that do not move, also in training, are not those of these data, and those of these data lower the loss, or nobody can tell: the layers
    behind may have learned to live with it."""
    names = [name for name in lagging(evidence) if name in evidence.fixed]
    if not names or costs(evidence, ALL_RECALIBRATED) is False:
        return None
    first = _first(names, evidence)
    return Finding(
        evidence.layers[first].name,
        "statistics_of_other_data",
        {**_off_by(first, evidence), **evidence.several(names), **of_losses(evidence)},
        f"{words.FIXED} Look whether the inputs are scaled as those were.",
        _recalibrate(first, evidence),
    )


def _normalizations(model):
    return [layer for layer in normalization_layers.names(model) if layer.built]


MUCH = 0.1  # A share of the moving statistics: with so much left of what a training began with, a tenth of what that was off by is.
_NAMES = {
    "lag": "variance_to_moving_variance",
    "mean_lag": "mean_from_moving_mean",
    "mode": "variance_in_inference_to_training",
    "mean_mode": "mean_in_inference_from_training",
}


def lagging(evidence: Evidence) -> dict[str, float]:
    """Layers whose moving statistics are not those of their inputs in training, to the size of that; without those that were never updated, and those that hold
    what inference needs."""
    record, layers, others = evidence.record, evidence.normalizations, {*_as_built(evidence), *right(evidence)}
    sizes = shifts.lags(record, layers)
    for name, (lag, _, error) in evidence.by_channel.items():
        if lag > max(CERTAIN * error, SMALL, shifts.scatter(record, name, layers)):
            sizes[name] = max(lag, sizes.get(name, 0.0))
    return {name: sizes[name] for name in evidence.layers if name in sizes and name not in others}


def right(evidence: Evidence) -> set[str]:
    """Layers whose moving statistics are what inference needs, in every channel."""
    by_channel = evidence.by_channel
    names = shifts.right(evidence.record, evidence.normalizations)
    return {name for name in names if by_channel[name].shift <= max(SMALL, CERTAIN * by_channel[name].error)}


def _as_built(evidence):
    return [name for name, shift in evidence.shifts.items() if not np.any(shift.moving_mean) and np.all(shift.moving_variance == 1)]


def _recalibrate(name, evidence):
    """The remedy; layers that do not move have to be let."""
    layer = evidence.layers[name]
    if name not in evidence.fixed:
        return RECALIBRATE
    # Else they are frozen by `trainable`, which `unfreeze` does not take back.
    freeze = "" if isinstance(layer, Frozen) else "keras_bn.surgery.freeze(model); "
    return f"{freeze}keras_bn.surgery.unfreeze(model); {RECALIBRATE}"


def _warms(name, evidence):
    record, layers = evidence.record, evidence.normalizations
    by_beginning = name in shifts.lags(record, layers) and shifts.warms(record, name)  # Not where single channels are off.
    return by_beginning or (evidence.steps is not None and layers[name].left > MUCH)


def _first(names, evidence):
    """The one with none of the others in front of it."""
    names = list(names)
    return next((name for name in names if not any(other in names for other in shifts.up_to(name, evidence.normalizations)[:-1])), names[0])


def _off_by(name, evidence):
    """For `Finding.measured`: both statistics with their standard errors, and the larger of what they are off by."""
    record, layers = evidence.record, evidence.normalizations
    by_channel = evidence.by_channel[name]
    sizes = [size for quantity in ("lag", "mean_lag") if math.isfinite(size := shifts.sizes(record, quantity).get(name, 0.0))]
    return {
        **({"channels_off_by": by_channel.lag} if by_channel.lag > 2 * max(sizes, default=0.0) else {}),
        _NAMES["lag"]: shifts.value(record, "lag", name),
        "standard_error": 2 * shifts.error(record, "lag", name, layers),
        _NAMES["mean_lag"]: shifts.value(record, "mean_lag", name),
        "standard_error_of_mean": shifts.error(record, "mean_lag", name, layers),
        "shift": max([by_channel.lag, *sizes]),
    }
