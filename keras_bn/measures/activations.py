"""`activation_statistics`: what goes into the batch normalisation layers of a model, what comes out, and what the activations behind them make of it."""

from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_bn.measures import normalisers, probe

PERCENTILES = (15, 50, 85)  # Ioffe & Szegedy 2015, fig. 1b, c.
SAMPLE = 2**16  # Percentiles are of all values up to so many, else of about so many.
SATURATED = 0.01  # A sigmoid is saturated within this part of its range from either end.
_RANGES = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0)}


class Distribution(NamedTuple):
    """Of the inputs or outputs of one layer on one batch.

    mean, variance: of each channel, (C,), float64, divisor N; sample: the values that percentiles are of.
    """

    mean: np.ndarray
    variance: np.ndarray
    sample: np.ndarray

    @property
    def percentiles(self) -> np.ndarray:
        """The 15th, 50th and 85th, over all channels: (3,)."""
        return np.percentile(self.sample, PERCENTILES)

    @property
    def overall_mean(self) -> float:
        """Over all channels, which have equally many values."""
        return float(self.mean.mean())

    @property
    def overall_stddev(self) -> float:
        """Over all channels: of all values from the overall mean."""
        return float(np.sqrt(np.mean(self.variance + (self.mean - self.mean.mean()) ** 2)))


class ActivationStatistics(NamedTuple):
    """Of one batch normalisation layer, on one batch.

    layer: its place and kind, such as 02_batch_normalization; inputs, outputs: `Distribution`.
    saturated: share of the values of a sigmoid or tanh right behind it that are within 1 % of its range from either end; None for other activations.
    dead: share of the channels of a ReLU right behind it that are 0 on the whole batch; None for other activations.
    gradient_norm: of the loss, to the layer's inputs; None without targets.
    gradient_ratio: square of `gradient_norm` by that of the next of the layers; None for the last and without targets.
    """

    layer: str
    inputs: Distribution
    outputs: Distribution
    saturated: float | None
    dead: float | None
    gradient_norm: float | None
    gradient_ratio: float | None


def activation_statistics(model: keras.Model, x, y=None, sample_weight=None) -> list[ActivationStatistics]:
    """Moments, percentiles and the state of the activation for each batch normalisation layer, on one batch in training mode.

    With batch statistics and dropout, as the next training step would compute; nothing of the model changes. The activation counts that is a layer
    (`Activation`, `ReLU`) right behind the normalisation. What a layer is called with several times in one evaluation: its first call counts.

    Args:
        model: built, with at least one batch normalisation layer; compiled with a loss where there are targets.
        x: a batch, as the model takes it.
        y, sample_weight: its targets and weights, as `fit` takes them, for the gradients; or None.

    Returns:
        One `ActivationStatistics` for each layer, in the order in which they compute. Percentiles are of all values up to 65,536 a layer, else of about so
        many, at positions with all their channels: one from each of equal parts, drawn at random, the same at each call.

    Raises:
        ValueError: no such layer, or one that is called within a loop.

    Source: percentiles: Ioffe & Szegedy 2015, fig. 1b, c, which shows one unit; the ratio: Yang et al. 2019, "A Mean Field Theory of Batch Normalization", by
    which it is pi / (pi - 1) = 1.467 a layer for ReLU nets at their start, and training is out of reach beyond some 50 layers.

    Example:
        >>> layers = [keras.layers.BatchNormalization(), keras.layers.ReLU()]
        >>> model = keras.Sequential([keras.Input((2,)), *layers])
        >>> [found] = activation_statistics(model, np.array([[0.0, 3.0], [4.0, 3.0]], "float32"))
        >>> found.layer, found.inputs.mean.tolist(), found.inputs.percentiles.round(2).tolist(), found.dead
        ('01_batch_normalization', [2.0, 3.0], [1.35, 3.0, 3.55], 0.5)
    """
    x, y, sample_weight = probe.tensors((x, y, sample_weight))
    weights, state = probe.snapshot(model)
    measure = compiled(model)
    return told(model, measure(weights, state, x, y, sample_weight), measure.layers)


