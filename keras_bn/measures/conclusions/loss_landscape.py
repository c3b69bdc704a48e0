"""What `loss_landscape` says of a training."""

import math
from collections.abc import Sequence

from keras_bn.measures.conclusions.conclusion import ROUNDING, Conclusion, not_learned, several, unknown_whether_learned

NEAR = 0.9  # Of the limit that step sizes set to a smoothness.


def conclusion(records: Sequence[dict], learning_rate: float | None, reach: float = 1.0) -> Conclusion:
    """Of one training. A step is too long whose end has a larger loss than its beginning, by more than rounding.

    Args:
        records: one at least, as of `LossLandscape.history`.
        learning_rate: of plain SGD, which steps along the gradient, where the step sizes are multiples of it; else None.
        reach: how many times as far as its learning rate says the optimizer goes along a gradient that stays the same: 1 / (1 - momentum).
    """
    last = records[-1]
    loss, lowest, highest, smoothness, change, norm = (
        _value(last, name) for name in ("loss", "loss_min", "loss_max", "effective_smoothness", "gradient_change_max", "gradient_norm")
    )
    head = f"LossLandscape, step {last['step']}: "
    if not all(map(math.isfinite, (loss, lowest, highest, smoothness, change, norm))) or smoothness <= 0 or norm <= 0:
        return Conclusion(
            f"{head}the loss is {loss:.4g}, and along the gradient {lowest:.4g} to {highest:.4g}, with an effective smoothness of {smoothness:.3g}.",
            "That says nothing of the landscape: a step size is 0, the gradient is 0, or the training diverges.",
            "If the loss itself is not finite, look at the data, np.isfinite(x).all(), and then lower the learning rate; else give step sizes that are not 0, "
            "such as LossLandscape(step_sizes=[0.01, 0.1]).",
        )
    stuck = not_learned("LossLandscape", records, "loss_landscape/loss")
    if stuck is not None:
        return stuck
    along = f"{head}from a loss of {loss:.4g} the steps along the gradient lead to {lowest:.4g} to {highest:.4g}; effective smoothness {smoothness:.3g}"
    turn = f"the gradient changes by {change / norm:.2g} of its own size at most on the way"
    rising = sum(map(_rises, records))
    if 2 * rising >= len(records) or _rises(last):
        is_limit = smoothness > NEAR * _value(last, "grid_limit")  # Where the gradient is about gone behind the step, whatever the curvature.
        longest = 0.1 * (learning_rate or 0.0) if is_limit else 1 / smoothness
        code = "" if learning_rate is None or learning_rate <= longest else f": model.optimizer.learning_rate = {longest:.2g}"
        return Conclusion(
            f"{along}; some steps raise the loss, at {rising} of {several(len(records), 'measured step')}.",
            f"As long as that, steps go too far: {turn}.",
            f"These steps are too long to tell the smoothness: take a tenth, and measure again{code}."
            if is_limit
            else f"Take steps of 1 / smoothness at most, as far as these step sizes tell{code}.",
        )
    unknown = unknown_whether_learned(records, "loss_landscape/loss")
    remedy = "There is nothing to do: the longest of these steps is not too long."
    if reach > 1:
        remedy = f"By momentum steps add up to {reach:.3g} times the learning rate, longer than these: measure them, too, by LossLandscape(step_sizes=[...])."
    return Conclusion(f"{along}.", f"No step size raises the loss: nothing is amiss; {turn}.{unknown}", remedy)


def _value(record, name):
    value = record.get(f"loss_landscape/{name}")
    return math.nan if value is None else value


def _rises(record):
    loss, highest = _value(record, "loss"), _value(record, "loss_max")
    return math.isnan(highest) or highest - loss > ROUNDING * abs(loss)
