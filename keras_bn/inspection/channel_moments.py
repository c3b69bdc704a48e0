"""The moments of a layer's inputs or outputs, in float64; and those of several of its calls or batches together."""

import tensorflow as tf

from keras_bn import functional
from keras_bn.inspection import evaluation


def channel_moments() -> tf.types.experimental.PolymorphicFunction:
    """A function of (values, axis, mask) that returns `functional.Moments`: count, mean and variance of each channel, float64 as the values are.

    Each measure has its own, so that its traces live no longer than the measure.
    """
    return evaluation.shared_by_shape(lambda values, axis, mask: functional.moments(tf.cast(values, tf.float64), axis, mask))


def stacked(parts: list[functional.Moments]) -> functional.Moments:
    """The moments of several parts with one more axis in front, each of a count for each channel."""
    shape = tf.shape(parts[0].mean)
    return functional.Moments(*(tf.stack([tf.broadcast_to(value, shape) for value in values]) for values in zip(*parts)))


def pooled(parts: list[functional.Moments]) -> functional.Moments:
    """The moments of several parts together."""
    if len(parts) == 1:
        return functional.Moments(tf.broadcast_to(parts[0].count, tf.shape(parts[0].mean)), *parts[0][1:])
    return functional.merge_moments(stacked(parts))
