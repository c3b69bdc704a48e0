"""The arithmetic of batch normalisation: tensors in, tensors out.

Nothing here owns a variable, a layer, a file or a flag. Statistics are kept in at least float32 whatever the inputs are.

Index convention: C channels; the other axes of x, whatever their number, are reduced; N is the number of values of one channel.
"""

import tensorflow as tf

from keras_bn import keras_internals
from keras_bn.arithmetic import forms, fused, shared_functions, shifted
from keras_bn.arithmetic.axes import all_but, along, are_kept
from keras_bn.arithmetic.dispatch import FUSED, PLAIN, choose_path, has_kernel
from keras_bn.arithmetic.forms import statistics_dtype
from keras_bn.arithmetic.masks import broadcast, masked, without_nan
from keras_bn.arithmetic.masks import fits as mask_fits
from keras_bn.arithmetic.moments import Moments, average_moments, merge_moments, sample_variance
from keras_bn.arithmetic.replicas import over_replicas

__all__ = [
    "Moments",
    "average_moments",
    "batch_norm_inference",
    "batch_norm_training",
    "choose_path",
    "fold_batch_norm",
    "lp_norm_training",
    "mask_fits",
    "merge_moments",
    "moments",
    "moving_average",
    "renormalised",
    "sample_variance",
]


