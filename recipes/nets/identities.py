"""Equations that hold of one normalised layer for any numbers, checked on random ones: what their two sides differ by."""

import numpy as np
import tensorflow as tf

from keras_bn import functional

FEATURES, EXAMPLES, INPUTS, GAMMA = 5, 12, 7, 1.7
SCALES = 0.1, 10.0
EPSILONS = {"without epsilon": 0.0, "with epsilon 0.001": 1e-3}


def of_weights(seed):
    """By what scale and bias in front of batch normalisation change it, in float64, weights and inputs random with fan-in scaling.

    Returns:
        Dict, "scale/outputs/CASE", "scale/gradient/CASE" and "bias/gradient/CASE", CASE of EPSILONS, to a number: the largest difference of the outputs of
        W u and (a W) u, of the gradient with respect to (a W) times a from that of W (both relative to the largest entry), and the gradient with respect to a
        bias relative to that of W; the larger of a = 0.1 and 10.

    Source: Ioffe & Szegedy 2015, sec. 3.2 (bias), 3.3 (scale).
    """
    rng = np.random.default_rng(seed)
    u, w = rng.normal(0.5, 1, (EXAMPLES, INPUTS)), rng.normal(0, INPUTS**-0.5, (INPUTS, FEATURES))
    slope, bias = rng.normal(size=(EXAMPLES, FEATURES)), rng.normal(size=FEATURES)

    def computed(scale, epsilon):
        weights, biases = tf.constant(scale * w), tf.constant(bias)
        with tf.GradientTape() as tape:
            tape.watch([weights, biases])
            outputs = _normalised(tf.constant(u) @ weights + biases, epsilon)
            loss = tf.reduce_sum(slope * outputs)
        return outputs.numpy(), *(gradient.numpy() for gradient in tape.gradient(loss, [weights, biases]))

    found = {}
    for case, epsilon in EPSILONS.items():
        outputs, gradient, of_bias = computed(1.0, epsilon)
        scaled = [(scale, *computed(scale, epsilon)) for scale in SCALES]
        found[f"scale/outputs/{case}"] = max(_differ(other, outputs) for _, other, _, _ in scaled)
        found[f"scale/gradient/{case}"] = max(_differ(scale * other, gradient) for scale, _, other, _ in scaled)
        found[f"bias/gradient/{case}"] = abs(of_bias).max() / abs(gradient).max()
    return found


def of_a_bias(seed):
    """What a step of the bias changes in front of a normalisation by the batch's mean whose gradient does not pass through that mean, in float64.

    Returns:
        Dict, "bias/loss" (change of the loss by the step) and "bias/step" (change of the gradient behind it), both relative to before.

    Source: Ioffe & Szegedy 2015, sec. 2: x = u + b, normalised by x - E[x], the loss random in it.
    """
    rng = np.random.default_rng(seed)
    u, slope, target = rng.normal(0.5, 1, EXAMPLES), rng.normal(size=EXAMPLES), rng.normal(size=EXAMPLES)

    def computed(bias):
        with tf.GradientTape() as tape:
            tape.watch(bias)
            x = tf.constant(u) + bias
            loss = tf.reduce_sum((slope * (x - tf.stop_gradient(tf.reduce_mean(x))) - target) ** 2)
        return loss, tape.gradient(loss, bias)

    bias = tf.constant(rng.normal(), tf.float64)
    loss, gradient = computed(bias)
    later_loss, later_gradient = computed(bias - 0.1 * gradient)
    return {"bias/loss": float(abs(later_loss / loss - 1)), "bias/step": float(abs(later_gradient / gradient - 1))}


def theorems(seed):
    """By what the sides of theorems 4.1 and 4.2 differ, relative, summed over the channels of random y (m, features), without epsilon.

    The loss is a random quadratic form of the outputs.

    Returns:
        Dict, "theorem/4.1" (with 1 / m), "theorem/4.1 as printed" (with 1 / sqrt(m)) and "theorem/4.2" to a number.

    Source: Santurkar et al. 2018, sec. 4.
    """
    rng = np.random.default_rng(seed)
    y = tf.constant(rng.normal(2, 3, (EXAMPLES, FEATURES)))
    square, slope = rng.normal(size=(2 * EXAMPLES * FEATURES, EXAMPLES * FEATURES)), rng.normal(size=EXAMPLES * FEATURES)
    hessian = square.T @ square / len(square)

    def loss(z):
        flat = tf.reshape(z, [-1])
        return 0.5 * tf.tensordot(flat, tf.linalg.matvec(hessian, flat), 1) + tf.tensordot(flat, slope, 1)

    with tf.GradientTape() as outer:
        outer.watch(y)
        with tf.GradientTape() as inner:
            inner.watch(y)
            hat_loss = loss(_normalised(y, 0.0))
        hat_gradient = inner.gradient(hat_loss, y)
    hat_curvature = outer.jacobian(hat_gradient, y).numpy()
    z = _normalised(y, 0.0).numpy()
    gradient = (hessian @ z.ravel() + slope).reshape(z.shape)
    blocks = hessian.reshape(EXAMPLES, FEATURES, EXAMPLES, FEATURES)
    sides = {name: np.zeros(2) for name in ("4.1", "4.1 as printed", "4.2")}
    for channel in range(FEATURES):
        g, hat, unit, deviation = gradient[:, channel], hat_gradient.numpy()[:, channel], z[:, channel] / GAMMA, y.numpy()[:, channel].std()
        scale = GAMMA**2 / deviation**2
        for name, divisor in (("4.1", EXAMPLES), ("4.1 as printed", EXAMPLES**0.5)):
            sides[name] += hat @ hat, scale * (g @ g - g.sum() ** 2 / EXAMPLES - (g @ unit) ** 2 / divisor)
        curved = hat @ blocks[:, channel, :, channel] @ hat
        sides["4.2"] += hat @ hat_curvature[:, channel, :, channel] @ hat, scale * curved - GAMMA / (EXAMPLES * deviation**2) * (g @ unit) * (hat @ hat)
    return {f"theorem/{name}": abs(left / right - 1) for name, (left, right) in sides.items()}


def _normalised(y, epsilon):
    gamma, beta = tf.fill([FEATURES], tf.constant(GAMMA, tf.float64)), tf.zeros([FEATURES], tf.float64)
    return functional.batch_norm_training(y, gamma, beta, axis=-1, epsilon=epsilon)[0]


def _differ(one, other):
    """The largest difference, relative to the largest entry."""
    return abs(one - other).max() / abs(other).max()
