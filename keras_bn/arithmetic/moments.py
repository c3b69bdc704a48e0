"""What a batch says about its channels, how parts of one make a whole, and how moving statistics follow it."""

from typing import NamedTuple

import tensorflow as tf


class Moments(NamedTuple):
    """Mean and variance of `count` values a channel.

    count: scalar, or (C,) where the channels differ in it; mean: (C,); variance: (C,), with divisor `count`. All are of one floating dtype.
    """

    count: tf.Tensor
    mean: tf.Tensor
    variance: tf.Tensor


def merge_moments(parts: Moments) -> Moments:
    """The moments of all parts together, from the moments of each.

        mean = sum(count * part's mean) / sum(count)
        variance = sum(count * (part's variance + (part's mean - mean)**2)) / sum(count)

    Args:
        parts: `Moments` with one more axis in front: count (P,) or (P, C), mean (P, C), variance (P, C). A part of count 0 does not count.

    Returns:
        `Moments`; without any value, mean and variance are 0.

    Source: Chan, Golub & LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample variances", for any number of parts.

    Example:
        >>> parts = Moments(tf.constant([1., 3.]), mean=tf.constant([[4.], [0.]]), variance=tf.constant([[0.], [1.]]))
        >>> [value.numpy().tolist() for value in merge_moments(parts)]
        [4.0, [1.0], [3.75]]
    """
    count, share = _shares(parts)
    mean = tf.reduce_sum(share * parts.mean, 0)
    # A sum of large means is rounded; what the parts differ from it is small, and so is the rounding of that.
    mean += tf.reduce_sum(share * (parts.mean - mean), 0)
    return Moments(count, mean, tf.reduce_sum(share * (parts.variance + tf.square(parts.mean - mean)), 0))


def average_moments(parts: Moments) -> Moments:
    """The mean of the parts' means and that of their variances, weighted by their counts: what differs between the parts is left out of the variance.

    Args:
        parts: as of `merge_moments`.

    Returns:
        `Moments`.

    Example:
        >>> parts = Moments(tf.constant([1., 3.]), mean=tf.constant([[4.], [0.]]), variance=tf.constant([[0.], [1.]]))
        >>> [value.numpy().tolist() for value in average_moments(parts)]
        [4.0, [1.0], [0.75]]
    """
    count, share = _shares(parts)
    return Moments(count, tf.reduce_sum(share * parts.mean, 0), tf.reduce_sum(share * parts.variance, 0))


def sample_variance(batch: Moments) -> tf.Tensor:
    """The variance with divisor N - 1; that with divisor N where there is one value only.

        variance * N / (N - 1)

    Args:
        batch: `Moments`, or those of parts with one more axis in front.

    Returns:
        The shape of `batch.variance`.

    Source: Ioffe & Szegedy 2015, Alg. 2, line 10.

    Example:
        >>> sample_variance(Moments(tf.constant(4.), tf.constant([0.]), tf.constant([3.]))).numpy().tolist()
        [4.0]
    """
    return batch.variance * _along_channels(batch.count / tf.maximum(batch.count - 1, 1), batch.variance)


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
    momentum = tf.cast(tf.convert_to_tensor(momentum, dtype_hint=moving.dtype), moving.dtype)
    share_kept = tf.where(count > 0, momentum, tf.ones([], moving.dtype))
    # A variance of values around 1e20 is infinite; no share of it is 0, where 0 times infinity would be NaN.
    return tf.math.multiply_no_nan(moving, share_kept) + tf.math.multiply_no_nan(value, 1.0 - share_kept)


def _shares(parts):
    count = tf.reduce_sum(parts.count, 0)
    return count, _along_channels(parts.count / tf.maximum(count, 1), parts.mean)


def _along_channels(count, values):
    return count[:, tf.newaxis] if values.shape.rank == 2 and count.shape.rank == 1 else count
