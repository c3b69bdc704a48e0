"""What `internal_covariate_shift` says of a training."""

from collections.abc import Sequence

from keras_bn.measures.conclusions.conclusion import ROUNDING, Conclusion, by_layer, largest, named, not_finite, not_learned, since, unknown_whether_learned

_FIRST = "01_"  # What the first layer's name begins with: nothing is before it, and its shift is 0.


def conclusion(records: Sequence[dict], learning_rate: float | None) -> Conclusion:
    """Of one training. What is below ROUNDING is no number; the natural measure of a shift is the gradient itself, a relative shift of 1.

    Args:
        records: one at least, as of `InternalCovariateShift.history`.
        learning_rate: the constant one that the model's optimizer has now; None where there is none.
    """
    last = records[-1]
    for other in (
        not_finite(
            "InternalCovariateShift",
            last,
            ["internal_covariate_shift/l2", "internal_covariate_shift/relative"],
            last.get("internal_covariate_shift/loss"),
        ),
        not_learned("InternalCovariateShift", records, "internal_covariate_shift/loss"),
    ):
        if other is not None:
            return other
    marked = "".join(
        f" {words}: {named(layers)}."
        for words, layers in (("Shifts below rounding, where cosines of 1 say nothing", unshifted(last)), ("Weights that hardly move", _unmoved(last)))
        if layers
    )
    shifts = _shifts(last)
    if not shifts:
        return Conclusion(
            f"InternalCovariateShift, step {last['step']}: no layer's gradient changes by more than rounding.",
            f"Nothing is before the first layer, and what else is measured is not reached by updates.{marked}",
            "If `layers` leaves some out, measure all; else nothing that trains is in front of another layer, the learning rate is about 0 by now, or the net "
            "does not learn.",
        )
    layer = largest(shifts)
    size, cosine = shifts[layer], last.get(f"internal_covariate_shift/cosine/{layer}")
    begin = since(records, lambda record: largest(_shifts(record)) == layer)
    direction = "" if cosine is None else f", cosine {cosine:.3g}"
    finding = f"InternalCovariateShift, step {last['step']}: {layer} shifts most, and has since step {begin}: by {size:.3g} of its gradient{direction}."
    unknown = unknown_whether_learned(records, "internal_covariate_shift/loss")
    if size < 1:
        return Conclusion(
            finding,
            f"The update of the layers before it changes its gradient by less than the gradient itself: nothing is amiss.{unknown}{marked}",
            "There is nothing to do; compare nets at the same learning rate only, since shifts grow with it.",
        )
    lower = "" if learning_rate is None else f": model.optimizer.learning_rate = {learning_rate / 10:.2g}"
    return Conclusion(
        finding,
        f"The update of the layers before it changes its gradient by more than the gradient itself: its own step answers a net that is gone.{marked}",
        f"Lower the learning rate by several times, and measure again, as shifts of this size fall little at first{lower}.",
    )


def unshifted(record: dict) -> list[str]:
    """The layers of a record whose gradients change by less than float32 tells, and that are not the first."""
    relative = by_layer(record, "internal_covariate_shift/relative")
    return [layer for layer, size in relative.items() if size < ROUNDING and not layer.startswith(_FIRST)]


def _unmoved(record):
    return [layer for layer, size in by_layer(record, "internal_covariate_shift/update_size").items() if size < ROUNDING]


def _shifts(record):
    return {layer: size for layer, size in by_layer(record, "internal_covariate_shift/relative").items() if size >= ROUNDING}
