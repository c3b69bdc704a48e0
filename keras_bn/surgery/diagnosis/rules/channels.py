"""Channels that carry nothing."""

import keras
import numpy as np

from keras_bn.measures.conclusions import words
from keras_bn.measures.conclusions.conclusion import ROUNDING
from keras_bn.surgery.diagnosis.evidence import Evidence
from keras_bn.surgery.diagnosis.finding import Finding, expression

NEAR_ZERO = 0.01  # Of the root mean square of gamma: a channel carries 1 / 10,000 of the variance of an average one.


def variance_below_epsilon(evidence: Evidence) -> Finding | None:
    """Where the variance of a channel's inputs in training is smaller than epsilon: less than half of what divides is the variance."""
    below = {name: _is_below_epsilon(name, evidence) for name in evidence.shifts}
    worst, share = _worst(below, evidence)
    if worst is None:
        return None
    layer, shift = evidence.layers[worst], evidence.shifts[worst]
    varying = shift.training_variance[below[worst] & (shift.training_variance > (ROUNDING * shift.training_mean) ** 2)]
    measured = {
        **share,
        "constant": share["share"] - len(varying) / len(below[worst]),
        "epsilon": layer.epsilon,
        "smallest": float(shift.training_variance.min()),
    }
    path = expression(evidence.model, layer)
    if varying.size:
        why = (
            "Epsilon makes most of what these channels are divided by, so that less than half of the variance that gamma asks for is left of them. "
            "Scale the inputs, or train with a smaller epsilon from the start: the weights of this net have learned with this one."
        )
        remedy = f"layer = keras_bn.BatchNormalization(epsilon={np.median(varying) / 100:.1g})"
    else:
        why = "These channels are constant, so that beta is all that leaves: their inputs say nothing, or the activation in front is dead for them."
        remedy = f"constant = np.flatnonzero(np.asarray({path}.moving_variance) < {layer.epsilon})"
    return Finding(layer.name, "variance_below_epsilon", measured, why, remedy)


def gamma_near_zero(evidence: Evidence) -> Finding | None:
    """Where |gamma| of a channel is less than NEAR_ZERO of the root mean square of its layer's, or than rounding."""
    worst, share = _worst({name: _has_small_gamma(layer) for name, layer in evidence.layers.items() if layer.scale}, evidence)
    if worst is None:
        return None
    return Finding(
        evidence.layers[worst].name,
        "gamma_near_zero",
        share,
        "What these channels carry is multiplied by almost 0: they return beta, and hardly any gradient passes. Weight decay does that, or a start at 0.",
        "optimizer = keras.optimizers.AdamW(1e-3); optimizer.exclude_from_weight_decay(var_names=['gamma', 'beta'])",
    )


def dead(evidence: Evidence) -> Finding | None:
    """Where a ReLU right behind is 0 for a channel on all data, in training mode, so that moving statistics are not why, nor epsilon or gamma."""
    others = {name: _is_below_epsilon(name, evidence) | _has_small_gamma(evidence.layers[name]) for name in evidence.active}
    worst, share = _worst({name: ~active & ~others[name] for name, active in evidence.active.items()}, evidence)
    if worst is None:
        return None
    examples = int(np.sum(evidence.sizes))
    measured = {**share, "examples": examples}
    return Finding(evidence.layers[worst].name, "dead_channels", measured, words.dead(examples), "layer = keras.layers.LeakyReLU()")


def _worst(channels, evidence):
    """channels: dict, name to which channels have the fault, (C,). Returns the name of the layer with the largest share of them, and what is measured of it; or
    (None, {}) where there is none."""
    shares = {name: share for name, each in channels.items() if (share := float(np.mean(each)))}
    if not shares:
        return None, {}
    worst = max(shares, key=shares.get)
    return worst, {"share": shares[worst], "channels": np.flatnonzero(channels[worst]).tolist(), **evidence.several(shares)}


def _is_below_epsilon(name, evidence):
    """(C,)"""
    return evidence.shifts[name].training_variance < evidence.layers[name].epsilon


def _has_small_gamma(layer):
    """(C,), or one False where there is no gamma."""
    if not layer.scale:
        return np.False_
    gamma = np.abs(keras.ops.convert_to_numpy(layer.gamma).astype("float64"))
    return gamma < max(NEAR_ZERO * np.sqrt(np.mean(gamma**2)), ROUNDING)