def moments(x: tf.Tensor, axis: int = -1, mask: tf.Tensor | None = None) -> Moments:
    """The mean and the variance of every channel of `x`.

        mean[c] = sum(x[..., c]) / N
        variance[c] = sum((x[..., c] - mean[c])**2) / N

    Deviations are taken from a value near the mean, whose error is subtracted afterwards. So the variance stays right when the mean is far larger than the
    standard deviation, where E[x**2] - E[x]**2 turns negative and a plain second pass is off by the square of the mean's rounding. Without any value, both
    are 0. Differentiable any number of times.

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
    mask = broadcast(mask, x, axis)
    centre = shifted.centre(tf.cast(x, statistics_dtype(x)), mask, all_but([axis], x))
    return Moments(*forms.by_channel((centre.count, centre.mean, centre.variance), _counts_apart(mask, axis)))


def batch_norm_training(
    x: tf.Tensor,
    gamma: tf.Tensor | None,
    beta: tf.Tensor | None,
    mask: tf.Tensor | None = None,
    *,
    axis: int,
    epsilon: float,
    virtual_batch_size: int | None = None,
    synchronized: bool = False,
    path: str | None = None,
    jit_compile: bool | None = None,
) -> tuple[tf.Tensor, Moments]:
    """Normalises `x` by its own moments: the training form.

        y = gamma * (x - mean) / sqrt(variance + epsilon) + beta

    The gradient of y runs through the mean and the variance; the moments that are returned have none. There are derivatives of every order.

    Args:
        x: floating, any rank from 1. Half precision is computed in float32, and stays half in memory where the kernel allows it.
        gamma: (C,), or None for 1.
        beta: (C,), or None for 0.
        mask: bool, broadcastable to the shape of `x` without its channel axis; False leaves a position out of the moments, not out of `y`. One that is not,
            but has the shape of `x` without its last axis, as Keras's layers pass it on, is taken as that.
        axis: the channel axis.
        epsilon: added to the variance.
        virtual_batch_size: so many examples (axis 0) at a time are normalised by their own moments, those that are left over, too. None: all together.
        synchronized: whether the moments are those of all replicas of the `tf.distribute` strategy around, by one all-reduce.
        path: "fused", "shifted" or "plain", as `arithmetic.dispatch` says; None: chosen for what is being traced.
        jit_compile: True: XLA compiles this form wherever it is called, anew for each shape. None: it is compiled as what is around it.

    Returns:
        (y, batch): y of the shape and dtype of `x`; `batch`, the `Moments` that it was normalised by; with `virtual_batch_size` those of every group, count,
        mean and variance (G, C), the last group that of the examples left over, of count 0 if there are none.

    Source: Ioffe & Szegedy 2015, Alg. 1; virtual batches: Hoffer et al. 2017, "Train longer, generalize better", Alg. 1.

    Example:
        >>> x = tf.constant([[1., 10.], [3., 50.]])
        >>> y, batch = batch_norm_training(x, gamma=None, beta=None, axis=-1, epsilon=0.)
        >>> y.numpy().tolist()
        [[-1.0, -1.0], [1.0, 1.0]]
    """
    if path is None:
        circumstances = dict(masked=mask is not None, grouped=virtual_batch_size is not None, synchronized=synchronized, jit_compile=bool(jit_compile))
        path = choose_path(x.dtype, **circumstances)
    mask = broadcast(mask, x, axis)
    x = without_nan(x, mask)
    options = dict(
        axis=axis,
        epsilon=epsilon,
        path=path,
        small=fused.is_small(x) if path == FUSED else None,
        counts_apart=synchronized or _counts_apart(mask, axis),
        virtual_batch_size=virtual_batch_size,
    )
    if synchronized:
        y, batch = forms.training(x, gamma, beta, mask, merge=over_replicas, **options)
    elif jit_compile or path != PLAIN:
        y, batch = shared_functions.call(forms.training, (x, gamma, beta, mask), jit_compile, **options)
    else:
        y, batch = forms.training(x, gamma, beta, mask, **options)
    return y, Moments(*(tf.stop_gradient(value) for value in batch))


def batch_norm_inference(
    x: tf.Tensor,
    gamma: tf.Tensor | None,
    beta: tf.Tensor | None,
    mean: tf.Tensor,
    variance: tf.Tensor,
    mask: tf.Tensor | None = None,
    *,
    axis: int,
    epsilon: float,
    path: str | None = None,
    jit_compile: bool | None = None,
) -> tf.Tensor:
    """Normalises `x` by given statistics: the inference form.

        y = gamma * (x - mean) / sqrt(variance + epsilon) + beta

    Args:
        x: floating, any rank from 1.
        gamma: (C,), or None for 1.
        beta: (C,), or None for 0.
        mean: (C,).
        variance: (C,), not negative.
        mask: as of `batch_norm_training`: NaN at positions that do not count reaches no gradient.
        axis: the channel axis.
        epsilon: added to the variance.
        path: "fused", TensorFlow's kernel for rank 4 with the channels last, or "plain", single operations; None: chosen. Converters and the graph optimiser
            fold both.
        jit_compile: as of `batch_norm_training`.

    Returns:
        y: the shape and dtype of `x`.

    Source: Ioffe & Szegedy 2015, Alg. 2, line 11.

    Example:
        >>> x = tf.constant([[1., 10.], [3., 50.]])
        >>> batch_norm_inference(x, None, None, [1., 0.], [4., 100.], axis=-1, epsilon=0.).numpy().tolist()
        [[0.0, 1.0], [1.0, 5.0]]
    """
    x = without_nan(x, broadcast(mask, x, axis))
    if path is None:
        path = FUSED if has_kernel(x.dtype, small=fused.is_small(x), jit_compile=bool(jit_compile)) else PLAIN
    # A reshape around the kernel, which takes four dimensions, would hide it from converters.
    if path == FUSED and x.shape.rank == 4 and axis in (-1, 3):
        dtype, channels = statistics_dtype(x), tf.shape(x)[axis]
        gamma = tf.ones([channels], dtype) if gamma is None else tf.cast(gamma, dtype)
        beta = tf.zeros([channels], dtype) if beta is None else tf.cast(beta, dtype)
        tensors = x, gamma, beta, tf.cast(mean, dtype), tf.cast(variance, dtype)
        if tf.executing_eagerly():
            return forms.inference_by_kernel(*tensors, epsilon=epsilon)
        if keras_internals.is_recorded():
            return shared_functions.call(forms.inference_by_kernel, tensors, epsilon=epsilon)
        return fused.inference(*tensors, epsilon)
    if jit_compile:
        tensors = (None if value is None else tf.convert_to_tensor(value) for value in (x, gamma, beta, mean, variance))
        return shared_functions.call(forms.inference, tuple(tensors), jit_compile, axis=axis, epsilon=epsilon)
    return forms.inference(x, gamma, beta, mean, variance, axis=axis, epsilon=epsilon)


def lp_norm_training(
    x: tf.Tensor,
    gamma: tf.Tensor | None,
    beta: tf.Tensor | None,
    mask: tf.Tensor | None = None,
    *,
    p: float,
    axis: int,
    epsilon: float,
    jit_compile: bool | None = None,
) -> tuple[tf.Tensor, Moments]:
    """Normalises `x` by its own mean and Lp measure: the training form.

        d = x - mean
        measure = mean(|d|),  sqrt(mean(d**2))  or  max(|d|)                   for p = 1, 2, inf
        y = gamma * d / sqrt(measure**2 + epsilon) + beta

    The gradient of y runs through the mean and the measure; what is returned of them has none. Where several |d| are the largest, they share its gradient.

    Args:
        x: floating, any rank from 1. Half precision is computed in float32.
        gamma: (C,), or None for 1.
        beta: (C,), or None for 0.
        mask: bool, as of `batch_norm_training`; False leaves a position out of mean and measure, not out of `y`.
        p: 1, 2 or math.inf.
        axis: the channel axis.
        epsilon: added to the square of the measure.
        jit_compile: as of `batch_norm_training`.

    Returns:
        (y, batch): y of the shape and dtype of `x`; `batch`, `Moments` whose `variance` is the square of the measure.

    Source: as of `keras_bn.LpBatchNormalization`.

    Example:
        >>> x = tf.constant([[1.], [3.], [8.]])
        >>> y, batch = lp_norm_training(x, None, None, p=float("inf"), axis=-1, epsilon=0.)
        >>> y.numpy().tolist(), batch.mean.numpy().tolist(), batch.variance.numpy().tolist()
        ([[-0.75], [-0.25], [1.0]], [4.0], [16.0])
    """
    mask = broadcast(mask, x, axis)
    x = without_nan(x, mask)
    options = dict(p=p, axis=axis, epsilon=epsilon, counts_apart=_counts_apart(mask, axis))
    if jit_compile:
        y, batch = shared_functions.call(_lp_form, (x, gamma, beta, mask), jit_compile, **options)
    else:
        y, batch = _lp_form(x, gamma, beta, mask, **options)
    return y, Moments(*(tf.stop_gradient(value) for value in batch))


def fold_batch_norm(
    kernel: tf.Tensor,
    bias: tf.Tensor | None,
    gamma: tf.Tensor | None,
    beta: tf.Tensor | None,
    mean: tf.Tensor,
    variance: tf.Tensor,
    *,
    epsilon: float,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The kernel and the bias of a layer that does what a linear layer followed by batch normalisation in inference does.

        factor = gamma / sqrt(variance + epsilon)
        kernel * factor,  beta + (bias - mean) * factor

    Args:
        kernel: (..., C), the output channels last; for others bring them there first.
        bias: (C,), or None for 0.
        gamma: (C,), or None for 1.
        beta: (C,), or None for 0.
        mean: (C,), the moving mean.
        variance: (C,), the moving variance.
        epsilon: added to the variance.

    Returns:
        (kernel, bias): of the shape of `kernel` and (C,).

    Source: Ioffe & Szegedy 2015, Alg. 2, line 11, put into W u + b.

    Example:
        >>> kernel, bias = fold_batch_norm(tf.ones([1, 2]), None, None, None, tf.constant([1., 2.]), tf.constant([4., 1.]), epsilon=0.)
        >>> kernel.numpy().tolist(), bias.numpy().tolist()
        ([[0.5, 1.0]], [-0.5, -2.0])
    """
    factor = tf.math.rsqrt(variance + epsilon)
    if gamma is not None:
        factor *= gamma
    folded = -mean * factor if bias is None else (bias - mean) * factor
    return kernel * factor, folded if beta is None else folded + beta


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


def _lp_form(x, gamma, beta, mask, *, p, axis, epsilon, counts_apart):
    """`lp_norm_training`, its mask of the rank of `x`."""
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
    return tf.cast(y, x.dtype), forms.by_channel((centre.count, centre.mean, squared), counts_apart)


def _counts_apart(mask, axis):
    """Whether a mask of the inputs' rank counts the values of each channel apart."""
    return mask is not None and mask.shape[axis] != 1
