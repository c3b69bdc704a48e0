"""Where Keras's layer is wrong and ours is right: the same checks of both. Keras 3.15 fails each; should a later one pass some, that is no failure here."""

import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bn
import reference
import workers

KINDS = {"keras_bn": keras_bn.BatchNormalization, "keras.layers": keras.layers.BatchNormalization}
SEEN_IN = "3.15."


@pytest.fixture(
    params=["keras_bn", pytest.param("keras.layers", marks=pytest.mark.xfail(strict=keras.__version__.startswith(SEEN_IN), reason="Keras's defect"))]
)
def module(request):
    return request.param


@pytest.fixture
def kind(module):
    return KINDS[module]


def test_a_mask_with_the_channels_first(kind, inputs, rng):
    x, mask = inputs((8, 1, 6), 1), rng.random((8, 6)) < 0.6
    y = kind(axis=1)(x, training=True, mask=tf.constant(mask))
    np.testing.assert_allclose(y, reference.batch_norm_training(x, 1, 0, 1, 1e-3, mask), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("empty", [False, True])
def test_a_batch_without_values(empty, kind, inputs):
    layer = kind(momentum=0.5)
    layer(inputs((16, 5, 3)), training=True)
    before = [variable.numpy() for variable in layer.non_trainable_variables]
    if empty:
        layer(np.zeros((0, 5, 3), "float32"), training=True)
    else:
        layer(inputs((4, 5, 3)), training=True, mask=tf.zeros([4, 5], tf.bool))
    for variable, value in zip(layer.non_trainable_variables, before):
        np.testing.assert_array_equal(variable, value)


@pytest.mark.parametrize("decision", [True, False])
def test_training_as_a_tensor(decision, kind, inputs):
    layer, x = kind(), inputs((8, 3))
    layer.build(x.shape)
    y = tf.function(lambda training: layer(x, training=training))(tf.constant(decision))
    expected = reference.batch_norm_training(x, 1, 0, -1, 1e-3) if decision else x / np.sqrt(1.001)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


def test_the_variance_far_from_zero(kind, rng):
    x = (rng.normal(size=(64, 32, 32, 4)) + 1e6).astype("float32")
    layer = kind(momentum=0.0)
    layer.build(x.shape)
    tf.function(lambda x: layer(x, training=True))(x)
    np.testing.assert_allclose(layer.moving_variance, reference.moments(x)[1], rtol=1e-2)


def test_replicas_that_see_other_data(kind, strategy):
    with strategy.scope():
        layer = kind(momentum=0.0)
        layer.build((None, 1))
    xs = strategy.experimental_distribute_values_from_function(lambda context: tf.constant([[0.0], [2.0]]) + 10.0 * context.replica_id_in_sync_group)
    tf.function(lambda xs: strategy.run(lambda x: layer(x, training=True), args=(xs,)))(xs)
    np.testing.assert_allclose(layer.moving_mean.numpy(), [6.0])


def test_workers_that_see_other_data(module):
    outcomes = workers.run(pathlib.Path(__file__).with_name("worker.py"), module)
    assert [json.loads(printed) for printed in outcomes] == [[7.0], [7.0]]
