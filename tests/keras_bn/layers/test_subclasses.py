"""Subclasses, as Keras's layer allows them: with fewer, more and other call arguments, and weights of their own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bn

KINDS = [keras_bn.BatchNormalization, keras_bn.NoisyBatchNormalization, keras_bn.LpBatchNormalization]


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_with_fewer_arguments(kind, inputs):
    class Frozen(kind):
        def call(self, inputs, training=None):
            return super().call(inputs, training=False)

    model = keras.Sequential([keras.Input((3,)), Frozen(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(inputs((8, 3)), np.zeros((8, 1)), verbose=0)
    np.testing.assert_array_equal(model.layers[0].moving_mean, np.zeros(3))


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_with_more_arguments(kind, inputs):
    class Shifted(kind):
        def call(self, inputs, offset, training=None, mask=None):
            return super().call(inputs, training=training, mask=mask) + offset

    x, offset = keras.Input((3,)), keras.Input((3,))
    layer = Shifted()
    model = keras.Model([x, offset], layer(x, offset))
    values = inputs((8, 3))
    np.testing.assert_allclose(model([values, np.ones((8, 3))]), layer(values, np.zeros((8, 3))) + 1, rtol=1e-5, atol=1e-6)


def test_a_call_with_other_names(inputs):
    class Renamed(keras_bn.BatchNormalization):
        def call(self, features, training=None):
            return super().call(features, training=training)

    model = keras.Sequential([keras.Input((3,)), Renamed()])
    assert model(inputs((8, 3)), training=True).shape == (8, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_its_own_are_as_it_says(kind, inputs):
    class Counting(kind):
        def build(self, input_shape):
            super().build(input_shape)
            self.calls = self.add_weight(shape=(), dtype="int32", initializer="zeros", trainable=False, name="calls")
            self.extra = self.add_weight(shape=(2,), initializer=None, trainable=False, name="extra")

        def call(self, inputs, training=None, mask=None):
            self.calls.assign(self.calls + 1)
            return super().call(inputs, training=training, mask=mask)

    layer = Counting(dtype="mixed_float16")
    for _ in range(3):
        layer(inputs((8, 3)), training=True)
    assert (layer.calls.dtype, int(layer.calls)) == ("int32", 3)
    assert layer.extra.shape == (2,)
    assert layer.moving_mean.dtype == "float32"
    assert [weight.name for weight in layer.weights].count("moving_mean") == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_around_ragged_inputs_is_made_once(kind, inputs):
    class Doubled(kind):
        def call(self, inputs, training=None, mask=None):
            return 2 * super().call(inputs, training=training, mask=mask)

    values = inputs((7, 3))
    doubled, once = Doubled(), kind()
    for layer in (doubled, once):
        layer.build((None, 3))
    x = tf.RaggedTensor.from_row_lengths(values, [3, 4])
    np.testing.assert_allclose(doubled(x, training=False).flat_values, 2 * once(values, training=False), rtol=1e-5, atol=1e-6)
