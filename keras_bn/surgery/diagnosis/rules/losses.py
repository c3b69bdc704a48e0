"""What the loss says of the same data in training mode, in inference mode, and with population statistics."""

from keras_bn.measures.conclusions import shifts
from keras_bn.measures.conclusions.conclusion import CERTAIN, LEAST_LOSSES
from keras_bn.surgery.diagnosis.evaluations import Difference, difference
from keras_bn.surgery.diagnosis.evidence import ALL_RECALIBRATED, INFERENCE, RECALIBRATED, TRAINING, Evidence
from keras_bn.surgery.diagnosis.finding import Finding

RECALIBRATE = "keras_bn.surgery.recalibrate(model, data)"


def inference_is_worse(evidence: Evidence) -> Finding | None:
    """Where the loss in inference mode is larger than in training mode, or than with population statistics, by more than CERTAIN standard errors of the
    difference, and than the standard error of the loss itself.

    A finding of its own only where no layer's statistics are found to be off by themselves: little in each may add up.
    """
    than_training, than_recalibrated = (_worse(evidence, mode) for mode in (TRAINING, RECALIBRATED))
    if than_training is None and than_recalibrated is None:
        return None
    worse = than_training or than_recalibrated
    measured = {"worse_by": worse.value, "standard_error": worse.error, **of_losses(evidence)}
    if than_recalibrated is not None and 2 * than_recalibrated.value >= worse.value:  # Statistics explain half of it at least.
        sizes = shifts.lags(evidence.record, evidence.normalizations, shifts.certain)
        layer = next((evidence.layers[name].name for name in evidence.layers if name in sizes), evidence.model.name)
        why = "What the moving statistics are off by, little as it is in each layer, adds up to this."
        return Finding(layer, "inference_worse", measured, why, RECALIBRATE)
    why = "Statistics are not why: the model computes something else in training, or has learned to rely on the other examples of a batch."
    return Finding(evidence.model.name, "inference_worse", measured, why, without_the_batch(evidence, list(evidence.layers)))


def _worse(evidence, mode):
    """By how much inference mode is worse than this one, if that counts; else None."""
    found = evidence.evaluations
    if mode not in found or len(evidence.sizes) < LEAST_LOSSES:
        return None
    worse = difference(found[INFERENCE], found[mode])
    return worse if worse.value > max(CERTAIN * worse.error, found[INFERENCE].error) else None


def without_the_batch(evidence: Evidence, names: list[str]) -> str:
    """The remedy where these layers normalise by too little: batch renormalisation, or where they do so already, no batch."""
    if all(getattr(evidence.layers[name], "renorm", False) for name in names):
        return "layer = keras.layers.LayerNormalization()"
    return "keras_bn.surgery.convert(model, renorm=True)"


def of_losses(evidence: Evidence) -> dict[str, float]:
    """The losses of each mode for `Finding.measured`, and which share of what inference is worse by recalibration gives back; nothing without losses."""
    found = evidence.evaluations
    names = {
        TRAINING: "loss_in_training_mode",
        INFERENCE: "loss_in_inference_mode",
        RECALIBRATED: "loss_recalibrated",
        ALL_RECALIBRATED: "loss_all_recalibrated",
    }
    measured = {names[mode]: each.loss for mode, each in found.items()}
    if RECALIBRATED in found:
        worse, given_back = difference(found[INFERENCE], found[TRAINING]), gained(evidence)
        if worse.value > CERTAIN * worse.error:
            measured["given_back"] = given_back.value / worse.value
    return measured


def gained(evidence: Evidence, mode: str = RECALIBRATED) -> Difference | None:
    """By how much population statistics lower the loss in inference; None where that is unknown."""
    if mode not in evidence.evaluations or len(evidence.sizes) < LEAST_LOSSES:
        return None
    return difference(evidence.evaluations[INFERENCE], evidence.evaluations[mode])


def costs(evidence: Evidence, mode: str = RECALIBRATED) -> bool | None:
    """Whether population statistics lower the loss in inference by more than CERTAIN standard errors; None where that is unknown."""
    difference = gained(evidence, mode)
    return None if difference is None else difference.value > CERTAIN * difference.error
