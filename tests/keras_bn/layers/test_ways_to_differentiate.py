"""Every way that TensorFlow offers to differentiate, through the layer, against the oracle's central differences."""

import numpy as np
import pytest
import tensorflow as tf

import keras_bn
import reference
from keras_bn.arithmetic import fused

SHAPE = (6, 5, 3)


@pytest.fixture(params=["operations", "kernel"])
def layer(request, monkeypatch):
    if request.param == "kernel":
        monkeypatch.setattr(fused, "SMALL", -1)
    layer = keras_bn.BatchNormalization(epsilon=0.1)
    layer.build(SHAPE)
    return layer


def hessian(x, w, step=1e-5):
    """Of sum(w * y**3), by central differences of the oracle's gradient: (values, values)."""

    def gradient(x):
        dy = 3 * w * reference.batch_norm_training(x, 1, 0, -1, 0.1) ** 2
        return reference.batch_norm_training_gradient(x, 1, dy, -1, 0.1)[0].reshape(-1)

    units = np.eye(x.size).reshape(-1, *x.shape)
    return np.stack([(gradient(x + step * unit) - gradient(x - step * unit)) / (2 * step) for unit in units], axis=1)


@pytest.fixture
def problem(inputs, rng):
    x, w = inputs(SHAPE), rng.normal(size=SHAPE)
    return tf.constant(x), tf.constant(w, tf.float32), hessian(x.astype("float64"), w)


def first_gradient(layer, x, w):
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(w * layer(x, training=True) ** 3)
    return tape.gradient(loss, x)


def jacobian_of_gradient(layer, x, w, pfor):
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(x)
        gradient = first_gradient(layer, x, w)
    return outer.jacobian(gradient, [x, layer.gamma.value], experimental_use_pfor=pfor)


@pytest.mark.parametrize("pfor", [True, False])
@pytest.mark.parametrize("wrap", [lambda function: function, tf.function], ids=["eager", "function"])
def test_jacobian_of_a_gradient(layer, problem, wrap, pfor):
    x, w, expected = problem
    by_x, by_gamma = wrap(lambda x, w: jacobian_of_gradient(layer, x, w, pfor))(x, w)
    np.testing.assert_allclose(np.reshape(by_x, expected.shape), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    # The loss is of the third degree in gamma, which is 1: each derivative by it is 3 times the share of its channel.
    ours = np.diagonal(np.reshape(by_gamma, (-1, 3, 3)), axis1=1, axis2=2)
    np.testing.assert_allclose(ours, 3 * np.reshape(first_gradient(layer, x, w), (-1, 3)), rtol=1e-4, atol=1e-4)


def test_functions_that_run_eagerly(layer, problem):
    x, w, expected = problem
    tf.config.run_functions_eagerly(True)
    try:
        by_x, _ = jacobian_of_gradient(layer, x, w, pfor=False)
    finally:
        tf.config.run_functions_eagerly(False)
    np.testing.assert_allclose(np.reshape(by_x, expected.shape), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_gradients_without_tapes(layer, problem, rng):
    x, w, expected = problem
    direction = rng.normal(size=SHAPE)

    @tf.function
    def product(x, w, direction):
        loss = tf.reduce_sum(w * layer(x, training=True) ** 3)
        gradient = tf.gradients(loss, x)[0]
        return tf.gradients(gradient, x, direction)[0]

    got = product(x, w, tf.constant(direction, tf.float32))
    along = expected @ direction.reshape(-1)
    np.testing.assert_allclose(np.reshape(got, -1), along, rtol=1e-4, atol=1e-4 * np.abs(along).max())


@pytest.mark.parametrize("wrap", [lambda function: function, tf.function], ids=["eager", "function"])
def test_a_function_that_was_traced_before_a_tape_began(layer, problem, rng, wrap):
    """Its gradient is made of its graph, which no tape saw."""
    x, w, expected = problem
    direction = rng.normal(size=SHAPE)
    gradient = tf.function(lambda x: first_gradient(layer, x, w))
    gradient(x)

    def product(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            dx = gradient(x)
        return tape.gradient(dx, x, tf.constant(direction, tf.float32))

    along = expected @ direction.reshape(-1)
    np.testing.assert_allclose(np.reshape(wrap(product)(x), -1), along, rtol=1e-4, atol=1e-4 * np.abs(along).max())


@pytest.mark.parametrize("wrap", [lambda function: function, tf.function], ids=["eager", "function"])
def test_forward_over_reverse(layer, problem, rng, wrap):
    x, w, expected = problem
    direction = rng.normal(size=SHAPE)

    def product(x):
        with tf.autodiff.ForwardAccumulator(x, tf.constant(direction, tf.float32)) as forward:
            dx = first_gradient(layer, x, w)
        return forward.jvp(dx)

    along = expected @ direction.reshape(-1)
    np.testing.assert_allclose(np.reshape(wrap(product)(x), -1), along, rtol=1e-4, atol=1e-4 * np.abs(along).max())


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("wrap", [lambda function: function, tf.function], ids=["eager", "function"])
def test_reverse_over_forward(layer, problem, rng, wrap, masked):
    x, w, expected = problem
    direction = rng.normal(size=SHAPE)
    mask = tf.ones(SHAPE[:2], tf.bool) if masked else None

    def product(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            with tf.autodiff.ForwardAccumulator(x, tf.constant(direction, tf.float32)) as forward:
                loss = tf.reduce_sum(w * layer(x, training=True, mask=mask) ** 3)
            slope = forward.jvp(loss)
        return tape.gradient(slope, x)

    along = expected @ direction.reshape(-1)
    np.testing.assert_allclose(np.reshape(wrap(product)(x), -1), along, rtol=1e-4, atol=1e-4 * np.abs(along).max())
