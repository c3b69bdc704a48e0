"""What the loss says of the same data in training mode and in inference mode."""

from keras_bn.measures.conclusions import shifts
from keras_bn.measures.conclusions.conclusion import CERTAIN
from keras_bn.surgery.diagnosis.evaluations import difference
from keras_bn.surgery.diagnosis.evidence import INFERENCE, RECALIBRATED, TRAINING, Evidence
from keras_bn.surgery.diagnosis.finding import Finding

RECALIBRATE = "keras_bn.surgery.recalibrate(model, data)"


def inference_is_worse(evidence: Evidence) -> Finding | None:
    """Where the loss in inference mode is larger by more than CERTAIN standard errors of the difference, and than the standard error of the loss itself.

    Its own finding only where no layer's statistics are found to be off by themselves: little in each may add up.
    """
    found = evidence.evaluations
    if not found:
        return None
    worse = difference(found[INFERENCE], found[TRAINING])
    if worse.value <= max(CERTAIN * worse.error, found[INFERENCE].error):
        return None
    measured = {"worse_by": worse.value, "standard_error": worse.error, **of_losses(evidence)}
    helps = RECALIBRATED in found and measured["given_back"] > 0.5
    sizes = shifts.lags(evidence.record, evidence.normalizations, shifts.certain)
    layer = next((evidence.layers[name].name for name in evidence.layers if name in sizes), evidence.model.name)
    if helps:
        why = "What the moving statistics are off by, little as it is in each layer, adds up to this."
        return Finding(layer, "inference_worse", measured, why, RECALIBRATE)
    why = "Statistics are not why, or not these alone: the model computes something else in training, or has learned to rely on the other examples of a batch."
    return Finding(evidence.model.name, "inference_worse", measured, why, "keras_bn.surgery.convert(model, renorm=True)")


def of_losses(evidence: Evidence) -> dict[str, float]:
    """The losses of each mode for `Finding.measured`, and which share of what inference is worse by recalibration gives back; nothing without losses."""
    found = evidence.evaluations
    if not found:
        return {}
    measured = {f"loss_in_{mode.replace(' ', '_')}" if mode != RECALIBRATED else "loss_recalibrated": each.loss for mode, each in found.items()}
    if RECALIBRATED in found:
        worse, given_back = difference(found[INFERENCE], found[TRAINING]), difference(found[INFERENCE], found[RECALIBRATED])
        if worse.value > CERTAIN * worse.error:
            measured["given_back"] = given_back.value / worse.value
    return measured


def costs(evidence: Evidence) -> bool | None:
    """Whether recalibration lowers the loss in inference by more than CERTAIN standard errors; None where that is unknown."""
    if RECALIBRATED not in evidence.evaluations:
        return None
    gained = difference(evidence.evaluations[INFERENCE], evidence.evaluations[RECALIBRATED])
    return gained.value > CERTAIN * gained.error
