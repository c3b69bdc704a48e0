"""`first_not_finite`: where numbers that are not finite come from."""

from typing import NamedTuple

import keras
import tensorflow as tf

from keras_bn import keras_internals
from keras_bn.inspection import evaluation
from keras_bn.inspection.evaluation import Batch, Snapshot
from keras_bn.inspection.intercepted_calls import intercepted

DATA, TARGETS, SAMPLE_WEIGHTS, WEIGHTS, INPUTS, OUTPUTS, LOSS = "data", "targets", "sample weights", "weights", "inputs", "outputs", "loss"


class NonFinite(NamedTuple):
    """layer: the first whose weights or outputs are not finite; of data or the loss the model.

    what: "data", "targets", "sample weights", "weights", "inputs" (an operation that is no layer makes them so), "outputs" (of finite inputs and
        weights), or "loss" (of finite outputs).
    weight: its name, where it is one.
    dtype: in which the layer computes.
    training: whether it is so in training mode only.
    """

    layer: keras.Layer
    what: str
    weight: str | None = None
    dtype: str | None = None
    training: bool = False


def first_not_finite(model: keras.Model, snapshot: Snapshot, batch: Batch, index: int, is_judged: bool) -> NonFinite:
    """Of a batch on which something is not finite. index: its own; is_judged: whether a loss is computed."""
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
    advanced = evaluation.advanced(model, snapshot, tf.constant(index, tf.int64))
    for training in (False, True):
        for watched in (innermost, holders):
            found = _first_whose_outputs_are_not(model, advanced if training else snapshot, batch, training, watched)
            if found is not None:
                layer, takes_finite = found
                return NonFinite(layer, OUTPUTS if takes_finite else INPUTS, dtype=layer.compute_dtype, training=training)
    return NonFinite(model, LOSS if is_judged else OUTPUTS, dtype=model.compute_dtype)


def _first_whose_outputs_are_not(model, snapshot, batch, training, layers):
    """(layer, whether its inputs are finite), or None."""
    found = []

    def handle(layer, call, arguments):
        outputs = call()
        if not found and not _are_finite(outputs):
            found.append((layer, _are_finite(next(iter(arguments.values()), None))))
        return outputs

    # Eagerly, so that what layers within loops compute is seen, too.
    with intercepted(layers, handle):
        evaluation.outputs(model, snapshot, batch.x, training)
    return found[0] if found else None


def _are_finite(values):
    flat = [value for value in tf.nest.flatten(values, expand_composites=True) if tf.is_tensor(value)]
    return all(bool(tf.reduce_all(tf.math.is_finite(value))) for value in flat if value.dtype.is_floating)
