"""What the moving statistics follow: plain averages, sample variances, virtual batches, renormalisation; and their reset."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bn
import reference


def batches(inputs, rng, sizes=(8, 3, 20), shape=(5, 4)):
    return [inputs((size, *shape)) + rng.normal() for size in sizes]


def test_without_momentum_they_are_the_average_of_all_batches(inputs, rng, execution):
    layer = keras_bn.BatchNormalization(momentum=None)
    layer.build((None, 5, 4))
    train = execution(lambda x: layer(x, training=True))
    trained_on = batches(inputs, rng)
    for x in trained_on:
        train(tf.constant(x))
    np.testing.assert_allclose(layer.moving_mean, np.mean([reference.moments(x)[0] for x in trained_on], axis=0), rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, np.mean([reference.moments(x)[1] for x in trained_on], axis=0), rtol=1e-5)
    assert layer.batches.numpy() == 3
    layer(tf.zeros([0, 5, 4]), training=True)
    assert layer.batches.numpy() == 3


def test_the_count_exists_only_without_momentum():
    for momentum, expected in [(0.9, ["moving_mean", "moving_variance"]), (None, ["moving_mean", "moving_variance", "batches"])]:
        layer = keras_bn.BatchNormalization(momentum=momentum)
        layer.build((None, 4))
        assert [variable.name for variable in layer.non_trainable_variables] == expected


def test_unbiased_follows_the_sample_variance(inputs, rng, execution):
    layer = keras_bn.BatchNormalization(momentum=0.7, unbiased=True)
    x = inputs((6, 4))
    y = execution(lambda x: layer(x, training=True))(tf.constant(x))
    np.testing.assert_allclose(layer.moving_variance, 0.7 + 0.3 * np.var(x.astype("float64"), axis=0, ddof=1), rtol=1e-5)
    np.testing.assert_allclose(y, reference.batch_norm_training(x, 1, 0, -1, 1e-3), rtol=1e-4, atol=1e-5)  # Normalised by the biased one all the same.


@pytest.mark.parametrize(("masked", "unbiased"), [(False, False), (True, True)])
@pytest.mark.parametrize(("examples", "axis"), [(8, -1), (10, -1), (3, -1), (4, 1), (11, 1)])
def test_virtual_batches_are_normalised_apart(examples, axis, masked, unbiased, inputs, rng, execution):
    shape = (examples, 5, 6)
    layer = keras_bn.BatchNormalization(axis=axis, momentum=0.7, epsilon=0.1, virtual_batch_size=4, unbiased=unbiased)
    layer.build(shape)
    layer.gamma.assign(rng.normal(2, 1, shape[axis]))
    x, dy = inputs(shape, axis) + np.arange(examples).reshape(-1, 1, 1).astype("float32"), rng.normal(0.5, 1, shape)
    mask = rng.random(np.delete(shape, axis)) < 0.7 if masked else None

    def step(x, dy):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True, mask=mask)
        return y, tape.gradient(y, [x, *layer.trainable_variables], dy)

    y, (dx, dgamma, dbeta) = execution(step)(tf.constant(x), tf.constant(dy, tf.float32))
    groups = [slice(begin, min(begin + 4, examples)) for begin in range(0, examples, 4)]
    masks = [None if mask is None else mask[group] for group in groups]
    gamma = layer.gamma.numpy().astype("float64")
    expected = [reference.batch_norm_training(x[group], gamma, 0, axis, 0.1, part) for group, part in zip(groups, masks)]
    np.testing.assert_allclose(y, np.concatenate(expected), rtol=2e-5, atol=2e-5)
    each = [reference.moments(x[group], axis, part) for group, part in zip(groups, masks)]
    sizes = np.array([x[group].size // shape[axis] if part is None else part.sum() for group, part in zip(groups, masks)], float)
    variances = np.array([variance for _, variance in each])
    if unbiased:
        variances *= (sizes / (sizes - 1))[:, np.newaxis]
    share = sizes / sizes.sum()
    np.testing.assert_allclose(layer.moving_mean, 0.3 * share @ np.array([mean for mean, _ in each]), rtol=2e-5, atol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, 0.7 + 0.3 * share @ variances, rtol=2e-5)
    if not masked:
        gradients = [reference.batch_norm_training_gradient(x[group], gamma, dy[group], axis, 0.1) for group in groups]
        np.testing.assert_allclose(dx, np.concatenate([part[0] for part in gradients]), rtol=2e-5, atol=1e-4)
        np.testing.assert_allclose(dgamma, sum(part[1] for part in gradients), rtol=2e-5, atol=2e-4)
        np.testing.assert_allclose(dbeta, sum(part[2] for part in gradients), rtol=2e-5, atol=2e-4)


def test_virtual_batches_are_for_training_only(inputs):
    whole, apart = (keras_bn.BatchNormalization(virtual_batch_size=size) for size in (None, 2))
    x = inputs((7, 4))
    np.testing.assert_array_equal(whole(x, training=False), apart(x, training=False))


@pytest.mark.parametrize("arguments", [{}, {"momentum": None}])
def test_reset(arguments, inputs, rng, execution):
    layer = keras_bn.BatchNormalization(moving_mean_initializer=keras.initializers.Constant(3.0), moving_variance_initializer="ones", **arguments)
    train = execution(lambda x: layer(x, training=True))
    x = tf.constant(inputs((8, 4)))
    layer.build(x.shape)
    before = [variable.numpy() for variable in layer.variables]
    train(x)
    once = [variable.numpy() for variable in layer.variables]
    layer.reset_statistics()
    for variable, value in zip(layer.variables, before):
        np.testing.assert_array_equal(variable, value)
    train(x)
    for variable, value in zip(layer.variables, once):
        np.testing.assert_allclose(variable, value, rtol=1e-6)


renorm = pytest.mark.skipif(not hasattr(keras.layers.BatchNormalization(), "renorm"), reason="Keras has renorm from 3.14 on")
CLIPPING = {"rmin": 0.5, "rmax": 1.5, "dmax": 0.3}


@renorm
@pytest.mark.parametrize("clipping", [None, CLIPPING])
@pytest.mark.parametrize(("shape", "axis"), [((8, 4), -1), ((6, 4, 5, 3), 1)])
def test_renorm_is_keras_own(shape, axis, clipping, inputs, rng, execution):
    arguments = dict(axis=axis, momentum=0.8, epsilon=0.01, renorm=True, renorm_clipping=clipping, renorm_momentum=0.6)
    ours, theirs = keras_bn.BatchNormalization(**arguments), keras.layers.BatchNormalization(**arguments)
    for layer in (ours, theirs):
        layer.build(shape)
    ours.gamma.assign(rng.normal(2, 1, shape[axis]))
    ours.renorm_mean.assign(rng.normal(2, 1, shape[axis]))
    theirs.set_weights(ours.get_weights())

    def step(layer, x, dy):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        return y, tape.gradient(y, [x, *layer.trainable_variables], dy)

    our_step = execution(lambda x, dy: step(ours, x, dy))
    for _ in range(2):
        x, dy = tf.constant(inputs(shape, axis)), tf.constant(rng.normal(0.5, 1, shape), tf.float32)
        (y, gradients), (expected, expected_gradients) = our_step(x, dy), step(theirs, x, dy)
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
        for gradient, wanted in zip(gradients, expected_gradients):
            np.testing.assert_allclose(gradient, wanted, rtol=1e-4, atol=2e-4)
        for our, their in zip(ours.variables, theirs.variables):
            np.testing.assert_allclose(our, their, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-4, atol=1e-4)


@renorm
def test_renorm_leaves_everything_alone_without_values(inputs):
    layer = keras_bn.BatchNormalization(renorm=True)
    layer(inputs((8, 4)), training=True)
    before = [variable.numpy() for variable in layer.variables]
    layer(inputs((8, 5, 4))[:, 0], training=True, mask=np.zeros(8, bool))
    for variable, value in zip(layer.variables, before):
        np.testing.assert_array_equal(variable, value)
