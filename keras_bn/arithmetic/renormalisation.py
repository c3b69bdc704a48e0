"""Batch renormalisation: a correction towards the moving statistics."""

import tensorflow as tf

from keras_bn.arithmetic.axes import along
from keras_bn.arithmetic.moments import Moments


def renormalised(
    normalised: tf.Tensor,
    gamma: tf.Tensor | None,
    beta: tf.Tensor | None,
    batch: Moments,
    renorm_mean: tf.Tensor,
    renorm_stddev: tf.Tensor,
    *,
    axis: int,
    epsilon: float,
    rmin: float | None = None,
    rmax: float | None = None,
    dmax: float | None = None,
) -> tf.Tensor:
    """Batch renormalisation of what was normalised by the batch's moments.

        s = max(renorm_stddev, sqrt(epsilon))
        r = clip(sqrt(variance + epsilon) / s, rmin, rmax)        d = clip((mean - renorm_mean) / s, -dmax, dmax)
        y = gamma * (normalised * r + d) + beta                   no gradient through r and d

    Args:
        normalised: (x - mean) / sqrt(variance + epsilon).
        gamma, beta: (C,), or None for 1 and 0.
        batch: `Moments`, those of x.
        renorm_mean, renorm_stddev: (C,), the statistics that the outputs are to follow.
        axis: the channel axis.
        epsilon: added to the variance.
        rmin, rmax, dmax: bounds of the corrections, or None.

    Returns:
        The shape and dtype of `normalised`.

    Source: Ioffe 2017, "Batch Renormalization", Alg. 1; the bounds' names and the lower bound of s as in Keras.

    Example:
        >>> moments_of_x = Moments(tf.constant(2.), mean=tf.constant([1.]), variance=tf.constant([4.]))
        >>> y = renormalised(tf.constant([[-1.], [1.]]), None, None, moments_of_x, tf.constant([0.]), tf.constant([1.]), axis=-1, epsilon=0.)
        >>> y.numpy().tolist()
        [[-1.0], [3.0]]
    """
    renorm_mean, s = tf.cast(renorm_mean, batch.mean.dtype), tf.maximum(tf.cast(renorm_stddev, batch.mean.dtype), epsilon**0.5)
    r, d = tf.sqrt(batch.variance + epsilon) / s, (batch.mean - renorm_mean) / s
    r = tf.where(tf.math.is_finite(r), r, tf.ones([], r.dtype))  # The variance of values around 1e20 is infinite; what is normalised by it is 0, and stays so.
    r = r if rmin is None else tf.maximum(r, rmin)
    r = r if rmax is None else tf.minimum(r, rmax)
    d = d if dmax is None else tf.clip_by_value(d, -dmax, dmax)
    scale, offset = tf.stop_gradient(r), tf.stop_gradient(d)
    if gamma is not None:
        gamma = tf.cast(gamma, scale.dtype)
        scale, offset = scale * gamma, offset * gamma
    if beta is not None:
        offset += tf.cast(beta, offset.dtype)
    return normalised * along(scale, normalised, axis) + along(offset, normalised, axis)
