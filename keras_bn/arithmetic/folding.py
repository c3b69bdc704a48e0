"""Batch normalisation in inference as a part of the linear layer before it."""

import tensorflow as tf


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
