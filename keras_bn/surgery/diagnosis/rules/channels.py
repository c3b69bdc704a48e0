"""Channels that carry nothing."""

import keras
import numpy as np

from keras_bn.measures.conclusions import words
from keras_bn.measures.conclusions.conclusion import ROUNDING
from keras_bn.measures.conclusions.shifts import LEFT
from keras_bn.surgery.diagnosis.evidence import Evidence
from keras_bn.surgery.diagnosis.finding import Finding, expression


def variance_below_epsilon(evidence: Evidence) -> Finding | None:
    """Where the variance of a channel's inputs in training is smaller than epsilon: less than half of what divides is the variance."""
    shares = {name: share for name in evidence.shifts if (share := float(np.mean(_is_below_epsilon(name, evidence))))}
    if not shares:
        return None
    worst = max(shares, key=shares.get)
    layer, shift = evidence.layers[worst], evidence.shifts[worst]
    below = _is_below_epsilon(worst, evidence)
    varying = shift.training_variance[below & (shift.training_variance > (ROUNDING * shift.training_mean) ** 2)]
    measured = {
        "share": shares[worst],
        "constant": float(np.mean(below)) - len(varying) / len(below),
        "epsilon": layer.epsilon,
        "smallest": float(shift.training_variance.min()),
        **evidence.several(shares),
    }
    path = expression(evidence.model, layer)
    if varying.size:
        why = "Epsilon makes most of what these channels are divided by, so that less than half of the variance that gamma asks for is left of them."
        remedy = f"{path}.epsilon = {varying.min() / 100:.1g}"
    else:
        why = "These channels are constant, so that beta is all that leaves: their inputs say nothing, or the activation in front is dead for them."
        remedy = f"constant = np.flatnonzero(np.asarray({path}.moving_variance) < {layer.epsilon})"
    return Finding(layer.name, "variance_below_epsilon", measured, why, remedy)


def gamma_near_zero(evidence: Evidence) -> Finding | None:
    """Where |gamma| of a channel is less than LEFT of the root mean square of its layer's, or than rounding: it carries 1 / 10,000 of the variance, or less."""
    shares = {name: share for name, layer in evidence.layers.items() if (share := float(np.mean(_has_small_gamma(layer))))}
    if not shares:
        return None
    worst = max(shares, key=shares.get)
    return Finding(
        evidence.layers[worst].name,
        "gamma_near_zero",
        {"share": shares[worst], **evidence.several(shares)},
        "What these channels carry is multiplied by almost 0: they return beta, and hardly any gradient passes. Weight decay does that, or a start at 0.",
        "optimizer = keras.optimizers.AdamW(1e-3); optimizer.exclude_from_weight_decay(var_names=['gamma', 'beta'])",
    )


def dead(evidence: Evidence) -> Finding | None:
    """Where a ReLU right behind is 0 for a channel on all data, in training mode, so that moving statistics are not why, nor epsilon or gamma."""
    carrying = {name: ~(_is_below_epsilon(name, evidence) | _has_small_gamma(evidence.layers[name])) for name in evidence.active}
    shares = {name: float(np.mean(~active & carrying[name])) for name, active in evidence.active.items() if np.any(~active & carrying[name])}
    if not shares:
        return None
    worst, examples = max(shares, key=shares.get), int(np.sum(evidence.sizes))
    measured = {"share": shares[worst], "examples": examples, **evidence.several(shares)}
    return Finding(evidence.layers[worst].name, "dead_channels", measured, words.dead(examples), "layer = keras.layers.LeakyReLU()")


def _is_below_epsilon(name, evidence):
    """(C,)"""
    return evidence.shifts[name].training_variance < evidence.layers[name].epsilon


def _has_small_gamma(layer):
    """(C,), or one False where there is no gamma."""
    if not layer.scale:
        return np.False_
    gamma = np.abs(keras.ops.convert_to_numpy(layer.gamma).astype("float64"))
    return gamma < max(LEFT * np.sqrt(np.mean(gamma**2)), ROUNDING)
