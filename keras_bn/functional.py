"""The arithmetic of batch normalisation: tensors in, tensors out.

Nothing here owns a variable, a layer, a file or a flag. Statistics are kept in at least float32 whatever the inputs are.

Index convention: C channels; the other axes of x, whatever their number, are reduced; N is the number of values of one channel.
"""

import tensorflow as tf

from keras_bn.training_form import centred, fused
from keras_bn.training_form.choice import FUSED, choose_path
from keras_bn.training_form.differentiable import differentiable
from keras_bn.training_form.moments import Moments, average_moments, merge_moments, sample_variance
from keras_bn.training_form.replicas import over_replicas

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

    The deviations are taken from a value near the mean, and what that is off is taken out after, so that the variance stays right when the mean is far
    larger than the standard deviation, where E[x**2] - E[x]**2 turns negative and a plain second pass is off by the square of the mean's rounding.
    Without any value, both are 0. Differentiable any number of times.

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
    where = centred.centre(tf.cast(x, _statistics_dtype(x)), _broadcastable(mask, x, axis), _all_but([axis], x))
    return _by_channel(where.count, where.mean, where.variance)


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
        path: "fused" or "centred", as `training_form.choice` says; None: chosen for what is being traced.

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
    gamma, beta = _gamma_and_beta(gamma, beta, x, axis)
    if path is None:
        path = choose_path(x.dtype, masked=mask is not None, grouped=virtual_batch_size is not None, synchronized=synchronized)
    if path == FUSED:
        return _fused(x, gamma, beta, axis, epsilon)

    mask = _broadcastable(mask, x, axis)
    inputs, gamma, beta = tf.cast(x, gamma.dtype), _along(gamma, x, axis), _along(beta, x, axis)
    if virtual_batch_size is not None:
        y, batch = _by_groups(inputs, gamma, beta, mask, range(x.shape.rank)[axis], epsilon, virtual_batch_size)
    elif synchronized:
        y, where = centred.expression(inputs, gamma, beta, mask, _all_but([axis], x), epsilon, merge=over_replicas)
        batch = [tf.stop_gradient(value) for value in (where.count, where.mean, where.variance)]
    else:
        y, batch = _centred(inputs, gamma, beta, mask, _all_but([axis], x), epsilon)
    if virtual_batch_size is None:
        batch = _by_channel(*batch)
    return tf.cast(y, x.dtype), batch


