"""`variance_shift`: how far the moving statistics are from those that the inputs have in inference."""

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_bn import functional
from keras_bn.measures import batches, normalisers, probe


class VarianceShift(NamedTuple):
    """Of one batch normalisation layer. All arrays are (C,), float64.

    layer: its place and kind, such as 02_batch_normalization.
    ratio: max(r, 1 / r), r = mean over the channels of `variance` / that of `moving_variance`; 1 is no shift.
    mean_shift: root of the mean square over the channels of (mean - moving_mean) / sqrt(moving_variance + epsilon): in standard deviations; 0 is no shift.
    moving_mean, moving_variance: what the layer normalises by in inference.
    mean, variance: of its inputs in inference, over all the data, divisor N.
    predicted_variance: where a Dropout stands right in front of the layer, the variance of the layer's inputs in training by the closed form; else None.
    predicted_ratio: max(r, 1 / r), r = mean of `variance` / mean of `predicted_variance`; else None.
    """

    layer: str
    ratio: float
    mean_shift: float
    moving_mean: np.ndarray
    moving_variance: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    predicted_variance: np.ndarray | None
    predicted_ratio: float | None

    @property
    def ratios(self) -> np.ndarray:
        """max(r, 1 / r), r = variance / moving_variance, of every channel: (C,)."""
        return _either_way(self.variance, self.moving_variance)


def variance_shift(model: keras.Model, data) -> list[VarianceShift]:
    """How the moving statistics of each batch normalisation layer differ from what its inputs have in inference, over the data given.

        ratio = max(r, 1 / r),  r = mean(variance) / mean(moving_variance)              means over the channels
        with Dropout right in front of the layer, a value x of mean c and variance v over the data becomes x * m in training, E m = 1, Var m = s:
        predicted_variance = v + (c**2 + v) * s              s = rate / (1 - rate), for UniformDropout beta**2 / 3

    In inference mode: without dropout, normalised by the moving statistics, none of which changes. Batches of unequal size are pooled exactly. What a layer
    is called with several times in one evaluation counts together; masked positions do not count.

    Args:
        model: built, with at least one batch normalisation layer of a moving mean and variance. One that a call does not use is left out.
        data: inputs, or batches of them, or of them with targets, which are not used: arrays (cut into batches of 128), tf.data.Dataset, PyDataset or what
            else can be iterated over. For the paper's number, the training data with its augmentation.

    Returns:
        One `VarianceShift` for each layer, in the order in which the model holds them.

    Raises:
        ValueError: no such layer, no data, or a layer that is called within a loop.

    Source: Li, Chen, Hu & Yang 2018, sec. 4: ratio of means over channels, the larger of it and its inverse; eq. 7 and 8 for Dropout. It takes the variance of
    the inputs by the moving average of momentum 0.9; here it is that of all values. It does not speak of means, whose ratio says nothing, as they lie around 0.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.BatchNormalization()])
        >>> [shift] = variance_shift(model, np.array([[0.0, 3.0], [4.0, 9.0]], "float32"))
        >>> shift.layer, shift.mean.tolist(), shift.variance.tolist(), shift.ratio
        ('01_batch_normalization', [2.0, 6.0], [4.0, 9.0], 6.5)
    """
    return Measure(model)(data)


class Measure:
    """`variance_shift` of one model, traced once."""

    def __init__(self, model: keras.Model):
        self._model = model
        self._names = normalisers.found(model)
        self._called, self._noise = [], {}
        self._moments = probe.traced(self._moments_of)

    def __call__(self, data) -> list[VarianceShift]:
        parts = [self._moments_of_batch(x) for x in batches.inputs(data)]
        return [self._shift(layer, [part[place] for part in parts]) for place, layer in enumerate(self._called)]

    def try_out(self, data) -> None:
        """One batch of the data: raises what the measure would, and traces."""
        self._moments_of_batch(next(iter(batches.inputs(data))))

    def _moments_of_batch(self, x):
        return self._moments(*probe.snapshot(self._model), probe.tensors(x))

    def _moments_of(self, weights, state, x):
        with normalisers.watched(self._model) as calls:
            probe.outputs(self._model, weights, state, x, training=False)
        self._called = [layer for layer in self._names if any(call.layer is layer for call in calls)]
        self._noise = {call.layer: call.noise for call in calls}
        return [self._pooled([self._of_call(call) for call in calls if call.layer is layer]) for layer in self._called]

    @staticmethod
    def _of_call(call):
        moments = normalisers.moments(call.inputs, call.layer.axis, call.mask)
        return functional.Moments(*(tf.cast(value, tf.float64) for value in moments))

    @staticmethod
    def _pooled(parts):
        counts, *others = zip(*parts)
        counts = [tf.broadcast_to(count, tf.shape(parts[0].mean)) for count in counts]
        return functional.merge_moments(functional.Moments(*(tf.stack(values) for values in (counts, *others))))

    def _shift(self, layer, parts):
        _, mean, variance = (value.numpy() for value in self._pooled([functional.Moments(*part) for part in parts]))
        moving_mean, moving_variance = (tf.convert_to_tensor(value).numpy().astype("float64") for value in (layer.moving_mean, layer.moving_variance))
        noise, predicted, predicted_ratio = self._noise[layer], None, None
        if noise is not None:
            predicted = variance + (mean**2 + variance) * noise
            predicted_ratio = float(_either_way(variance.mean(), predicted.mean()))
        return VarianceShift(
            layer=self._names[layer],
            ratio=float(_either_way(variance.mean(), moving_variance.mean())),
            mean_shift=float(np.sqrt(np.mean((mean - moving_mean) ** 2 / (moving_variance + layer.epsilon)))),
            moving_mean=moving_mean,
            moving_variance=moving_variance,
            mean=mean,
            variance=variance,
            predicted_variance=predicted,
            predicted_ratio=predicted_ratio,
        )


def _either_way(one, other):
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.maximum(np.divide(one, other), np.divide(other, one))
