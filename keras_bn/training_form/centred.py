"""The centred form: right for every dtype, rank, axis, mask and compiler.

Index convention: statistics keep the reduced axes with size 1, so that they broadcast against the inputs; `axes` are the reduced ones.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

SAMPLE = 64  # The shift is made of at least this part of the batch.
STAGE = 8  # Rows that the first stage of a sum adds at a time.


class Centre(NamedTuple):
    """Where the inputs lie. The mean is shift + error, kept in two parts, since their sum rounds what their difference to the inputs does not.

    count: values a channel, at least 0; variance: with divisor `count`; both 0 without any value. All of the inputs' dtype.
    """

    count: tf.Tensor
    shift: tf.Tensor
    error: tf.Tensor
    variance: tf.Tensor

    @property
    def mean(self):
        return self.shift + self.error

    def centred(self, x):
        return (x - self.shift) - self.error


def centre(x: tf.Tensor, mask: tf.Tensor | None, axes: list[int]) -> Centre:
    """The moments of `x` over `axes`, by the shifted formula.

        d = x - shift      error = mean(d)      variance = mean(d**2) - error**2

    Without a mask the shift is the mean of the first part of the batch, f = 1/SAMPLE of it or more. By Cauchy and Schwarz that is no further from the mean
    than sqrt(1/f - 1) standard deviations, whatever the data, so that the subtraction costs at most 1/f in relative precision, and two sums over the
    inputs are enough where the mean, what that is off, and the variance take three. With a mask the shift is the mean itself.

    Args:
        x: float32 or float64.
        mask: bool, the shape of `x` with size 1 for the channels, or None.
        axes: which to reduce.
    """
    if mask is None:
        count = tf.cast(tf.reduce_prod(tf.gather(tf.shape(x), axes)), x.dtype)
        sample = x[: (tf.shape(x)[0] + SAMPLE - 1) // SAMPLE] if 0 in axes else x
        sampled = tf.cast(tf.reduce_prod(tf.gather(tf.shape(sample), axes)), x.dtype)
        # The first value of each channel, or 0 without any: what the others differ from it adds up without rounding away.
        start = tf.reduce_sum(sample[tuple(slice(1 if axis in axes else None) for axis in range(x.shape.rank))], axes, keepdims=True)
        shift = start + total(sample - start, axes) / tf.maximum(sampled, 1)
    else:
        count = tf.reduce_sum(tf.cast(mask, x.dtype), axes, keepdims=True)
        shift = total(masked(x, mask), axes) / tf.maximum(count, 1)
    shift = tf.stop_gradient(shift)
    deviation = masked(x - shift, mask)
    values = tf.maximum(count, 1)
    error = total(deviation, axes) / values
    variance = tf.maximum(total(tf.square(deviation), axes) / values - tf.square(error), 0)
    return Centre(count, shift, error, variance)


def masked(x: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
    """`x` with 0 wherever the mask is False, whatever stood there."""
    return x if mask is None else tf.where(mask, x, tf.zeros([], x.dtype))


def total(x: tf.Tensor, axes: list[int]) -> tf.Tensor:
    """The sum over `axes`, kept with size 1.

    Where one axis of three and more is left, it is made in two stages, rows that lie far apart first: XLA's CPU compiler makes of a one-stage sum a loop over
    single values, of this one a loop over neighbours. A matrix mostly fits into the cache, where that does not matter.
    """
    kept = [axis for axis in range(x.shape.rank) if axis not in axes]
    if x.shape.rank < 3 or len(kept) != 1 or kept == [0]:
        return tf.reduce_sum(x, axes, keepdims=True)
    shape = tf.shape(x)
    channels, behind = shape[kept[0]], tf.reduce_prod(shape[kept[0] + 1 :])
    rows = tf.reshape(x, [-1, channels * behind])
    whole = tf.shape(rows)[0] // STAGE * STAGE
    staged = tf.reduce_sum(tf.reshape(rows[:whole], [STAGE, whole // STAGE * channels * behind]), 0)
    summed = sum(tf.reduce_sum(tf.reshape(part, [-1, channels, behind]), [0, 2]) for part in (staged, rows[whole:]))
    return tf.reshape(summed, [-1 if axis in kept else 1 for axis in range(x.shape.rank)])


def expression(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, mask: tf.Tensor | None, axes: list[int], epsilon: float, merge: Callable | None = None):
    """(y, centre) in operations that TensorFlow can differentiate any number of times.

    Args:
        x: float32 or float64.
        gamma, beta: broadcast against `x`.
        mask, axes: as of `centre`.
        epsilon: added to the variance.
        merge: function of this replica's `Centre` that returns all replicas', or None.
    """
    where = centre(x, mask, axes)
    if merge is not None:
        where = merge(where)
    return where.centred(x) * (gamma * tf.math.rsqrt(where.variance + epsilon)) + beta, where


def backward(x: tf.Tensor, gamma: tf.Tensor, dy: tf.Tensor, where: Centre, mask: tf.Tensor | None, axes: list[int], epsilon: float):
    """The gradient of `expression` by hand: two sums and one pass, where automatic differentiation takes one a step.

        xc = x - mean        r = 1 / sqrt(variance + epsilon)
        dx = gamma * r * (dy - (sum(dy) + xc * r**2 * sum(dy * xc)) / N)           without the second term where masked
        dgamma = r * sum(dy * xc)
        dbeta = sum(dy)

    Source: Ioffe & Szegedy 2015, sec. 3, the chain rule's equations put together.
    """
    xc, r = where.centred(x), tf.math.rsqrt(where.variance + epsilon)
    sum_dy, sum_dy_xc = total(dy, axes), total(dy * xc, axes)
    through_moments = masked((sum_dy + xc * (tf.square(r) * sum_dy_xc)) / tf.maximum(where.count, 1), mask)
    # gamma and beta are shared by all that is normalised apart.
    shared = [place for place, size in enumerate(gamma.shape) if size == 1]
    return gamma * r * (dy - through_moments), *(tf.reduce_sum(value, shared, keepdims=True) for value in (r * sum_dy_xc, sum_dy))