def batch_norm_inference(
    x: tf.Tensor,
    gamma: tf.Tensor | None,
    beta: tf.Tensor | None,
    mean: tf.Tensor,
    variance: tf.Tensor,
    *,
    axis: int,
    epsilon: float,
    path: str | None = None,
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
        path: "fused" or "centred", as of `batch_norm_training`. Both are nodes that converters and the graph optimiser recognise and fold.

    Returns:
        y: the shape and dtype of `x`.

    Source: Ioffe & Szegedy 2015, Alg. 2, line 11.

    Example:
        >>> x = tf.constant([[1., 10.], [3., 50.]])
        >>> batch_norm_inference(x, None, None, [1., 0.], [4., 100.], axis=-1, epsilon=0.).numpy().tolist()
        [[0.0, 1.0], [1.0, 5.0]]
    """
    if path is None:
        path = choose_path(x.dtype)
    dtype = _statistics_dtype(x)
    # Of a matrix, and with the channels first, the kernel is no faster than the expression, or slower.
    if path == FUSED and x.shape.rank > 2 and range(x.shape.rank)[axis] == x.shape.rank - 1:
        return fused.inference(x, *_gamma_and_beta(gamma, beta, x, axis), tf.cast(mean, dtype), tf.cast(variance, dtype), epsilon)
    mean, variance, beta, gamma = (None if value is None else _along(tf.cast(value, dtype), x, axis) for value in (mean, variance, beta, gamma))
    return tf.cast(tf.nn.batch_normalization(tf.cast(x, dtype), mean, variance, beta, gamma, epsilon), x.dtype)


def lp_norm_training(
    x: tf.Tensor, gamma: tf.Tensor | None, beta: tf.Tensor | None, mask: tf.Tensor | None = None, *, p: float, axis: int, epsilon: float
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

    Returns:
        (y, batch): y of the shape and dtype of `x`; `batch`, `Moments` whose `variance` is the square of the measure.

    Source: as of `keras_bn.LpBatchNormalization`.

    Example:
        >>> x = tf.constant([[1.], [3.], [8.]])
        >>> y, batch = lp_norm_training(x, None, None, p=float("inf"), axis=-1, epsilon=0.)
        >>> y.numpy().tolist(), batch.mean.numpy().tolist(), batch.variance.numpy().tolist()
        ([[-0.75], [-0.25], [1.0]], [4.0], [16.0])
    """
    # The mean is taken twice, as deviations from a mean that is rounded have a mean, too.
    shift = tf.stop_gradient(moments(x, axis, mask).mean)
    deviation = tf.cast(x, shift.dtype) - _along(shift, x, axis)
    count, error, variance = moments(deviation, axis, mask)
    deviation -= _along(error, x, axis)
    if p == 1:
        squared = tf.square(moments(tf.abs(deviation), axis, mask).mean)
    elif p == 2:
        squared = variance
    else:
        counted = centred.masked(deviation, _broadcastable(mask, x, axis))
        squared = tf.square(tf.maximum(tf.reduce_max(tf.abs(counted), _all_but([axis], x)), 0))  # Without any value the largest is -inf.
    factor = tf.math.rsqrt(squared + epsilon)
    if gamma is not None:
        factor *= tf.cast(gamma, shift.dtype)
    y = deviation * _along(factor, x, axis)
    if beta is not None:
        y += _along(tf.cast(beta, shift.dtype), x, axis)
    return tf.cast(y, x.dtype), Moments(*(tf.stop_gradient(value) for value in (count, shift + error, squared)))


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
    return tf.where(count > 0, moving * momentum + value * (1.0 - momentum), moving)


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
    r = r if rmin is None else tf.maximum(r, rmin)
    r = r if rmax is None else tf.minimum(r, rmax)
    d = d if dmax is None else tf.clip_by_value(d, -dmax, dmax)
    scale, offset = tf.stop_gradient(r), tf.stop_gradient(d)
    if gamma is not None:
        scale, offset = scale * gamma, offset * gamma
    if beta is not None:
        offset += beta
    return normalised * _along(scale, normalised, axis) + _along(offset, normalised, axis)


def _statistics_dtype(x):
    return tf.float64 if x.dtype == tf.float64 else tf.float32


def _by_channel(count, mean, variance):
    """`Moments` of statistics that keep the reduced axes. A count has the channels' axis only where a mask counts them apart."""
    return Moments(tf.reshape(count, [] if count.shape.num_elements() == 1 else [-1]), tf.reshape(mean, [-1]), tf.reshape(variance, [-1]))


def _gamma_and_beta(gamma, beta, x, axis):
    """Both as (C,) in the dtype of the statistics, 1 and 0 where they are None."""
    channels, dtype = tf.shape(x)[axis], _statistics_dtype(x)
    gamma = tf.ones([channels], dtype) if gamma is None else tf.cast(gamma, dtype)
    return gamma, tf.zeros([channels], dtype) if beta is None else tf.cast(beta, dtype)


def _all_but(kept, x):
    kept = [range(x.shape.rank)[axis] for axis in kept]
    return [axis for axis in range(x.shape.rank) if axis not in kept]


def _along(vector, x, axis):
    """(C,), shaped so that it broadcasts along `axis` of `x`."""
    shape = [1] * x.shape.rank
    shape[axis] = -1
    return tf.reshape(vector, shape)


def _broadcastable(mask, x, axis):
    """The mask at the size of `x`, with size 1 for the channels; None stays None. One of Keras's own layers may count a channel's values apart."""
    if mask is None:
        return None
    mask = tf.convert_to_tensor(mask)
    if mask.shape.rank == x.shape.rank:
        # The channels keep the mask's size, 1 unless it counts them apart.
        place = range(x.shape.rank)[axis]
        return tf.broadcast_to(mask, tf.concat([tf.shape(x)[:place], tf.shape(mask)[place : place + 1], tf.shape(x)[place + 1 :]], 0))
    axis, shape = range(x.shape.rank)[axis], tf.shape(x)
    kept = _all_but([axis], x)
    if mask_fits(mask.shape, [x.shape[place] for place in kept]):
        return tf.expand_dims(tf.broadcast_to(mask, tf.gather(shape, kept)), axis)
    return tf.broadcast_to(mask[..., tf.newaxis], shape)


def mask_fits(mask_shape, shape):
    """Whether, as far as their static sizes say, a mask of the one shape broadcasts to the other."""
    pairs = zip(reversed(list(mask_shape)), reversed(list(shape)))
    return len(mask_shape) <= len(shape) and all(None in (size, needed) or size in (1, needed) for size, needed in pairs)


def _fused(x, gamma, beta, axis, epsilon):
    def expression(x, gamma, beta, _):
        inputs, gamma, beta = tf.cast(x, gamma.dtype), _along(gamma, x, axis), _along(beta, x, axis)
        y, _ = centred.expression(inputs, gamma, beta, None, _all_but([axis], x), epsilon)
        return tf.cast(y, x.dtype)

    y, batch = differentiable(
        forward=lambda x, gamma, beta, _: fused.batch_norm(x, gamma, beta, axis, epsilon),
        backward=lambda x, gamma, dy, saved, _: fused.gradient(gamma, dy, saved, axis, epsilon),
        expression=expression,
        x=x,
        gamma=gamma,
        beta=beta,
    )
    return y, Moments(*batch)


def _centred(x, gamma, beta, mask, axes, epsilon):
    """`centred.expression` with its gradient by hand; statistics keep the reduced axes."""

    def forward(x, gamma, beta, mask):
        y, where = centred.expression(x, gamma, beta, mask, axes, epsilon)
        return y, (where.count, where.mean, where.variance), where

    return differentiable(
        forward=forward,
        backward=lambda x, gamma, dy, where, mask: centred.backward(x, gamma, dy, where, mask, axes, epsilon),
        expression=lambda x, gamma, beta, mask: centred.expression(x, gamma, beta, mask, axes, epsilon)[0],
        x=x,
        gamma=gamma,
        beta=beta,
        mask=mask,
    )


def _by_groups(x, gamma, beta, mask, axis, epsilon, size):
    """As many groups of `size` examples as there are, and the rest."""
    examples = tf.shape(x)[0]
    whole = examples // size
    parts = [
        _groups(value, gamma, beta, values_mask, axis, epsilon, groups)
        for value, values_mask, groups in (
            (x[: whole * size], None if mask is None else mask[: whole * size], whole),
            (x[whole * size :], None if mask is None else mask[whole * size :], 1),
        )
    ]
    normalised, batches = zip(*parts)
    return tf.concat(normalised, 0), Moments(*(tf.concat(values, 0) for values in zip(*batches)))


def _groups(x, gamma, beta, mask, axis, epsilon, groups):
    """`x` in so many groups of equal size, each by its own moments."""

    def apart(value):
        members = tf.shape(value)[0] // tf.maximum(groups, 1)
        return tf.reshape(value, tf.concat([[groups, members], tf.shape(value)[1:]], 0))

    grouped = apart(x)
    y, (count, mean, variance) = _centred(
        grouped, gamma[tf.newaxis], beta[tf.newaxis], None if mask is None else apart(mask), _all_but([0, axis + 1], grouped), epsilon
    )
    batch = tf.broadcast_to(count, tf.shape(mean)), mean, variance
    return tf.reshape(y, tf.shape(x)), [tf.reshape(value, [groups, tf.shape(x)[axis]]) for value in batch]