def compiled(model: keras.Model) -> Callable:
    """A `tf.function` of (weights, state, x, y, sample_weight, scale=1), returning a dict a layer. Its `layers` are those, once it has been called."""
    called = []

    @probe.traced
    def measure(weights, state, x, y, sample_weight, scale=1.0):
        with tf.GradientTape(watch_accessed_variables=False) as tape, normalisers.watched(model, tape.watch) as calls:
            if y is None:
                probe.outputs(model, weights, state, x, training=True)
            else:
                loss = probe.loss(model, weights, state, x, y, sample_weight)
                loss *= tf.cast(scale, loss.dtype)
        first = list({call.layer: call for call in reversed(calls)}.values())[::-1]
        called[:] = [call.layer for call in first]
        results = [_of_call(call) for call in first]
        if y is not None:
            gradients = tape.gradient(loss, [call.inputs for call in first], unconnected_gradients=tf.UnconnectedGradients.ZERO)
            for result, gradient in zip(results, gradients):
                result["gradient_norm"] = tf.norm(tf.cast(gradient, tf.float64)) / tf.cast(scale, tf.float64)
        return results

    measure.layers = called
    return measure


def told(model: keras.Model, computed: list[dict], layers: list[keras.Layer]) -> list[ActivationStatistics]:
    """What `compiled` computed, as plain numbers."""
    names = normalisers.found(model)
    results = [{name: value.numpy() for name, value in result.items()} for result in computed]
    norms = [result.get("gradient_norm") for result in results]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = [None if after is None else float(np.divide(before**2, after**2)) for before, after in zip(norms, [*norms[1:], None])]

    def plain(value):
        return None if value is None else float(value)

    def distribution(result, of):
        return Distribution(*(result[f"{of}_{part}"].astype("float64") for part in Distribution._fields))

    return [
        ActivationStatistics(
            layer=names[layer],
            inputs=distribution(result, "inputs"),
            outputs=distribution(result, "outputs"),
            saturated=plain(result.get("saturated")),
            dead=plain(result.get("dead")),
            gradient_norm=plain(norm),
            gradient_ratio=ratio,
        )
        for layer, result, norm, ratio in zip(layers, results, norms, ratios)
    ]


def _of_call(call):
    axis = call.layer.axis
    found = {}
    for name, values in (("inputs", call.inputs), ("outputs", call.outputs)):
        _, found[f"{name}_mean"], found[f"{name}_variance"] = normalisers.moments(values, axis, call.mask)
        found[f"{name}_sample"] = _sample(values, axis)
    if call.activation is not None:
        kind, outputs = call.activation
        if kind in _RANGES:
            low, high = _RANGES[kind]
            near = SATURATED * (high - low)
            found["saturated"] = _share((outputs < low + near) | (outputs > high - near))
        if kind == "relu":
            found["dead"] = _share(tf.reduce_all(outputs == 0, [place for place in range(outputs.shape.rank) if place != range(outputs.shape.rank)[axis]]))
    return found


def _share(where):
    return tf.reduce_mean(tf.cast(where, tf.float32))


def _sample(values, axis):
    """(n,): all values up to SAMPLE, or of about so many positions all channels.

    Positions of equal distance would be multiples of an image's width, and see its edge only; so each is anywhere within its part.
    """
    if range(values.shape.rank)[axis] != values.shape.rank - 1:
        values = tf.experimental.numpy.moveaxis(values, axis, -1)
    rows = tf.reshape(values, [-1, tf.shape(values)[-1]])
    present, channels = tf.shape(rows)[0], tf.shape(rows)[1]
    chosen = tf.minimum(present, tf.maximum(1, SAMPLE // channels))
    within = tf.random.stateless_uniform([chosen], seed=(0, 0), dtype=tf.float64)
    positions = (tf.cast(tf.range(chosen), tf.float64) + within) * (present / tf.maximum(1, chosen))
    return tf.cast(tf.reshape(tf.gather(rows, tf.cast(positions, tf.int32)), [-1]), tf.float32)
