"""TensorFlow's fused kernel on CPUs, made right: biased variance, means far from 0, empty batches, any rank and axis; and operations where it is too slow.

The kernel, FusedBatchNormV3, keeps statistics in float32 and needs no float32 copy of half precision inputs. As it is, its variance has divisor N - 1; its
sums, one value after the other in float32, are off by up to 1e-3 of themselves for a million values a channel, and so is its mean; its variance by the square.

Index convention: as in `shifted`; `axis` is the channel axis.
"""

import functools

import tensorflow as tf

from keras_bn.arithmetic import gradients, shared_functions, shifted
from keras_bn.arithmetic.axes import all_but, along, flat

FAR = 8.0  # A mean that is further from 0 than this many standard deviations is subtracted before the kernel runs.
MANY = 2**20  # Of more values a channel than this, the kernel's variance is off by more than 5e-4 wherever they lie.
SMALL = 2**16  # Single operations on up to so many values take less time than the kernel, whose call alone takes 0.2 ms.
EXAMPLES = 1024  # More of them at a time are rare.


def is_small(x: tf.Tensor) -> bool | None:
    """Whether single operations are faster than the kernel; None if that is unknown until the graph runs, as the size of a batch often is.

    Where only the number of examples is unknown and each is tiny, they are taken for few: it costs more to ask in the graph than to be wrong now and then.
    """
    if x.shape.is_fully_defined():
        return x.shape.num_elements() <= SMALL
    example = x.shape[1:]
    return True if example.is_fully_defined() and example.num_elements() <= SMALL // EXAMPLES else None


