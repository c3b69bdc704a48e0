"""The layer in training loops that call it several times a step, or less often than it seems."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import config

import keras_bn
import reference


def test_gradient_checkpointing_gives_the_same_gradients(inputs, rng):
    x, dy = tf.constant(inputs((8, 6, 5, 4))), tf.constant(rng.normal(0.5, 1, (8, 6, 5, 4)), tf.float32)
    layers = [keras_bn.BatchNormalization(momentum=0.7) for _ in range(2)]
    for layer in layers:
        layer.build(x.shape)

    @tf.function
    def gradients():
        results = []
        for layer, form in zip(layers, (layers[0], tf.recompute_grad(lambda x: layers[1](x, training=True)))):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = form(x, training=True) if form is layers[0] else form(x)
            results.append(tape.gradient(y, [x, layer.gamma.value, layer.beta.value], dy))
        return results

    for one, other in zip(*gradients()):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    # What is computed twice is followed twice, as the docstring says.
    np.testing.assert_allclose(layers[1].moving_mean, (1 + 0.7) * layers[0].moving_mean, rtol=1e-5)


def test_shared_by_several_inputs_it_follows_each(inputs, execution):
    layer = keras_bn.BatchNormalization(momentum=0.7)
    layer.build((None, 4))
    xs = [inputs((8, 4)), inputs((5, 4)) + 2]
    ys = execution(lambda a, b: (layer(a, training=True), layer(b, training=True)))(*map(tf.constant, xs))
    mean, variance = np.zeros(4), np.ones(4)
    for x, y in zip(xs, ys):
        np.testing.assert_allclose(y, reference.batch_norm_training(x, 1, 0, -1, 1e-3), rtol=1e-4, atol=1e-4)
        mean, variance = (reference.moving_average(old, new, 0.7) for old, new in zip((mean, variance), reference.moments(x)))
    np.testing.assert_allclose(layer.moving_mean, mean, rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, variance, rtol=1e-5)


def network(**arguments):
    keras.utils.set_random_seed(5)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4), keras_bn.BatchNormalization(momentum=0.7), keras.layers.Dense(1)])
    model.compile(loss="mse", **arguments)
    return model


@pytest.mark.parametrize("jit_compile", [False, True])
def test_several_steps_an_execution_change_nothing(jit_compile, inputs):
    x, y = inputs((48, 6)), np.ones((48, 1))
    models = [network(optimizer="sgd", jit_compile=jit_compile, steps_per_execution=steps) for steps in (1, 3)]
    for model in models:
        model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    for one, other in zip(*(model.weights for model in models)):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_accumulated_gradients_update_the_statistics_every_batch(inputs):
    x = inputs((24, 6))
    model = network(optimizer=keras.optimizers.SGD(0.01, gradient_accumulation_steps=3), jit_compile=False)
    dense = model.layers[0].get_weights()
    model.fit(x, np.ones((24, 1)), batch_size=8, epochs=1, shuffle=False, verbose=0)
    mean, variance = np.zeros(4), np.ones(4)
    for batch in np.split(x, 3):  # Until the third batch no weight has moved.
        batch_mean, batch_variance = reference.moments(batch.astype("float64") @ dense[0] + dense[1])
        mean, variance = reference.moving_average(mean, batch_mean, 0.7), reference.moving_average(variance, batch_variance, 0.7)
    np.testing.assert_allclose(model.layers[1].moving_mean, mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.layers[1].moving_variance, variance, rtol=1e-4)


@pytest.fixture
def deterministic():
    tf.config.experimental.enable_op_determinism()
    yield
    config.disable_op_determinism()  # There is no public name for it.


def test_with_op_determinism_two_runs_are_the_same(deterministic, inputs, rng):
    x, dy = tf.constant(inputs((32, 8, 8, 16))), tf.constant(rng.normal(size=(32, 8, 8, 16)), tf.float32)
    layer = keras_bn.BatchNormalization()
    layer.build(x.shape)

    @tf.function
    def step(training):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=training)
        return y, tape.gradient(y, [x, layer.gamma.value], dy)

    for training in (True, False):
        layer.reset_statistics()
        once = tf.nest.flatten(step(training))
        layer.reset_statistics()
        for one, other in zip(once, tf.nest.flatten(step(training))):
            np.testing.assert_array_equal(one, other)
