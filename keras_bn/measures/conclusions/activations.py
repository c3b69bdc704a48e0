"""What `activation_statistics` says of a training."""

from collections.abc import Sequence

import numpy as np

from keras_bn.measures.conclusions.conclusion import Conclusion, by_layer, largest, since

UNTRAINABLE = 1.467**50  # Growth of the squared gradient norm, from the last to the first layer, above which none of the nets of Yang et al. 2019 trained.


def conclusion(records: Sequence[dict], examples: int) -> Conclusion:
    """Of one training. That a channel is 0 on n examples says, at 95 %, that it is active for fewer than 3 / n of all (the rule of three).

    Args:
        records: one at least, as of `ActivationStatistics.history`.
        examples: in the batch that is measured.
    """
    last = records[-1]
    head = f"ActivationStatistics, step {last['step']}: "
    ratios = by_layer(last, "activation_statistics/gradient_ratio")
    growth = float(np.exp(np.sum(np.log([ratio for ratio in ratios.values() if ratio > 0])))) if ratios else 1.0
    if growth > UNTRAINABLE:
        return Conclusion(
            f"{head}the squared gradient norm grows {growth:.2g} times from the last normalisation layer to the first, over {len(ratios) + 1} of them.",
            "As batch normalisation makes gradients grow in deep nets without ways around layers: above some 50 of them none trains (Yang et al. 2019).",
            "Add ways around blocks of layers: keras.layers.Add()([inputs, outputs]).",
        )
    dead, saturated = (
        {layer: value for layer, value in by_layer(last, f"activation_statistics/{name}").items() if value > 0} for name in ("dead", "saturated")
    )
    if dead:
        layer = largest(dead)
        begin = since(records, lambda record: bool(record.get(f"activation_statistics/dead/{layer}")))
        return Conclusion(
            f"{head}behind {layer} {100 * dead[layer]:.3g} % of the channels are dead, the most of all layers; some are since step {begin}.",
            f"They are 0 on all {examples} examples, so each is active for fewer than {100 * min(1, 3 / examples):.2g} % of the data (at 95 %); what is never "
            "active learns nothing.",
            "If it stays so on a larger batch, lower the learning rate, or use keras.layers.LeakyReLU().",
        )
    if saturated:
        layer = largest(saturated)
        return Conclusion(
            f"{head}behind {layer} {100 * saturated[layer]:.3g} % of the activations are saturated, the most of all layers.",
            "They are within 1 % of an end of their range, where hardly any gradient passes.",
            "Where it is much, lower gamma: keras_bn.BatchNormalization(gamma_regularizer='l2'); or use keras.layers.ReLU().",
        )
    deviations = by_layer(last, "activation_statistics/input_stddev")
    return Conclusion(
        f"{head}nothing is amiss: no channel is dead, no value saturated, in any of {len(deviations)} layers.",
        f"The standard deviations of their inputs lie between {min(deviations.values(), default=np.nan):.3g} and {max(deviations.values(), default=np.nan):.3g}"
        + (f"; the squared gradient norm grows {growth:.3g} times from the last to the first." if ratios else "."),
        "There is nothing to do; a larger batch would show rarer faults.",
    )
