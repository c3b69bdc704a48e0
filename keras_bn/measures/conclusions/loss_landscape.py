"""What `loss_landscape` says of a training."""

from collections.abc import Sequence

import numpy as np

from keras_bn.measures.conclusions.conclusion import Conclusion, not_learned, since


def conclusion(records: Sequence[dict]) -> Conclusion:
    """Of one training. A step is too long whose end has a larger loss than its beginning.

    Args:
        records: one at least, as of `LossLandscape.history`.
    """
    stuck = not_learned("LossLandscape", records, "loss_landscape/loss")
    if stuck is not None:
        return stuck
    last = records[-1]
    loss, lowest, highest, smoothness, limit = (
        np.nan if last.get(f"loss_landscape/{name}") is None else last[f"loss_landscape/{name}"]
        for name in ("loss", "loss_min", "loss_max", "effective_smoothness", "grid_limit")
    )
    head = f"LossLandscape, step {last['step']}: "
    if not np.isfinite([loss, lowest, highest, smoothness]).all():
        return Conclusion(
            f"{head}the loss is {loss:.4g}, and along the gradient {lowest:.4g} to {highest:.4g}, with an effective smoothness of {smoothness:.3g}.",
            "Some of these are no numbers: a step size is 0, the gradient is 0, or the training diverges.",
            "Give step sizes that are not 0, such as LossLandscape(step_sizes=[0.01, 0.1]); if the loss itself is none, lower the learning rate.",
        )
    along = f"{head}from a loss of {loss:.4g} the steps along the gradient lead to {lowest:.4g} to {highest:.4g}; effective smoothness {smoothness:.3g}"
    if highest > loss:
        begin = since(records, lambda record: (record.get("loss_landscape/loss_max") or np.inf) > (record.get("loss_landscape/loss") or 0))
        return Conclusion(
            f"{along}; the longest are too long, since step {begin}.",
            f"The gradient turns by {smoothness / limit:.2g} of its own size on the way: it does not say where the loss goes as far away as that.",
            f"Keep steps below 2 / smoothness: model.optimizer.learning_rate = {1 / smoothness:.2g} is safe along this gradient.",
        )
    return Conclusion(
        f"{along}.",
        f"All step sizes lower the loss, the gradient turning by {smoothness / limit:.2g} of its own size at most on the way: nothing is amiss.",
        "There is nothing to do: the longest of these steps still lowers the loss.",
    )
