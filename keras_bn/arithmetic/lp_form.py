"""The training form by an Lp measure in place of the standard deviation."""

import tensorflow as tf

from keras_bn.arithmetic import shifted
from keras_bn.arithmetic.axes import all_but, along, are_kept
from keras_bn.arithmetic.forms import by_channel, statistics_dtype
from keras_bn.arithmetic.masks import masked


def training(x, gamma, beta, mask, *, p, axis, epsilon, counts_apart):
    """`functional.lp_norm_training`, its mask of the rank of `x`."""
    dtype, axes = statistics_dtype(x), all_but([axis], x)
    inputs = tf.cast(x, dtype)
    centre = shifted.centre(inputs, mask, axes)
    deviations = centre.deviations(inputs)
    values = tf.maximum(centre.count, 1)
    if p == 1:
        squared = tf.square(shifted.total(masked(tf.abs(deviations), mask), axes) / values)
    elif p == 2:
        squared = centre.variance
    else:
        largest = tf.reduce_max(masked(tf.abs(deviations), mask), axes, keepdims=are_kept(axes, x))
        squared = tf.square(tf.maximum(largest, 0))  # Without any value the largest is -inf.
    factor = tf.math.rsqrt(squared + epsilon)
    if gamma is not None:
        factor *= along(tf.cast(gamma, dtype), x, axis)
    y = deviations * factor
    if beta is not None:
        y += along(tf.cast(beta, dtype), x, axis)
    return tf.cast(y, x.dtype), by_channel((centre.count, centre.mean, squared), counts_apart)
