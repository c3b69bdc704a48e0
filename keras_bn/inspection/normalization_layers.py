"""The batch normalisation layers of a model, what one evaluation hands to them, and which dropout and activation stand next to them."""

import contextlib
import numbers
from collections.abc import Callable
from typing import NamedTuple

import keras
import tensorflow as tf

from keras_bn import keras_internals
from keras_bn.inspection import evaluation, layer_order
from keras_bn.inspection.intercepted_calls import intercepted

# By identity, not by name: anyone may call a function "tanh".
_ACTIVATIONS = {
    "relu": (keras.activations.relu, keras.ops.relu, tf.nn.relu),
    "sigmoid": (keras.activations.sigmoid, keras.ops.sigmoid, tf.nn.sigmoid),
    "tanh": (keras.activations.tanh, keras.ops.tanh, tf.nn.tanh),
}


def names(model: keras.Model) -> dict[keras.Layer, str]:
    """Each layer with its name, in the order in which the model holds them: its position among its like from 1, and its kind.

    Layers that divide by something else than a standard deviation (`LpBatchNormalization` with p other than 2) do not count.

    Raises:
        ValueError: there is none.
    """
    layers = [layer for layer in keras_internals.layers_within(model) if isinstance(layer, keras.layers.BatchNormalization)]
    layers = [layer for layer in layers if getattr(layer, "normalises_by_variance", True)]  # Keras's layer does.
    if not layers:
        raise ValueError(f"{model.name} has no batch normalisation layer; expected one at least: this measure is about them, leave it out for other models.")
    return {layer: f"{number:02d}_{layer_order.kind(layer)}" for number, layer in enumerate(layers, 1)}


class Call(NamedTuple):
    """One call of a batch normalisation layer.

    axis: the channel axis of inputs and outputs.
    inputs, outputs: tensors; of ragged ones the values that are there.
    mask: bool, or None.
    noise: the Dropout in front of it, right there or behind one linear layer; else None.
    spread: where there is one, what its noise of variance s adds to the variance of the inputs is s times the mean of this tensor, of their shape: their
        squares, or behind a linear layer the sum of squared weights times squared inputs of that.
    activation: of an activation layer right behind, its name and its outputs; else None.
    """

    layer: keras.Layer
    axis: int
    inputs: tf.Tensor
    mask: tf.Tensor | None
    outputs: tf.Tensor
    noise: keras.Layer | None
    spread: tf.Tensor | None
    activation: tuple[str, tf.Tensor] | None


class Calls(list):
    """`Call`s.

    Attributes:
        acting: (layer, its outputs) for each call of a layer that acts in training only.
    """

    def __init__(self):
        super().__init__()
        self.acting = []


@contextlib.contextmanager
def watched(model: keras.Model, watch: Callable = lambda inputs: None, training: bool | None = None):
    """Yields `Calls`, to which evaluations of the model inside it add a `Call` for every call of one of its batch normalisation layers.

    Args:
        watch: receives the inputs of each call before they are used.
        training: whether these layers, and no others, compute as in training; None: as they are called.

    Raises:
        ValueError: a layer is called within a function or a loop, which does not let its inputs out.
    """
    normalization_layers, calls, made_by = names(model), Calls(), {}
    graph = tf.compat.v1.get_default_graph() if not tf.executing_eagerly() else None

    def source(tensor):
        """What made a tensor: a layer, a `_Spread`, the index in `calls` of a batch normalisation layer's, or None."""
        return made_by.get(id(tensor), (None, None))[1]

    def handle(layer, call, arguments):
        inputs = next(iter(arguments.values()))
        if _is_linear(layer):
            outputs, before = call(), source(inputs)
            if isinstance(before, keras.Layer) and _is_independent(before):
                made_by[id(outputs)] = outputs, _Spread(before, _squared(layer, inputs))
            return outputs
        if isinstance(layer, _RESHAPING):
            outputs, before = call(), source(inputs)
            if isinstance(before, keras.Layer):
                made_by[id(outputs)] = outputs, before
            return outputs
        if layer not in normalization_layers:
            # A copy: in inference a Dropout returns its inputs as they are, which are the outputs of another layer, too.
            outputs = tf.nest.map_structure(tf.identity, call())
            index = source(inputs)
            if isinstance(index, int) and (activation := _activation(layer)):
                calls[index] = calls[index]._replace(activation=(activation, _present(outputs)))
            made_by[id(outputs)] = outputs, layer
            if acts_in_training_only(layer):
                calls.acting.append((layer, outputs))
            return outputs
        if not tf.executing_eagerly() and tf.compat.v1.get_default_graph() is not graph:
            raise ValueError(
                f"{layer.name} is called within a loop or a function of its own; expected a call that its model makes itself: "
                "leave out TimeDistributed and its like."
            )
        watch(_present(inputs))
        outputs = call() if training is None else call(training=training)
        before, mask = source(inputs), arguments.get("mask")
        if isinstance(before, keras.Layer) and noise_variance(before) is not None:
            before = _Spread(before, tf.square(tf.cast(_present(inputs), tf.float64)))
        noise, spread = before if isinstance(before, _Spread) else (None, None)
        calls.append(
            Call(
                layer=layer,
                axis=range(inputs.shape.rank)[layer.axis] - (inputs.ragged_rank if isinstance(inputs, tf.RaggedTensor) else 0),
                inputs=_present(inputs),
                mask=None if mask is None else tf.cast(mask, tf.bool),
                outputs=_present(outputs),
                noise=noise,
                spread=spread,
                activation=None,
            )
        )
        made_by[id(outputs)] = outputs, len(calls) - 1
        return outputs

    def is_watched(layer):
        is_passed = acts_in_training_only(layer) or noise_variance(layer) is not None or isinstance(layer, _RESHAPING)
        return layer in normalization_layers or is_passed or _activation(layer) or _is_linear(layer)

    with intercepted([layer for layer in keras_internals.layers_within(model) if is_watched(layer)], handle):
        yield calls


