"""What `activation_statistics` says of a training."""

import math
from collections.abc import Sequence

import numpy as np

from keras_bn.measures.conclusions import words
from keras_bn.measures.conclusions.conclusion import CERTAIN, Conclusion, by_layer, largest, not_finite, several, since

UNTRAINABLE = 1.467**50  # Growth of the squared gradient norm, from the last to the first layer, above which none of the nets of Yang et al. 2019 trained.
NORMAL = 0.022  # Of standard normal inputs, such as batch normalisation gives before gamma and beta, so many saturate a tanh; of a sigmoid fewer.


def conclusion(records: Sequence[dict], examples: int) -> Conclusion:
    """Of one training. That a channel is 0 on n examples says, at 95 %, that it is active for fewer than 3 / n of all (the rule of three).

    Args:
        records: one at least, as of `ActivationStatistics.history`.
        examples: in the batch that is measured.
    """
    last = records[-1]
    broken = not_finite("ActivationStatistics", last, ["activation_statistics/input_mean", "activation_statistics/input_stddev"])
    if broken is not None:
        return broken
    head = f"ActivationStatistics, step {last['step']}: "
    ratios = by_layer(last, "activation_statistics/gradient_ratio")
    growth = float(np.exp(np.sum(np.log([ratio for ratio in ratios.values() if ratio > 0])))) if ratios else 1.0
    if growth > UNTRAINABLE:
        return Conclusion(
            f"{head}the squared gradient norm grows {growth:.2g} times from the last normalisation layer to the first, over {len(ratios) + 1} of them.",
            "As batch normalisation makes gradients grow in deep nets without ways around layers: above some 50 of them none trains (Yang et al. 2019).",
            "Add ways around blocks of layers: keras.layers.Add()([inputs, outputs]).",
        )
    dead, saturated = (by_layer(last, f"activation_statistics/{name}") for name in ("dead", "saturated"))
    if any(dead.values()):
        layer = largest(dead)
        begin = since(records, lambda record: bool(record.get(f"activation_statistics/dead/{layer}")))
        return Conclusion(
            f"{head}behind {layer} {100 * dead[layer]:.3g} % of the channels are dead, the most of all layers; some are since step {begin}.",
            words.dead(examples),
            "They were so at the first measurement: look at beta and, of a frozen layer, at its inputs; or use keras.layers.LeakyReLU()."
            if begin == records[0]["step"]
            else "If it stays so on a larger batch, lower the learning rate, or use keras.layers.LeakyReLU().",
        )
    if max(saturated.values(), default=0.0) > NORMAL + CERTAIN * math.sqrt(NORMAL * (1 - NORMAL) / examples):
        layer = largest(saturated)
        return Conclusion(
            f"{head}behind {layer} {100 * saturated[layer]:.3g} % of the activations are saturated, the most of all layers.",
            f"They are within 1 % of an end of their range, where hardly any gradient passes; of standard normal inputs {100 * NORMAL:g} % are in a tanh.",
            "Lower gamma: keras_bn.BatchNormalization(gamma_regularizer='l2'); or use keras.layers.ReLU().",
        )
    seen = len(dead.keys() | saturated.keys())
    state = f"no channel is dead, and no more values are saturated than usual, behind {several(seen, 'layer')}"
    deviations = by_layer(last, "activation_statistics/input_stddev")
    spread = f"The standard deviations of the inputs lie between {min(deviations.values()):.3g} and {max(deviations.values()):.3g}" if deviations else ""
    if len(deviations) == 1:
        spread = f"The standard deviation of the inputs is {deviations.popitem()[1]:.3g}"
    growing = f"the squared gradient norm grows {growth:.3g} times from the last layer to the first" if ratios else ""
    return Conclusion(
        f"{head}nothing is amiss: {state}."
        if seen
        else f"{head}no ReLU, sigmoid or tanh was found right behind a layer, so that none can be dead or saturated.",
        ("; ".join(part for part in (spread, growing) if part) or "No distribution was measured") + ".",
        "There is nothing to do; a larger batch would show rarer faults.",
    )
