"""`first_not_finite`: where numbers that are not finite come from."""

from typing import NamedTuple

import keras
import tensorflow as tf

from keras_bn import keras_internals
from keras_bn.inspection import evaluation
from keras_bn.inspection.evaluation import Batch, Snapshot
from keras_bn.inspection.intercepted_calls import intercepted

DATA, TARGETS, SAMPLE_WEIGHTS, WEIGHTS, OUTPUTS, LOSS = "data", "targets", "sample weights", "weights", "outputs", "loss"


class NonFinite(NamedTuple):
    """layer: the first whose weights or outputs are not finite; of data or the loss the model.

    what: "data", "targets", "sample weights", "weights", "outputs" (of finite inputs and weights), or "loss" (of finite outputs).
    weight: its name, where it is one.
    dtype: in which the layer computes.
    training: whether it is so in training mode only.
    """

    layer: keras.Layer
    what: str
    weight: str | None = None
    dtype: str | None = None
    training: bool = False


def first_not_finite(model: keras.Model, snapshot: Snapshot, batch: Batch, is_judged: bool) -> NonFinite:
    """Of a batch on which something is not finite. is_judged: whether a loss is computed."""
    for what, values in zip((DATA, TARGETS, SAMPLE_WEIGHTS), batch):
        if values is not None and not _are_finite(values):
            return NonFinite(model, what)
    layers = keras_internals.layers_within(model)
    for layer in layers:
        for variable in layer.variables:
            if not _are_finite(tf.convert_to_tensor(variable)) and not any(
                variable is each for one in keras_internals.layers_within(layer) for each in one.variables
            ):
                return NonFinite(layer, WEIGHTS, weight=variable.name)
    innermost = [layer for layer in layers if not keras_internals.layers_within(layer)]
    holders = [layer for layer in layers if keras_internals.layers_within(layer) and not isinstance(layer, keras.Model)]
    for training in (False, True):
        for watched in (innermost, holders):
            layer = _first_whose_outputs_are_not(model, snapshot, batch, training, watched)
            if layer is not None:
                return NonFinite(layer, OUTPUTS, dtype=layer.compute_dtype, training=training)
    return NonFinite(model, LOSS if is_judged else OUTPUTS, dtype=model.compute_dtype)


def _first_whose_outputs_are_not(model, snapshot, batch, training, layers):
    found = []

    def handle(layer, call, _):
        outputs = call()
        if not found and not _are_finite(outputs):
            found.append(layer)
        return outputs

    # Eagerly, so that what layers within loops compute is seen, too.
    with intercepted(layers, handle):
        evaluation.outputs(model, snapshot, batch.x, training)
    return found[0] if found else None


def _are_finite(values):
    return all(bool(tf.reduce_all(tf.math.is_finite(value))) for value in tf.nest.flatten(values, expand_composites=True) if value.dtype.is_floating)
