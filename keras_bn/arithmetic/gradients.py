"""The first and the second derivative of batch normalisation, written by hand, and what they are attached to.

By hand the first takes two sums and one pass, where automatic differentiation takes one a step. The second is in plain operations that begin at the inputs, so
that whatever differentiates further (tapes, tf.gradients, forward mode, pfor) finds nothing but those.

Index convention: as in `shifted`. m[i] is 1 where position i counts and 0 elsewhere; N counts them.

    xc = x - mean        r = 1 / sqrt(variance + epsilon)        y = gamma * r * xc + beta
"""

from collections.abc import Callable

import tensorflow as tf

from keras_bn.arithmetic import shifted
from keras_bn.arithmetic.masks import masked


def first(xc, gamma, dy, count, variance, mask, axes: list[int], epsilon: float, add: Callable = shifted.total):
    """(dx, dgamma, dbeta) for the gradient `dy` of y.

        dx = gamma * r * (dy - m * (sum(dy) + xc * r**2 * sum(dy * xc)) / N)
        dgamma = r * sum(dy * xc)
        dbeta = sum(dy)

    Args:
        xc: x - mean, float32 or float64; dy: the same shape and dtype.
        gamma: broadcasts against `xc`.
        count, variance: of `shifted.Centre`.
        mask, axes: as of `shifted.centre`.
        epsilon: added to the variance.
        add: sums, one of those in `shifted`.

    Source: Ioffe & Szegedy 2015, sec. 3, the chain rule's equations put together.
    """
    r, values = tf.math.rsqrt(variance + epsilon), tf.maximum(count, 1)
    sum_dy, sum_dy_xc = add(dy, axes), add(dy * xc, axes)
    through_moments = masked(sum_dy / values + xc * (tf.square(r) * sum_dy_xc / values), mask)
    return gamma * r * (dy - through_moments), *(_shared(value, gamma) for value in (r * sum_dy_xc, sum_dy))


def second(x, gamma, dy, cotangents, mask, axes: list[int], epsilon: float):
    """The gradients to (x, gamma, dy) of what `first` returns, for gradients `cotangents` = (u, a, b) of (dx, dgamma, dbeta); None is 0.

        S = sum(dy)        T = sum(dy * xc)        P = sum(m * u)        R = sum(m * u * xc)        Q = sum(u * dy)
        L = gamma * r * (Q - S * P / N - r**2 * T * R / N) + a * r * T + b * S                the sum of (dx, dgamma, dbeta) times (u, a, b)
        dL/dgamma = r * (Q - S * P / N - r**2 * T * R / N)
        dL/ddy = gamma * r * (u - P / N - r**2 * R * xc / N) + a * r * xc + b
        dL/dr = gamma * (Q - S * P / N - 3 * r**2 * T * R / N) + a * T
        e = (a * r - gamma * r**3 * R / N) * dy - gamma * r**3 * T / N * m * u                dL/dxc at a fixed r
        dL/dx = e - m * (sum(e) + r**3 * dL/dr * xc) / N

    Args:
        x, dy: inputs and the gradient of the outputs, float32 or float64.
        gamma, mask, axes, epsilon: as of `first`.

    Source: `first`, differentiated by hand; with r**3 / N * xc the derivative of -r by x.
    """
    u, a, b = (tf.zeros_like(like) if value is None else value for value, like in zip(cotangents, (x, gamma, gamma)))
    centre = shifted.centre(x, mask, axes)
    xc, r, n = centre.deviations(x), tf.math.rsqrt(centre.variance + epsilon), tf.maximum(centre.count, 1)
    counted = masked(u, mask)
    s, t, p, q, rr = (shifted.total(value, axes) for value in (dy, dy * xc, counted, u * dy, counted * xc))
    cross = tf.square(r) * t * rr / n
    by_gamma = r * (q - s * p / n - cross)
    by_dy = gamma * r * (u - p / n - tf.square(r) * rr / n * xc) + a * r * xc + b
    by_r = gamma * (q - s * p / n - 3 * cross) + a * t
    by_xc = (a * r - gamma * r**3 * rr / n) * dy - gamma * r**3 * t / n * counted
    by_x = by_xc - masked((shifted.total(by_xc, axes) + r**3 * by_r * xc) / n, mask)
    return by_x, _shared(by_gamma, gamma), by_dy


def attached(forward: Callable, backward: Callable, x, gamma, beta, mask, axes: list[int], epsilon: float):
    """What `forward` returns, with derivatives of every order to x, gamma and beta.

    Args:
        forward: function of (x, gamma, beta, mask), returning (y, statistics, saved): a tensor, tensors that get no gradient, and a list of tensors.
        backward: function of (gamma, dy, saved, mask), returning (dx, dgamma, dbeta).
        x: any floating dtype; y and dx have it, too.
        gamma, beta: broadcast against `x`; float64 for float64 inputs, else float32.
        mask, axes, epsilon: as of `second`.

    Returns:
        (y, statistics).
    """
    masks = [] if mask is None else [mask]

    @tf.custom_gradient
    def computed(x, gamma, beta, *masks):
        y, statistics, saved = forward(x, gamma, beta, *(masks or [None]))
        # Otherwise second derivatives would backpropagate zeros through what made these.
        saved = [tf.stop_gradient(value) for value in saved]

        def gradient(dy, *_):
            @tf.custom_gradient
            def differentiated(x, gamma, dy, *saved_and_masks):
                saved, masks = saved_and_masks[: len(saved_and_masks) - mask_count], saved_and_masks[len(saved_and_masks) - mask_count :]

                def again(*cotangents):
                    inputs, cotangents = [tf.cast(value, gamma.dtype) for value in (x, dy)], [*cotangents]
                    cotangents[0] = None if cotangents[0] is None else tf.cast(cotangents[0], gamma.dtype)
                    by_x, by_gamma, by_dy = second(inputs[0], gamma, inputs[1], cotangents, *(masks or [None]), axes, epsilon)
                    return tf.cast(by_x, x.dtype), by_gamma, tf.cast(by_dy, dy.dtype), *(None for _ in saved_and_masks)

                return backward(gamma, dy, saved, *(masks or [None])), again

            # Everything is handed over, and as copies: the gradient may be built in a graph of its own, in which those of the forward pass are not.
            return *differentiated(*(tf.identity(value) for value in (x, gamma, dy, *saved, *masks))), *(None for _ in masks)

        return (y, *statistics), gradient

    mask_count = len(masks)
    y, *statistics = computed(x, gamma, beta, *masks)
    return y, statistics


def _shared(value, gamma):
    """The sum over those axes that `value` has but `gamma` has not, or with size 1: what is normalised apart shares gamma and beta."""
    lacking = value.shape.rank - gamma.shape.rank
    if lacking:
        value = tf.reduce_sum(value, list(range(lacking)))
    shared = [axis for axis, (size, needed) in enumerate(zip(value.shape, gamma.shape)) if needed == 1 and size != 1]
    return tf.reduce_sum(value, shared, keepdims=True) if shared else value
