"""The batch normalisation layers of a model, what one evaluation hands them, and what stands around them."""

import contextlib
from collections.abc import Callable
from typing import NamedTuple

import keras
import tensorflow as tf

from keras_bn import functional
from keras_bn.measures import order, probe

_DROPOUTS = ("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "GaussianDropout", "UniformDropout")


def found(model: keras.Model) -> dict[keras.Layer, str]:
    """Each layer with its name, in the order in which the model holds them: its place among its like from 1, and its kind.

    Layers that divide by something else than a standard deviation (`LpBatchNormalization` with p other than 2) are none.

    Raises:
        ValueError: there is none.
    """
    layers = [layer for layer in probe.layers(model) if isinstance(layer, keras.layers.BatchNormalization) and getattr(layer, "p", 2) == 2]
    if not layers:
        raise ValueError(f"{model.name} has no batch normalisation layer; expected one at least: this measure is about them, leave it out for other models.")
    return {layer: f"{place:02d}_{order.kind(layer)}" for place, layer in enumerate(layers, 1)}


class Call(NamedTuple):
    """Of a batch normalisation layer.

    inputs, mask (or None), outputs: tensors; noise: the variance of what the Dropout right in front of it multiplies each value by, in training, or None;
    activation: a name, and its outputs, of the activation layer right behind it, or None.
    """

    layer: keras.Layer
    inputs: tf.Tensor
    mask: tf.Tensor | None
    outputs: tf.Tensor
    noise: float | None
    activation: tuple[str, tf.Tensor] | None


@contextlib.contextmanager
def watched(model: keras.Model, watch: Callable = lambda inputs: None):
    """Within it, evaluations of the model add a `Call` for every call of one of its batch normalisation layers to the list that it gives.

    Args:
        watch: is shown the inputs of each before they are used.

    Raises:
        ValueError: a layer is called within a function or a loop of its own, out of which its inputs cannot be brought.
    """
    normalisers, calls, made_by = found(model), [], {}
    around = tf.compat.v1.get_default_graph() if not tf.executing_eagerly() else None

    def source(tensor):
        """The layer that made a tensor, or the place in `calls` where a batch normalisation layer did, or None."""
        return made_by.get(id(tensor), (None, None))[1]

    def handle(layer, call, arguments):
        if layer not in normalisers:
            # A copy, as in inference a Dropout hands on its inputs as they are, and by then they would be taken for its outputs everywhere.
            inputs, outputs = next(iter(arguments.values())), tf.nest.map_structure(tf.identity, call())
            place = source(inputs)
            if isinstance(place, int) and (activation := _activation(layer)):
                calls[place] = calls[place]._replace(activation=(activation, outputs))
            made_by[id(outputs)] = outputs, layer
            return outputs
        inputs = next(iter(arguments.values()))
        if not tf.executing_eagerly() and tf.compat.v1.get_default_graph() is not around:
            raise ValueError(
                f"{layer.name} is called within a loop or a function of its own; expected a call that its model makes itself: "
                "leave out TimeDistributed and its like."
            )
        watch(inputs)
        outputs = call()
        before = source(inputs)
        noise = _noise(before) if isinstance(before, keras.Layer) else None
        calls.append(Call(layer, inputs, arguments.get("mask"), outputs, noise, None))
        made_by[id(outputs)] = outputs, len(calls) - 1
        return outputs

    def is_watched(layer):
        return layer in normalisers or _noise(layer) is not None or _activation(layer)

    with probe.intercepted([layer for layer in probe.layers(model) if is_watched(layer)], handle):
        yield calls


# `functional.moments`, not inlined, so that what layers of one shape have in common is traced and optimised once.
moments = probe.traced(functional.moments, reduce_retracing=False, experimental_attributes={"_noinline": True})


def _noise(layer):
    """The variance of what a layer multiplies values by in training, each apart from the others, or None: of another kind.

    A Dropout of `rate` has (1 / (1 - rate))**2 * (1 - rate) - 1 = rate / (1 - rate), and so has Keras's Gaussian one, by its definition; U(-beta, beta) has
    beta**2 / 3.
    """
    if type(layer).__name__ not in _DROPOUTS:
        return None
    return layer.beta**2 / 3 if hasattr(layer, "beta") else layer.rate / (1 - layer.rate)


def _activation(layer):
    if isinstance(layer, keras.layers.Activation):
        return getattr(layer.activation, "__name__", None)
    return "relu" if isinstance(layer, keras.layers.ReLU) else None