def forward(x, gamma, beta, axis: int, epsilon: float, small: bool | None):
    """(y, (count, mean, variance), saved).

    Args:
        x: float32, float16 or bfloat16, any rank from 1.
        gamma, beta: float32, broadcast against `x`.
        axis: the channel axis.
        epsilon: added to the variance.
        small: of `is_small`.

    Returns:
        y: shape and dtype of `x`; count: scalar; mean, variance: like gamma, the latter with divisor `count`, both 0 without any value; all float32.
        saved: for `backward`: x, count, shift, error, variance, where (x - shift) - error is x - mean; and whether it is small, if the running
            graph decides.
    """
    size = tf.size(x)
    count = tf.cast(size // tf.size(gamma), tf.float32)

    def by_operations():
        # In float64, since that takes no time that shows for small inputs, and sums stay right if there are millions of tiny examples for once.
        inputs, values, axes = tf.cast(x, tf.float64), tf.maximum(tf.cast(count, tf.float64), 1), all_but([axis], x)
        mean = shifted.plain_total(inputs, axes) / values
        deviations = inputs - mean
        variance = tf.cast(shifted.plain_total(tf.square(deviations), axes) / values, tf.float32)
        shift = tf.cast(mean, tf.float32)
        y = tf.cast(deviations, tf.float32) * (gamma * tf.math.rsqrt(variance + epsilon)) + beta
        return tf.cast(y, x.dtype), shift, tf.cast(mean - tf.cast(shift, tf.float64), tf.float32), variance

    decision = [size <= SMALL] if small is None else []
    y, shift, error, variance = _by_size(*(decision or [small]), by_operations, _forward_by_kernel, (x, gamma, beta), axis, epsilon)
    return y, (count, shift + error, variance), [x, count, shift, error, variance, *decision]


def backward(gamma, dy, saved, axis: int, epsilon: float, small: bool | None):
    """(dx, dgamma, dbeta) of `forward`, for the gradient `dy` of its y."""
    x, count, shift, error, variance, *decision = saved

    def by_operations():
        xc = (tf.cast(x, tf.float32) - shift) - error
        axes = all_but([axis], x)
        dx, dgamma, dbeta = gradients.first(xc, gamma, tf.cast(dy, tf.float32), count, variance, None, axes, epsilon, add=shifted.plain_total)
        return tf.cast(dx, dy.dtype), dgamma, dbeta

    return _by_size(*(decision or [small]), by_operations, _backward_by_kernel, (dy, x, gamma, shift, error, variance), axis, epsilon)


def inference(x, gamma, beta, mean, variance, epsilon: float):
    """y of the shape and dtype of `x`, normalised by given statistics, all (C,) float32. `x` has rank 4 and its channels last.

    The graph optimiser merges the kernel into a convolution before it and a ReLU behind it, and converters fold it.
    """
    return tf.raw_ops.FusedBatchNormV3(x=x, scale=gamma, offset=beta, mean=mean, variance=variance, epsilon=epsilon, is_training=False).y


def _by_size(small, by_operations, by_kernel, tensors, axis, epsilon):
    """What the faster one returns. Where only the running graph knows, the kernel is in a function of its own, as all its operations take time unused."""
    if tf.is_tensor(small):
        in_a_function = functools.partial(shared_functions.call, by_kernel, tensors, inlined=False, axis=axis, epsilon=epsilon)
        return tf.cond(small, by_operations, in_a_function)
    return by_operations() if small else by_kernel(*tensors, axis=axis, epsilon=epsilon)


def _forward_by_kernel(x, gamma, beta, *, axis, epsilon):
    """(y, shift, error, variance). Where a channel's mean is FAR or there are MANY values, the moments are computed again, and those count."""
    x4, data_format = _in_four_dimensions(x, axis)
    nothing, vectors = tf.zeros([0]), (flat(gamma), flat(beta))
    once = tf.raw_ops.FusedBatchNormV3(
        x=x4, scale=vectors[0], offset=vectors[1], mean=nothing, variance=nothing, epsilon=epsilon, data_format=data_format, is_training=True
    )
    # What it reserves for its gradient is the mean and the variance with divisor N; `batch_variance` has N - 1.
    mean, variance = once.reserve_space_1, once.reserve_space_2
    if not x.shape.num_elements():  # 0 or unknown: of no values TensorFlow's own kernel, unlike oneDNN's, leaves them as the memory was.
        mean, variance = (tf.where(tf.size(x) > 0, moment, 0.0) for moment in (mean, variance))
    far = tf.square(mean) > FAR**2 * (variance + epsilon)
    again = tf.reduce_any(far)
    values = x.shape.num_elements()
    if values is None or values > MANY:
        again |= tf.size(x) // tf.size(gamma) > MANY
    y, *statistics = tf.cond(
        again,
        lambda: shared_functions.call(_again, (x4, *vectors, far), inlined=False, data_format=data_format, epsilon=epsilon),
        lambda: (once.y, tf.zeros_like(mean), mean, variance),
    )
    return _restored(y, x, axis), *(along(value, x, axis) for value in statistics)


def _again(x4, gamma, beta, far, *, data_format, epsilon):
    """(y, shift, error, variance), by moments that are right wherever the inputs lie."""
    centre = shifted.centre(tf.cast(x4, tf.float32), None, [0, 1, 2] if data_format == "NHWC" else [0, 2, 3])
    shift, error, variance = (flat(value) for value in (tf.zeros_like(centre.mean), centre.mean, centre.variance))
    if x4.dtype == tf.float32:
        # From far channels only: from inputs that lie close together around it the mean is subtracted without rounding, from others it would not be.
        # Half precision overflows there, and need not be subtracted: the kernel subtracts in float32, which holds those inputs exactly.
        shift = tf.where(far, flat(centre.mean), 0.0)
        error = (flat(centre.shift) - shift) + flat(centre.error)
    y = tf.raw_ops.FusedBatchNormV3(
        x=_less(x4, shift, data_format),
        scale=gamma,
        offset=beta,
        mean=error,
        variance=variance,
        epsilon=epsilon,
        data_format=data_format,
        is_training=False,
    ).y
    return y, shift, error, variance


def _less(x4, shift, data_format):
    return x4 - tf.cast(shift if data_format == "NHWC" else tf.reshape(shift, [-1, 1, 1]), x4.dtype)


def _backward_by_kernel(dy, x, gamma, shift, error, variance, *, axis, epsilon):
    """(dx, dgamma, dbeta)."""
    (x4, data_format), shift = _in_four_dimensions(x, axis), flat(shift)
    base = tf.cond(tf.reduce_any(shift != 0), lambda: _less(x4, shift, data_format), lambda: x4)
    dx, dgamma, dbeta, *_ = tf.raw_ops.FusedBatchNormGradV3(
        y_backprop=_in_four_dimensions(dy, axis)[0],
        x=base,
        scale=flat(gamma),
        reserve_space_1=flat(error),
        reserve_space_2=flat(variance),
        reserve_space_3=tf.zeros([0]),
        epsilon=epsilon,
        data_format=data_format,
        is_training=True,
    )
    return _restored(dx, dy, axis), along(dgamma, x, axis), along(dbeta, x, axis)


def _in_four_dimensions(x, axis):
    """(x as the kernel takes it, its data format): what stands before and what stands after the channels is merged."""
    axis, shape = range(x.shape.rank)[axis], tf.shape(x)
    data_format = "NHWC" if axis == x.shape.rank - 1 else "NCHW"
    if _fits(x, axis):
        return x, data_format
    merged = [-1, 1, 1, shape[axis]] if data_format == "NHWC" else [tf.reduce_prod(shape[:axis]), shape[axis], -1, 1]
    return tf.reshape(x, merged), data_format


def _restored(x4, x, axis):
    restored = x4 if _fits(x, axis) else tf.reshape(x4, tf.shape(x))
    restored.set_shape(x.shape)
    return restored


def _fits(x, axis):
    return x.shape.rank == 4 and range(4)[axis] in (1, 3)
