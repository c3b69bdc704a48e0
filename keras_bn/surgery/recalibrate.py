"""`recalibrate`: population statistics in place of moving ones."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_bn import functional
from keras_bn.inspection import batches, building, evaluation, normalization_layers
from keras_bn.inspection.channel_moments import channel_moments, pooled
from keras_bn.inspection.errors import evaluating
from keras_bn.surgery.freeze import Frozen
from keras_bn.surgery.layerwise import Layerwise
from keras_bn.surgery.progress import bar

SEQUENTIAL, BATCH = "sequential", "batch"


class Recalibrated(NamedTuple):
    """Of one batch normalisation layer.

    layer: its name.
    mean_shift: root of the mean square over the channels of (population mean - moving mean before) / sqrt(population variance + epsilon).
    variance_ratio: mean over the channels of the population variance by that of the moving variance before.
    """

    layer: str
    mean_shift: float
    variance_ratio: float

    def __str__(self) -> str:
        return f"{self.layer}: the mean by {self.mean_shift:.3g} standard deviations, the variance to {self.variance_ratio:.3g} times what it was"


class Recalibration(list):
    """`Recalibrated`s; `undo()` puts the statistics back that the model had before."""

    def __init__(self, changes, before):
        super().__init__(changes)
        self._before = before  # (variable, value).

    def __str__(self) -> str:
        return "\n".join(map(str, self))

    def undo(self) -> None:
        for variable, value in self._before:
            variable.assign(value)


def recalibrate(
    model: keras.Model, data, steps: int | None = None, method: str = SEQUENTIAL, dropout: bool = False, batch_size: int = 32, verbose: bool = True
) -> Recalibration:
    """Gives batch normalisation layers the mean and the variance of their inputs over the data, at the weights as they are, in place.

    After training with Dropout, with small batches, or of weights that were averaged or loaded, moving statistics are not those that inference meets.

    Args:
        model: built. Layers that are frozen keep their statistics, and so do those that do not divide by a standard deviation (`LpBatchNormalization`).
        data: as `fit` takes them; targets are not used. Give the training data.
        steps: how many batches to take; None: all.
        method: "sequential": layer by layer, each on what inference will feed it, the layers in front of it having got their statistics already: exact. What
            layers have computed is kept for those behind, up to a GiB, so that it costs about one pass over the data; beyond that, one for each depth. "batch":
            each layer normalises by its batch meanwhile (PreciseBN), in one pass; which depends on the size of the batches.
        dropout: whether Dropout and its like act meanwhile, as they did in training. Without, the variance shift that they make is gone: Li et al.'s remedy.
        batch_size: of arrays, which are cut in random order.
        verbose: whether a bar shows the progress.

    Returns:
        A list of `Recalibrated`, what changed by layer; its `undo()` takes all back. After an error the model is as it was.

    Raises:
        ValueError: a model that is not built, or has no such layer; no data, or data that the model does not take; an iterator where several passes are
            needed; inputs of a layer that are not all finite.

    Source: population statistics: Ioffe & Szegedy 2015, Alg. 2, lines 7 to 10, here pooled over all values; by batches: Wu & Johnson 2021, sec. 3. Without
    Dropout: Li et al. 2018, sec. 4.3.

    Example:
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.BatchNormalization(name="normalised")])
        >>> print(recalibrate(model, np.array([[1.0], [5.0]], "float32"), verbose=False))
        normalised: the mean by 1.5 standard deviations, the variance to 4 times what it was
    """
    building.refuse_unbuilt(model)
    refuse_method(method)
    batches.refuse_size(batch_size)
    if isinstance(data, Iterator) and method == SEQUENTIAL:
        raise ValueError(f"`data` is a {type(data).__name__}, used up once it is read; expected what can be read again: a dataset, or method={BATCH!r}.")
    layers = layers_to_recalibrate(model)
    if not layers:
        raise ValueError(f"all batch normalisation layers of {model.name} are frozen; expected one at least that is not: set its `trainable`.")

    def read():
        return batches.inputs(data, batch_size, steps)

    return _assign(population(model, layers, read, method, dropout, bar("layers deep" if method == SEQUENTIAL else "batches", verbose)))


def layers_to_recalibrate(model: keras.Model) -> list[keras.Layer]:
    """Those that are not frozen."""
    return [layer for layer in normalization_layers.names(model) if layer.trainable and not isinstance(layer, Frozen)]


def population(
    model: keras.Model, layers: list[keras.Layer], read: Callable[[], Iterable], method: str, dropout: bool, progress: Callable[[int, int | None], None]
) -> dict[keras.Layer, list]:
    """A dict, each layer to what its statistics are over the data, [(moving mean, mean), (moving variance, variance)]. The model stays as it is.

    Args:
        read: returns the batches of what the model takes as `x`, from the first on.
        method, dropout: as of `recalibrate`.
        progress: receives how much is done, and of how much, if that is known.
    """
    result = {}

    def settle(layer, moments):
        variance = functional.sample_variance(moments) if getattr(layer, "unbiased", False) else moments.variance
        if not bool(tf.reduce_all(tf.math.is_finite(moments.mean + variance))):
            raise ValueError(f"the inputs of {layer.name} are not all finite; expected finite ones: look at np.isfinite(x).all() and at the weights in front.")
        counts = bool(tf.reduce_all(moments.count > 0))  # Else all positions are masked.
        result[layer] = [(layer.moving_mean, moments.mean), (layer.moving_variance, variance)] if counts else []
        return result[layer]

    if method == SEQUENTIAL:
        Layerwise(model, layers, dropout)(read, settle, progress)
    else:
        for layer, parts in _moments_by_batch(model, layers, read(), dropout, progress).items():
            settle(layer, pooled(parts))
    return {layer: result[layer] for layer in layers if result.get(layer)}


def refuse_method(method: str) -> None:
    """Raises a ValueError for what is no method."""
    if method not in (SEQUENTIAL, BATCH):
        raise ValueError(f"`method` is {method!r}; expected {SEQUENTIAL!r} or {BATCH!r}: leave it out for the exact one.")


def _moments_by_batch(model, layers, inputs, dropout, progress):
    called, moments_of_call = [], channel_moments()

    def moments_of(snapshot, x, index):
        with normalization_layers.watched(model, training=True) as calls:
            evaluation.outputs(model, evaluation.advanced(model, snapshot, index), x, training=dropout)
        called[:] = [call.layer for call in calls if call.layer in layers]
        return [moments_of_call(call.inputs, call.axis, call.mask) for call in calls if call.layer in layers]

    function, snapshot, moments = evaluation.traced(moments_of), evaluation.snapshot(model), {}
    for index, x in enumerate(inputs):
        with evaluating(model):
            parts = function(snapshot, evaluation.tensors(x), tf.constant(index, tf.int64))
        for layer, part in zip(called, parts):
            moments.setdefault(layer, []).append(part)
        progress(index + 1, None)
    return moments


def _assign(population):
    before = [(variable, tf.identity(tf.convert_to_tensor(variable))) for values in population.values() for variable, _ in values]
    changes = [_change(layer, mean, variance) for layer, ((_, mean), (_, variance)) in population.items()]
    for values in population.values():
        for variable, value in values:
            variable.assign(value)
    return Recalibration(changes, before)


def _change(layer, mean, variance):
    old_mean, old_variance = (tf.cast(tf.convert_to_tensor(variable), tf.float64).numpy() for variable in (layer.moving_mean, layer.moving_variance))
    mean, variance = mean.numpy(), variance.numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        return Recalibrated(
            layer.name,
            float(np.sqrt(np.mean((mean - old_mean) ** 2 / (variance + layer.epsilon)))),
            float(np.divide(variance.mean(), old_variance.mean())),
        )
