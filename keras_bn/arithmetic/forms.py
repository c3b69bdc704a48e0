"""The training and the inference form, each computed on the path that `dispatch` chose.

Index convention: gamma, beta and statistics are (C,) outside; inside they broadcast against the inputs, as in `shifted`.
"""

from collections.abc import Callable

import tensorflow as tf

from keras_bn.arithmetic import fused, gradients, shifted
from keras_bn.arithmetic.axes import all_but, along, flat
from keras_bn.arithmetic.dispatch import FUSED, PLAIN


def statistics_dtype(x: tf.Tensor) -> tf.DType:
    """float64 for float64, float32 for all others."""
    return tf.float64 if x.dtype == tf.float64 else tf.float32


def training(
    x,
    gamma,
    beta,
    mask,
    *,
    axis: int,
    epsilon: float,
    path: str,
    small: bool | None = None,
    counts_apart: bool = False,
    virtual_batch_size: int | None = None,
    merge: Callable | None = None,
):
    """(y, (count, mean, variance)): `functional.batch_norm_training`, its mask of the rank of `x`, on a given path.

    Args:
        small: of `fused.is_small`.
        counts_apart: whether the count is (C,), as the channels differ in it, not a scalar.
        merge: function of this replica's `shifted.Centre` that returns all replicas', or None.
    """
    axis, dtype = range(x.shape.rank)[axis], statistics_dtype(x)
    channels = tf.shape(x)[axis]
    gamma = along(tf.ones([channels], dtype) if gamma is None else tf.cast(gamma, dtype), x, axis)
    beta = along(tf.zeros([channels], dtype) if beta is None else tf.cast(beta, dtype), x, axis)
    if path == FUSED:
        y, statistics = gradients.attached(
            forward=lambda x, gamma, beta, _: fused.forward(x, gamma, beta, axis, epsilon, small),
            backward=lambda gamma, dy, saved, _: fused.backward(gamma, dy, saved, axis, epsilon, small),
            x=x,
            gamma=gamma,
            beta=beta,
            mask=None,
            axes=all_but([axis], x),
            epsilon=epsilon,
        )
        return y, by_channel(statistics, counts_apart)
    inputs = tf.cast(x, dtype)
    if virtual_batch_size is not None:
        y, statistics = _by_groups(inputs, gamma, beta, mask, axis, epsilon, path, virtual_batch_size)
    else:
        y, statistics = _normalised(inputs, gamma, beta, mask, all_but([axis], x), epsilon, path, merge)
        statistics = by_channel(statistics, counts_apart)
    return tf.cast(y, x.dtype), statistics


def by_channel(statistics, counts_apart: bool):
    """(count, mean, variance) without the reduced axes."""
    count, mean, variance = statistics
    return tf.reshape(count, [-1] if counts_apart else []), flat(mean), flat(variance)


def inference_by_kernel(x, gamma, beta, mean, variance, *, epsilon: float):
    """y of the shape and dtype of `x`, which has rank 4 and its channels last; with derivatives of every order, which TensorFlow's own gradient has not."""

    @tf.custom_gradient
    def computed(x, gamma, beta, mean, variance):
        def gradient(dy):
            axes, dtype = list(range(x.shape.rank - 1)), gamma.dtype
            r, dy_cast = tf.math.rsqrt(variance + epsilon), tf.cast(dy, dtype)
            dbeta, sum_dy_xc = tf.reduce_sum(dy_cast, axes), tf.reduce_sum(dy_cast * (tf.cast(x, dtype) - mean), axes)
            return tf.cast(dy_cast * (gamma * r), dy.dtype), r * sum_dy_xc, dbeta, -gamma * r * dbeta, -0.5 * gamma * r**3 * sum_dy_xc

        return fused.inference(x, gamma, beta, mean, variance, epsilon), gradient

    return computed(x, gamma, beta, mean, variance)


def inference(x, gamma, beta, mean, variance, *, axis: int, epsilon: float):
    """`functional.batch_norm_inference` in single operations, with gamma and beta of (C,) or None.

    The mean is subtracted first: gamma * r * x + (beta - gamma * mean * r) is an operation less, but cancels where the mean is far from 0. Converters fold
    this form as well.
    """
    dtype = statistics_dtype(x)
    mean, factor = tf.cast(mean, dtype), tf.math.rsqrt(tf.cast(variance, dtype) + epsilon)
    if gamma is not None:
        factor *= tf.cast(gamma, dtype)
    # TFLite folds additions, but no subtractions, into a dense layer, and takes the sum with what is negated for one.
    y = (tf.cast(x, dtype) + along(-1.0 * mean, x, axis)) * along(factor, x, axis)
    if beta is not None:
        y += along(tf.cast(beta, dtype), x, axis)
    return tf.cast(y, x.dtype)


def _normalised(x, gamma, beta, mask, axes, epsilon, path, merge=None):
    def forward(x, gamma, beta, mask):
        centre = shifted.centre(x, mask, axes, few_operations=path == PLAIN)
        if merge is not None:
            centre = merge(centre)
        y = centre.deviations(x) * (gamma * tf.math.rsqrt(centre.variance + epsilon)) + beta
        return y, (centre.count, centre.mean, centre.variance), [x, *centre]

    def backward(gamma, dy, saved, mask):
        x, *centre = saved
        centre = shifted.Centre(*centre)
        return gradients.first(centre.deviations(x), gamma, dy, centre.count, centre.variance, mask, axes, epsilon)

    if path == PLAIN:
        y, statistics, _ = forward(x, gamma, beta, mask)
        return y, statistics
    return gradients.attached(forward, backward, x, gamma, beta, mask, axes, epsilon)


def _by_groups(x, gamma, beta, mask, axis, epsilon, path, size):
    """As many groups of `size` examples as there are, and the rest. Statistics are (G, C), those of the rest last."""
    shape = tf.shape(x)
    whole = shape[0] // size

    def groups_of(value):
        return tf.reshape(value[: whole * size], tf.concat([[whole, size], tf.shape(value)[1:]], 0))

    def rest_of(value):
        return value[whole * size :][tf.newaxis]  # No reshape: one to a size of 0, as that of no rest is, means another thing in ONNX.

    grouped = _of_groups(groups_of(x), gamma, beta, None if mask is None else groups_of(mask), axis + 1, epsilon, path)
    rest = _of_groups(rest_of(x), gamma, beta, None if mask is None else rest_of(mask), axis + 1, epsilon, path)
    y = tf.concat([tf.reshape(grouped[0], tf.concat([[whole * size], shape[1:]], 0)), rest[0][0]], 0)
    return y, [tf.concat(values, 0) for values in zip(grouped[1], rest[1])]


def _of_groups(x, gamma, beta, mask, axis, epsilon, path):
    """(y, [count, mean, variance]) of groups on the first axis, each normalised by its own moments."""
    gamma, beta = (along(flat(value), x, axis) for value in (gamma, beta))
    y, (count, mean, variance) = _normalised(x, gamma, beta, mask, all_but([0, axis], x), epsilon, path)
    shape = tf.gather(tf.shape(x), [0, axis])
    return y, [tf.reshape(value, shape) for value in (tf.broadcast_to(count, tf.shape(mean)), mean, variance)]
