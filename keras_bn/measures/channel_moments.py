"""`channel_moments`: the moments of a layer's inputs or outputs, in float64."""

import tensorflow as tf

from keras_bn import functional, keras_internals
from keras_bn.inspection import evaluation


def channel_moments() -> tf.types.experimental.PolymorphicFunction:
    """A function of (values, axis, mask) that returns `functional.Moments`: count, mean and variance of each channel, float64 as the values are.

    Each measure has its own, so that its traces live no longer than the measure. It is not inlined, so that layers of one shape share a trace. Without
    `reduce_retracing`, since layers of two widths would then share a trace of unknown width, which is slow.
    """

    def moments(values, axis, mask):
        return functional.moments(tf.cast(values, tf.float64), axis, mask)

    return evaluation.traced(moments, reduce_retracing=False, experimental_attributes=keras_internals.NOT_INLINED)
