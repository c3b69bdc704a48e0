"""The arithmetic of batch normalisation: tensors in, tensors out.

Nothing here owns a variable, a layer, a file or a flag. Statistics are kept in at least float32 whatever the inputs are.

Index convention: C channels; the other axes of x, whatever their number, are reduced; N is the number of values of one channel.
"""

from typing import NamedTuple

import tensorflow as tf


class Moments(NamedTuple):
    """Mean and variance of `count` values a channel.

    count: scalar; mean: (C,); variance: (C,), with divisor `count`. All are of one floating dtype.
    """

    count: tf.Tensor
    mean: tf.Tensor
    variance: tf.Tensor


def moments(x: tf.Tensor, axis: int = -1, mask: tf.Tensor | None = None) -> Moments:
    """The mean and the variance of every channel of `x`.

        mean[c] = sum(x[..., c]) / N
        variance[c] = sum((x[..., c] - mean[c])**2) / N

    The mean that the deviations are taken from is corrected for its own rounding, so that the variance stays right when the mean is far larger than the
    standard deviation, where E[x**2] - E[x]**2 turns negative and a plain second pass is off by the square of that rounding. Without any value, both are 0.

    Args:
        x: floating, any rank from 1. Half precision is accumulated in float32.
        axis: the channel axis.
        mask: bool, broadcastable to the shape of `x` without its channel axis; False leaves a position out. None: all count.

    Returns:
        `Moments`, float64 for float64 inputs and float32 for all others.

    Source: Ioffe & Szegedy 2015, Alg. 1, lines 1 and 2 (the biased variance).

    Example:
        >>> x = tf.constant([[1., 10.], [3., 50.]])
        >>> [value.numpy().tolist() for value in moments(x)]
        [2.0, [2.0, 30.0], [1.0, 400.0]]
    """
    x = _in_statistics_dtype(x)
    _, count, mean, variance = _centre(x, axis, mask)
    return Moments(count, tf.reshape(mean, [-1]), tf.reshape(variance, [-1]))


def batch_norm_training(
    x: tf.Tensor, gamma: tf.Tensor | None, beta: tf.Tensor | None, mask: tf.Tensor | None = None, *, axis: int, epsilon: float
) -> tuple[tf.Tensor, Moments]:
    """Normalises `x` by its own moments: the training form.

        y = gamma * (x - mean) / sqrt(variance + epsilon) + beta

    The gradient runs through the mean and the variance.

    Args:
        x: floating, any rank from 1.
        gamma: (C,), or None for 1.
        beta: (C,), or None for 0.
        mask: bool, broadcastable to the shape of `x` without its channel axis; False leaves a position out of the moments, not out of `y`.
        axis: the channel axis.
        epsilon: added to the variance.

    Returns:
        (y, batch): y of the shape and dtype of `x`; `batch`, the `Moments` that it was normalised by.

    Source: Ioffe & Szegedy 2015, Alg. 1.

    Example:
        >>> x = tf.constant([[1., 10.], [3., 50.]])
        >>> y, batch = batch_norm_training(x, gamma=None, beta=None, axis=-1, epsilon=0.)
        >>> y.numpy().tolist()
        [[-1.0, -1.0], [1.0, 1.0]]
    """
    dtype = x.dtype
    x = _in_statistics_dtype(x)
    centred, count, mean, variance = _centre(x, axis, mask)
    factor = tf.math.rsqrt(variance + epsilon)
    if gamma is not None:
        factor *= _along(gamma, x, axis)
    # centred * factor, and not x * factor - mean * factor, whose terms cancel when the mean is large.
    y = centred * factor
    if beta is not None:
        y += _along(beta, x, axis)
    return tf.cast(y, dtype), Moments(count, tf.reshape(mean, [-1]), tf.reshape(variance, [-1]))


def batch_norm_inference(
    x: tf.Tensor, gamma: tf.Tensor | None, beta: tf.Tensor | None, mean: tf.Tensor, variance: tf.Tensor, *, axis: int, epsilon: float
) -> tf.Tensor:
    """Normalises `x` by given statistics: the inference form, one multiplication and one addition a value.

        y = gamma / sqrt(variance + epsilon) * x + (beta - gamma * mean / sqrt(variance + epsilon))

    Args:
        x: floating, any rank from 1.
        gamma: (C,), or None for 1.
        beta: (C,), or None for 0.
        mean: (C,).
        variance: (C,), not negative.
        axis: the channel axis.
        epsilon: added to the variance.

    Returns:
        y: the shape and dtype of `x`.

    Source: Ioffe & Szegedy 2015, Alg. 2, line 11. The expression is `tf.nn.batch_normalization`'s, which converters recognise and fold.

    Example:
        >>> x = tf.constant([[1., 10.], [3., 50.]])
        >>> batch_norm_inference(x, None, None, [1., 0.], [4., 100.], axis=-1, epsilon=0.).numpy().tolist()
        [[0.0, 1.0], [1.0, 5.0]]
    """
    dtype = x.dtype
    x = _in_statistics_dtype(x)
    mean, variance, beta, gamma = (None if value is None else _along(value, x, axis) for value in (mean, variance, beta, gamma))
    return tf.cast(tf.nn.batch_normalization(x, mean, variance, beta, gamma, epsilon), dtype)


def moving_average(moving: tf.Tensor, value: tf.Tensor, momentum: float, count: tf.Tensor) -> tf.Tensor:
    """A moving statistic after one more batch; a batch without any value leaves it as it is.

        momentum * moving + (1 - momentum) * value

    Args:
        moving: (C,), the statistic so far.
        value: (C,), the batch's.
        momentum: the share of `moving` that is kept, as in Keras.
        count: scalar, how many values a channel `value` was made of.

    Returns:
        (C,), the dtype of `moving`.

    Example:
        >>> moving_average(tf.constant([0.]), tf.constant([10.]), momentum=0.9, count=4.).numpy().round(3).tolist()
        [1.0]
    """
    value = tf.cast(value, moving.dtype)
    return tf.where(count > 0, moving * momentum + value * (1.0 - momentum), moving)


def _in_statistics_dtype(x):
    return tf.cast(x, tf.float32) if x.dtype in (tf.float16, tf.bfloat16) else x


def _along(vector, x, axis):
    """(C,) in the dtype of `x`, shaped so that it broadcasts along `axis` of `x`."""
    shape = [1] * x.shape.rank
    shape[axis] = -1
    return tf.reshape(tf.cast(vector, x.dtype), shape)


def _centre(x, axis, mask):
    """(x - mean, N, mean, variance), the last two with reduced axes of size 1."""
    channel = range(x.shape.rank)[axis]
    axes = [a for a in range(x.shape.rank) if a != channel]
    if mask is None:
        count = tf.cast(tf.reduce_prod(tf.gather(tf.shape(x), axes)), x.dtype)
    else:
        mask = tf.expand_dims(tf.broadcast_to(mask, tf.gather(tf.shape(x), axes)), channel)
        count = tf.reduce_sum(tf.cast(mask, x.dtype))

    def mean_of(values):
        if mask is not None:
            values = tf.where(mask, values, tf.zeros([], x.dtype))
        return tf.reduce_sum(values, axes, keepdims=True) / tf.maximum(count, 1)

    # The rounded mean is a constant that only shifts x close to zero; its error is then measured and taken out.
    shift = tf.stop_gradient(mean_of(x))
    deviation = x - shift
    error = mean_of(deviation)
    centred = deviation - error
    return centred, count, shift + error, mean_of(tf.square(centred))
