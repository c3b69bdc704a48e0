"""What `internal_covariate_shift` says of a training."""

from collections.abc import Sequence

import numpy as np

from keras_bn.measures.conclusions.conclusion import Conclusion, by_layer, largest, not_learned, since

# Below it a difference of two gradients, computed in float32 over many terms, may be rounding.
ROUNDING = 100 * float(np.finfo("float32").eps)


def conclusion(records: Sequence[dict], learning_rate: float | None) -> Conclusion:
    """Of one training. What is below ROUNDING is no number; the natural measure of a shift is the gradient itself, a relative shift of 1.

    Args:
        records: one at least, as of `InternalCovariateShift.history`.
        learning_rate: of the optimizer now; None where it has none.
    """
    stuck = not_learned("InternalCovariateShift", records, "internal_covariate_shift/loss")
    if stuck is not None:
        return stuck
    last = records[-1]
    still = unmoved(last)
    shifts = {layer: shift for layer, shift in by_layer(last, "internal_covariate_shift/relative").items() if layer not in still and shift > 0}
    marked = f" {len(still)} layers hardly move, {still[0]} among them: cosines of 1 there say nothing." if still else ""
    if not shifts:
        return Conclusion(
            f"InternalCovariateShift, step {last['step']}: no layer's gradient changes by what the layers before it do.",
            f"There is nothing before the first layer, and else nothing moved.{marked}",
            "Measure all layers of a net that learns: layers=None.",
        )
    layer = largest(shifts)
    size, cosine = shifts[layer], last.get(f"internal_covariate_shift/cosine/{layer}")
    begin = since(records, lambda record: largest(by_layer(record, "internal_covariate_shift/relative") or {None: 0}) == layer)
    direction = "" if cosine is None else f", cosine {cosine:.3g}"
    finding = f"InternalCovariateShift, step {last['step']}: {layer} shifts most, and has since step {begin}: by {size:.3g} of its gradient{direction}."
    if size < 1:
        return Conclusion(
            finding,
            f"The update of the layers before it changes its gradient by less than the gradient itself: nothing is amiss.{marked}",
            "There is nothing to do; compare nets at the same learning rate only, since shifts grow with it.",
        )
    lower = "" if learning_rate is None else f": model.optimizer.learning_rate = {learning_rate / size:.2g}"
    return Conclusion(
        finding,
        f"The update of the layers before it changes its gradient by more than the gradient itself: its own step answers a net that is gone.{marked}",
        f"Lower the learning rate, by which the shift falls about alike{lower}.",
    )


def unmoved(record: dict) -> list[str]:
    """The layers of a record whose weights, or whose gradients, hardly change: by less than float32 tells."""
    sizes, shifts = (by_layer(record, f"internal_covariate_shift/{quantity}") for quantity in ("update_size", "relative"))
    return [layer for layer, size in sizes.items() if size < ROUNDING or 0 < shifts.get(layer, 1.0) < ROUNDING]
