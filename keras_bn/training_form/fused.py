"""TensorFlow's fused kernel on CPUs, made right: biased variance, means far from 0, empty batches, any rank and axis.

The kernel, FusedBatchNormV3, keeps statistics in float32 and needs no float32 copy of half precision inputs. As it is, its variance has divisor N - 1; its
sums, one value after the other in float32, are off by up to 1e-3 of themselves for a million values a channel, and so is its mean; its variance by the square.
"""

import tensorflow as tf

from keras_bn.training_form import centred

FAR = 8.0  # A mean that is further from 0 than this many standard deviations is taken out.
MANY = 2**20  # Of more values a channel than this, the kernel's variance is off by more than 5e-4 wherever they lie.


def batch_norm(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, axis: int, epsilon: float):
    """(y, (count, mean, variance), saved).

    Where a channel's mean is found to be FAR, or there are MANY values, the moments are computed anew, by `centred.centre`, and the outcome of that counts.

    Args:
        x: float32, float16 or bfloat16, any rank from 1.
        gamma, beta: (C,), float32.
        axis: the channel axis.
        epsilon: added to the variance.

    Returns:
        y: shape and dtype of `x`; count: scalar; mean, variance: (C,), the latter with divisor `count`, both 0 without any value; all float32.
        saved: for `gradient`.
    """
    x4, data_format = _in_four_dimensions(x, axis)
    nothing = tf.zeros([0])
    first = tf.raw_ops.FusedBatchNormV3(
        x=x4, scale=gamma, offset=beta, mean=nothing, variance=nothing, epsilon=epsilon, data_format=data_format, is_training=True
    )
    # What it reserves for its gradient is the mean and the variance with divisor N; `batch_variance` has N - 1.
    mean, variance, reserved = first.reserve_space_1, first.reserve_space_2, first.reserve_space_3
    far = tf.square(mean) > FAR**2 * (variance + epsilon)
    count = tf.size(x) // tf.size(gamma)

    redone = tf.reduce_any(far) | (count > MANY)
    chosen = tf.cond(redone, lambda: _again(x4, gamma, beta, far, epsilon, data_format), lambda: (x4, tf.zeros_like(mean), first.y, mean, variance))
    # Who differentiates twice would have zeros sent back through all of that.
    used, shift, y, mean, variance = (tf.stop_gradient(value) for value in chosen)
    saved = used, mean, variance, reserved
    mean, variance = (tf.where(count > 0, value, 0.0) for value in (shift + mean, variance))
    return _restored(y, x, axis), (tf.cast(count, tf.float32), mean, variance), saved


# Not inlined, as it is rarely needed: else its operations, many times those of all the rest, would be in every graph to be optimised, once a layer.
@tf.function(autograph=False, experimental_attributes={"_noinline": True})
def _again(x4, gamma, beta, far, epsilon, data_format):
    """(inputs less a shift, the shift, y, the mean of those, their variance), by moments that are right wherever the inputs lie."""
    where = centred.centre(tf.cast(x4, tf.float32), None, [0, 1, 2] if data_format == "NHWC" else [0, 2, 3])
    # Of the far channels only: from inputs that lie close together around it a mean is taken without rounding, from others it would not be.
    shift = tf.where(tf.reshape(far, tf.shape(where.mean)), tf.cast(tf.cast(where.mean, x4.dtype), tf.float32), 0.0)
    less = x4 - tf.cast(shift, x4.dtype)
    left, variance = tf.reshape((where.shift - shift) + where.error, [-1]), tf.reshape(where.variance, [-1])
    y = tf.raw_ops.FusedBatchNormV3(
        x=less, scale=gamma, offset=beta, mean=left, variance=variance, epsilon=epsilon, data_format=data_format, is_training=False
    ).y
    return less, tf.reshape(shift, [-1]), y, left, variance


def gradient(gamma: tf.Tensor, dy: tf.Tensor, saved: tuple, axis: int, epsilon: float):
    """(dx, dgamma, dbeta) of `batch_norm`, for the gradient `dy` of its `y`."""
    used, *reserved = saved
    dy4, data_format = _in_four_dimensions(dy, axis)
    dx, dgamma, dbeta, *_ = tf.raw_ops.FusedBatchNormGradV3(
        y_backprop=dy4,
        x=used,
        scale=gamma,
        reserve_space_1=reserved[0],
        reserve_space_2=reserved[1],
        reserve_space_3=reserved[2],
        epsilon=epsilon,
        data_format=data_format,
        is_training=True,
    )
    return _restored(dx, dy, axis), dgamma, dbeta


def inference(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, mean: tf.Tensor, variance: tf.Tensor, epsilon: float) -> tf.Tensor:
    """y of the shape and dtype of `x`, channels last, normalised by statistics that are given, all (C,) float32.

    The graph optimiser merges the kernel into a convolution before it and a ReLU behind it. Its gradient is written in operations that have gradients
    themselves, which TensorFlow's own has not.
    """

    @tf.custom_gradient
    def computed(x, gamma, beta, mean, variance):
        def gradient(dy):
            axes, dtype = list(range(x.shape.rank - 1)), gamma.dtype
            r, dy_ = tf.math.rsqrt(variance + epsilon), tf.cast(dy, dtype)
            dbeta, sum_dy_xc = tf.reduce_sum(dy_, axes), tf.reduce_sum(dy_ * (tf.cast(x, dtype) - mean), axes)
            dx = dy * tf.cast(gamma * r, dy.dtype)
            return dx, r * sum_dy_xc, dbeta, -gamma * r * dbeta, -0.5 * gamma * r**3 * sum_dy_xc

        x4, data_format = _in_four_dimensions(x, -1)
        kernel = tf.raw_ops.FusedBatchNormV3(
            x=x4, scale=gamma, offset=beta, mean=mean, variance=variance, epsilon=epsilon, data_format=data_format, is_training=False
        )
        return _restored(kernel.y, x, -1), gradient

    return computed(x, gamma, beta, mean, variance)


def _in_four_dimensions(x, axis):
    """(x as the kernel takes it, its data format): what stands before and what stands after the channels is merged."""
    axis, shape = range(x.shape.rank)[axis], tf.shape(x)
    data_format = "NHWC" if axis == x.shape.rank - 1 else "NCHW"
    if _fits(x, axis):
        return x, data_format
    merged = [-1, 1, 1, shape[axis]] if data_format == "NHWC" else [tf.reduce_prod(shape[:axis]), shape[axis], -1, 1]
    return tf.reshape(x, merged), data_format


def _restored(x4, x, axis):
    return x4 if _fits(x, axis) else tf.reshape(x4, tf.shape(x))


def _fits(x, axis):
    """Whether the kernel takes `x` as it is; a reshape would hide it from the graph optimiser and converters, who look right behind a convolution."""
    return x.shape.rank == 4 and range(4)[axis] in (1, 3)