def in_front(calls: Calls) -> dict[keras.Layer, set[keras.Layer]]:
    """For each batch normalisation layer of these calls the others, and those that act in training only, whose outputs its inputs depend on; of calls in a
    graph, within which it must be called."""
    layers = list(dict.fromkeys([*(call.layer for call in calls), *(layer for layer, _ in calls.acting)]))
    bits = {layer: 1 << index for index, layer in enumerate(layers)}
    made = {}  # Operation -> bit of the layer whose outputs it makes.
    for layer, outputs in (*((call.layer, call.outputs) for call in calls), *calls.acting):
        made |= {tensor.op.name: bits[layer] for tensor in tf.nest.flatten(outputs, expand_composites=True)}
    reaching = {}  # Operation -> bits of all layers that it depends on; operations stand behind those that they use.
    for operation in tf.compat.v1.get_default_graph().get_operations():
        reaching[operation.name] = made.get(operation.name, 0)
        for tensor in operation.inputs:
            reaching[operation.name] |= reaching[tensor.op.name]
    before = dict.fromkeys((call.layer for call in calls), 0)
    for call in calls:
        before[call.layer] |= reaching[call.inputs.op.name]
    return {layer: {other for other in layers if other is not layer and reached & bits[other]} for layer, reached in before.items()}


class _Spread(NamedTuple):
    """noise, spread: as of `Call`."""

    noise: keras.Layer
    spread: tf.Tensor


_RESHAPING = keras.layers.Flatten, keras.layers.Reshape
_ACTING_IN_TRAINING = tuple(
    kind
    for name, kind in vars(keras.layers).items()
    if name.startswith("Random") or name in ("GaussianNoise", "AlphaDropout", "AugMix", "CutMix", "MixUp", "RandAugment")
)
_LINEAR = keras.layers.Dense, keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D, keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D


def _is_linear(layer):
    # By its type itself: what a subclass makes of its inputs is unknown.
    return type(layer) in _LINEAR and layer.activation is keras.activations.linear and has_ordinary_kernel(layer)


def has_ordinary_kernel(layer: keras.Layer) -> bool:
    """Whether what multiplies the layer's inputs is its kernel alone: adapted and quantised ones are not."""
    return not getattr(layer, "lora_enabled", False) and getattr(layer, "quantization_mode", None) is None


def _is_independent(layer):
    """Whether the noise of a Dropout differs for every value, as spatial ones' does not."""
    spatial = keras.layers.SpatialDropout1D, keras.layers.SpatialDropout2D, keras.layers.SpatialDropout3D
    return noise_variance(layer) is not None and not isinstance(layer, spatial) and getattr(layer, "noise_shape", None) is None


def _squared(layer, inputs):
    """What a linear layer makes of squared inputs by squared weights, without a bias."""
    values = evaluation.current_scope().state_mapping
    kernel, bias = layer.kernel, layer.bias
    before = {id(variable): values[id(variable)] for variable in (kernel, bias) if variable is not None}
    values.update({id(kernel): tf.square(before[id(kernel)])} | ({} if bias is None else {id(bias): tf.zeros_like(before[id(bias)])}))
    try:
        return layer.call(tf.square(inputs))
    finally:
        values.update(before)


def _present(values):
    """Those that are there."""
    return values.flat_values if isinstance(values, tf.RaggedTensor) else values


def noise_variance(layer: keras.Layer) -> float | None:
    """The variance of the factor, of mean 1, that a layer multiplies each value by in training, independently; None for other layers.

    A Dropout of `rate` has (1 / (1 - rate))**2 * (1 - rate) - 1 = rate / (1 - rate), and so has Keras's Gaussian one, by its definition. With rate 1 all
    outputs are 0, and no factor of mean 1 is left. Layers of other kinds say it by their attribute `noise_variance`.
    """
    if isinstance(layer, keras.layers.Dropout | keras.layers.GaussianDropout):
        return layer.rate / (1 - layer.rate) if layer.rate < 1 else None
    variance = getattr(layer, "noise_variance", None)
    return float(variance) if isinstance(variance, numbers.Real) else None


def acts_in_training_only(layer: keras.Layer) -> bool:
    """Whether a layer, one of Keras's or one that says its `noise_variance`, drops, adds noise or augments in training, and does nothing in inference."""
    return bool(noise_variance(layer)) or isinstance(layer, _ACTING_IN_TRAINING)


def _activation(layer):
    if isinstance(layer, keras.layers.ReLU):
        return None if layer.negative_slope else "relu"
    if not isinstance(layer, keras.layers.Activation):
        return None
    return next((name for name, functions in _ACTIVATIONS.items() if any(layer.activation is function for function in functions)), None)
