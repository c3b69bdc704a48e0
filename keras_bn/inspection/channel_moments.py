"""`channel_moments`: the moments of a layer's inputs or outputs, in float64."""

import tensorflow as tf

from keras_bn import functional
from keras_bn.inspection import evaluation


def channel_moments() -> tf.types.experimental.PolymorphicFunction:
    """A function of (values, axis, mask) that returns `functional.Moments`: count, mean and variance of each channel, float64 as the values are.

    Each measure has its own, so that its traces live no longer than the measure.
    """
    return evaluation.shared_by_shape(lambda values, axis, mask: functional.moments(tf.cast(values, tf.float64), axis, mask))
