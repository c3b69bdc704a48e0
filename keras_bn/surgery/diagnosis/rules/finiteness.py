"""Numbers that are not finite."""

from keras_bn.surgery.diagnosis.evidence import Evidence
from keras_bn.surgery.diagnosis.finding import Finding
from keras_bn.surgery.diagnosis.non_finite import DATA, INPUTS, LOSS, SAMPLE_WEIGHTS, TARGETS, WEIGHTS


def not_finite(evidence: Evidence) -> Finding:
    """The first layer that has NaN or infinity; nothing else can be said then."""
    layer, what, weight, dtype, training = evidence.not_finite
    mode = " in training mode" if training else ""
    if what in (DATA, TARGETS, SAMPLE_WEIGHTS):
        why = f"The {what} hold NaN or infinity" + (", which batch normalisation spreads over the whole batch." if what == DATA else ", and so does the loss.")
        replaced = "data.map(lambda *batch: keras.tree.map_structure(lambda values: keras.ops.nan_to_num(values, posinf=0.0, neginf=0.0), batch))"
        remedy = f"data = {replaced if evidence.is_dataset else 'keras.tree.map_structure(lambda values: np.nan_to_num(values, posinf=0.0, neginf=0.0), data)'}"
    elif what == WEIGHTS:
        why = f"Its {weight} is not finite, so that nothing behind it is: the training diverged, or ran over data that were not."
        remedy = "callback = keras.callbacks.TerminateOnNaN()"
    elif what == LOSS:
        why = "All outputs are finite, and the loss is not: it divides by 0, or takes the logarithm of it."
        remedy = "loss = keras.losses.CategoricalCrossentropy(from_logits=True)"
    elif what == INPUTS:
        why = f"What it receives{mode} is not finite, though what all layers in front return is: an operation between them, such as a division, makes it so."
        remedy = "callback = keras.callbacks.TerminateOnNaN()"
    else:
        half = " It computes in float16, which ends at 65,504." if dtype == "float16" else ""
        why = f"Its inputs and weights are finite, and its outputs{mode} are not, nor is what is computed of them.{half}"
        remedy = "policy = keras.dtype_policies.DTypePolicy('mixed_bfloat16')" if half else "optimizer = keras.optimizers.SGD(1e-3, clipnorm=1.0)"
    return Finding(layer.name, "not_finite", {"what": weight or what, "batch": len(evidence.sizes)}, why, remedy)
