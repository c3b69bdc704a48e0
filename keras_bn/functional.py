"""The arithmetic of batch normalisation: tensors in, tensors out.

Nothing here owns a variable, a layer, a file or a flag. Statistics are kept in at least float32 whatever the inputs are.

Index convention: C channels; the other axes of x, whatever their number, are reduced; N is the number of values of one channel.
"""

import tensorflow as tf

from keras_bn import keras_internals
from keras_bn.arithmetic import dispatch, forms, fused, lp_form, shared_functions, shifted
from keras_bn.arithmetic.axes import all_but
from keras_bn.arithmetic.dispatch import FUSED, PLAIN, choose_inference_path, choose_path
from keras_bn.arithmetic.folding import fold_batch_norm
from keras_bn.arithmetic.forms import statistics_dtype
from keras_bn.arithmetic.masks import broadcast, without_nan
from keras_bn.arithmetic.masks import fits as mask_fits
from keras_bn.arithmetic.moments import Moments, average_moments, merge_moments, moving_average, sample_variance
from keras_bn.arithmetic.renormalisation import renormalised
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
        path: "fused", "shifted" or "plain", as `arithmetic.dispatch` says; None: chosen for what is being traced. "fused" takes no mask, no virtual batches and
            no float64; `synchronized` takes "plain" only.
        jit_compile: True: XLA compiles this form wherever it is called, anew for each shape. None: it is compiled as what is around it.

    Returns:
        (y, batch): y of the shape and dtype of `x`; `batch`, the `Moments` that it was normalised by; with `virtual_batch_size` those of every group, count,
        mean and variance (G, C), the last group that of the examples left over, of count 0 if there are none.

    Raises:
        ValueError: a path that does not exist, or does not compute what is asked for.

    Source: Ioffe & Szegedy 2015, Alg. 1; virtual batches: Hoffer et al. 2017, "Train longer, generalize better", Alg. 1.

    Example:
        >>> x = tf.constant([[1., 10.], [3., 50.]])
        >>> y, batch = batch_norm_training(x, gamma=None, beta=None, axis=-1, epsilon=0.)
        >>> y.numpy().tolist()
        [[-1.0, -1.0], [1.0, 1.0]]
    """
    circumstances = dict(masked=mask is not None, grouped=virtual_batch_size is not None, synchronized=synchronized)
    if path is None:
        path = choose_path((x, gamma, beta), **circumstances, jit_compile=bool(jit_compile))
    else:
        dispatch.refuse_training(path, x.dtype, **circumstances)
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

    Raises:
        ValueError: a path that does not exist, or does not compute what is asked for.

    Source: Ioffe & Szegedy 2015, Alg. 2, line 11.

    Example:
        >>> x = tf.constant([[1., 10.], [3., 50.]])
        >>> batch_norm_inference(x, None, None, [1., 0.], [4., 100.], axis=-1, epsilon=0.).numpy().tolist()
        [[0.0, 1.0], [1.0, 5.0]]
    """
    x = without_nan(x, broadcast(mask, x, axis))
    if path is None:
        path = choose_inference_path((x, gamma, beta), axis, small=fused.is_small(x), jit_compile=bool(jit_compile))
    else:
        dispatch.refuse_inference(path, x, axis)
    if path == FUSED:
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
        y, batch = shared_functions.call(lp_form.training, (x, gamma, beta, mask), jit_compile, **options)
    else:
        y, batch = lp_form.training(x, gamma, beta, mask, **options)
    return y, Moments(*(tf.stop_gradient(value) for value in batch))


def _counts_apart(mask, axis):
    """Whether a mask of the inputs' rank counts the values of each channel apart."""
    return mask is not None and mask.shape[axis] != 1
