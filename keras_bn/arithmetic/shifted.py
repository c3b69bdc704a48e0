"""Moments from deviations to a value near the mean: right for every dtype, rank, axis, mask and compiler.

Index convention: `axes` are the reduced ones. Statistics broadcast against the inputs: where the last axis alone is left they are (C,), else they keep the
reduced axes with size 1.
"""

from typing import NamedTuple

import tensorflow as tf

from keras_bn.arithmetic.axes import along, are_kept, size
from keras_bn.arithmetic.masks import masked

SAMPLE = 64  # The shift is the mean of at least this part of the batch.
STAGE = 8  # Rows that the first stage of a sum adds at a time.


class Centre(NamedTuple):
    """Where the inputs lie. The mean is shift + error, kept in two parts: their sum is rounded, their differences to the inputs are not.

    count: values a channel, at least 0; variance: with divisor `count`; both 0 without any value. All have the inputs' dtype.
    """

    count: tf.Tensor
    shift: tf.Tensor
    error: tf.Tensor
    variance: tf.Tensor

    @property
    def mean(self):
        return self.shift + self.error

    def deviations(self, x):
        return (x - self.shift) - self.error

    def deviation_from(self, value):
        """The mean less a value that is near, without the rounding of the mean."""
        return (self.shift - value) + self.error


def centre(x: tf.Tensor, mask: tf.Tensor | None, axes: list[int], few_operations: bool = False) -> Centre:
    """The moments of `x` over `axes`.

        d = x - shift      error = mean(d)      variance = mean(d**2) - error**2

    The shift is the mean of the first part of the batch, f = 1/SAMPLE of it or more. By Cauchy and Schwarz it is no further from the mean than
    sqrt(1/f - 1) standard deviations, whatever the data. So the subtraction costs at most 1/f in relative precision, and two sums over the inputs are enough.

    With a mask, or in few operations, the shift is the mean of all, and variance = mean((d - error)**2): one sum more.

    Args:
        x: float32 or float64.
        mask: bool, the shape of `x` with size 1 for the channels, or None.
        axes: which to reduce.
        few_operations: whether it is for a graph that others read.
    """
    count = size(x, axes, x.dtype) if mask is None else plain_total(tf.cast(mask, x.dtype), axes)
    values = tf.maximum(count, 1)
    if mask is not None or few_operations:
        add = total_by_axes if few_operations else total
        shift = tf.stop_gradient(add(masked(x, mask), axes) / values)
        error = add(masked(x - shift, mask), axes) / values
        variance = add(tf.square(masked((x - shift) - error, mask)), axes) / values
        return Centre(count, shift, error, variance)
    sample = x[: (tf.shape(x)[0] + SAMPLE - 1) // SAMPLE] if 0 in axes else x
    # The first value of each channel, or 0 without any: the differences of the others to it add up without rounding away.
    start = plain_total(sample[tuple(slice(1 if axis in axes else None) for axis in range(x.shape.rank))], axes)
    shift = tf.stop_gradient(start + total(sample - start, axes) / tf.maximum(size(sample, axes, x.dtype), 1))
    deviation = x - shift
    error = total(deviation, axes) / values
    squared = total(tf.square(deviation), axes) / values
    # Squares of values around 1e20 are infinite; the difference of two infinities would be NaN.
    variance = tf.where(tf.math.is_inf(squared), squared, tf.maximum(squared - tf.square(error), 0))
    return Centre(count, shift, error, variance)


def plain_total(x: tf.Tensor, axes: list[int]) -> tf.Tensor:
    """The sum over `axes`, in one operation."""
    return tf.reduce_sum(x, axes, keepdims=are_kept(axes, x))


def total_by_axes(x: tf.Tensor, axes: list[int]) -> tf.Tensor:
    """The sum over `axes`, that over the examples last: one value after the other, a sum of a million values is off by up to 1e-3 of itself."""
    if axes[:1] != [0] or len(axes) == 1:
        return plain_total(x, axes)
    behind = tf.reduce_sum(x, axes[1:], keepdims=True)
    return plain_total(behind, axes)


def total(x: tf.Tensor, axes: list[int]) -> tf.Tensor:
    """The sum over `axes`, in the form that XLA compiles well.

    Where one axis of three and more is left, it is made in two stages, rows that lie far apart first: XLA's CPU compiler makes of a one-stage sum a loop over
    single values, of this one a loop over neighbours. A matrix mostly fits into the cache, where that does not matter.
    """
    channel_axes = [axis for axis in range(x.shape.rank) if axis not in axes]
    if x.shape.rank < 3 or len(channel_axes) != 1 or channel_axes == [0]:
        return plain_total(x, axes)
    shape = tf.shape(x)
    channels, behind = shape[channel_axes[0]], tf.reduce_prod(shape[channel_axes[0] + 1 :])
    rows = tf.reshape(x, [-1, channels * behind])
    whole = tf.shape(rows)[0] // STAGE * STAGE
    staged = tf.reduce_sum(tf.reshape(rows[:whole], [STAGE, whole // STAGE * channels * behind]), 0)
    summed = sum(tf.reduce_sum(tf.reshape(part, [-1, channels, behind]), [0, 2]) for part in (staged, rows[whole:]))
    return along(summed, x, channel_axes[0])
