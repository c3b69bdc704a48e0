"""Definition 2.1 against NumPy in float64, on nets of every kind of model; and nothing of a model changes."""

import keras
import numpy as np
import pytest

import keras_bn
import reference
from keras_bn.measures import internal_covariate_shift

EPSILON = 0.1


def dense_oracle(weights, x, y, decay=0.0):
    """The mean squared error of Dense, batch normalisation, tanh, twice, and a Dense: `weights` are kernel, gamma, beta, kernel, gamma, beta, kernel, bias."""
    kernels = weights[0], weights[3], weights[6]
    h = np.tanh(reference.batch_norm_training(x @ weights[0], weights[1], weights[2], -1, EPSILON))
    h = np.tanh(reference.batch_norm_training(h @ weights[3], weights[4], weights[5], -1, EPSILON))
    return np.mean((h @ weights[6] + weights[7] - y) ** 2) + decay * sum((kernel**2).sum() for kernel in kernels)


def shift_by_the_definition(loss, weights, after, kernels):
    """(l2, relative, cosine) of each of the `kernels`, places in `weights` in the order of computing, by central differences of a NumPy loss."""
    found = []
    for place in kernels:
        one, other = (_gradient(loss, weights, earlier, place) for earlier in (weights, after))
        l2 = np.linalg.norm(one - other)
        found.append((l2, l2 / np.linalg.norm(one), (one * other).sum() / np.linalg.norm(one) / np.linalg.norm(other)))
    return found


def _gradient(loss, weights, earlier, place):
    """To the weight at that place, those in front of it being `earlier`."""
    return reference.numerical_gradient(lambda kernel: loss([*earlier[:place], kernel, *weights[place + 1 :]]), weights[place])


def layers_of(decay=0.0):
    def regularizer():
        return keras.regularizers.L2(decay) if decay else None

    return [
        keras.layers.Dense(4, use_bias=False, kernel_regularizer=regularizer()),
        keras_bn.BatchNormalization(epsilon=EPSILON),
        keras.layers.Activation("tanh"),
        keras.layers.Dense(3, use_bias=False, kernel_regularizer=regularizer()),
        keras_bn.BatchNormalization(epsilon=EPSILON),
        keras.layers.Activation("tanh"),
        keras.layers.Dense(2, kernel_regularizer=regularizer()),
    ]


def sequential(layers):
    return keras.Sequential([keras.Input((5,)), *layers])


def functional(layers, units=5):
    outputs = inputs = keras.Input((units,))
    for layer in layers:
        outputs = layer(outputs)
    return keras.Model(inputs, outputs)


def nested(layers):
    return keras.Sequential([keras.Input((5,)), keras.Sequential(layers[:4]), functional(layers[4:6], 3), layers[6]])


class Subclassed(keras.Model):
    """Its attributes do not stand in the order in which they compute."""

    def __init__(self, layers):
        super().__init__()
        self.last, *self.others = layers[::-1]

    def call(self, x, training=None):
        for layer in self.others[::-1]:
            x = layer(x, training=training) if isinstance(layer, keras_bn.BatchNormalization) else layer(x)
        return self.last(x)


KINDS = {"sequential": sequential, "functional": functional, "nested": nested, "subclassed": Subclassed}


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


def prepared(kind, rng, inputs, decay=0.0):
    """(model, x, y, before, after, the places of its weights in the order in which they compute)."""
    layers = layers_of(decay)
    model = kind(layers)
    x, y = inputs((12, 5)), rng.normal(1, 2, (12, 2)).astype("float32")
    model.compile("sgd", "mse")
    model.build((None, 5))
    model(x)
    computing = [variable for layer in layers for variable in layer.trainable_variables]
    order = [next(place for place, own in enumerate(model.trainable_variables) if own is variable) for variable in computing]
    before = [rng.normal(0.5, 0.7, variable.shape) for variable in model.trainable_variables]
    after = [value + rng.normal(0, 0.3, value.shape) for value in before]
    return model, x, y, before, after, order


@pytest.mark.parametrize("decay", [0.0, 0.05])
def test_equals_the_definition(kind, decay, inputs, rng):
    model, x, y, before, after, order = prepared(kind, rng, inputs, decay)
    got = internal_covariate_shift(model, [value.astype("float32") for value in before], [value.astype("float32") for value in after], x, y)
    sorted_before, sorted_after = ([values[place] for place in order] for values in (before, after))
    expected = shift_by_the_definition(lambda weights: dense_oracle(weights, x.astype("float64"), y, decay), sorted_before, sorted_after, (0, 3, 6))
    assert [shift.layer for shift in got] == ["01_dense", "02_dense", "03_dense"]
    np.testing.assert_allclose([shift[1:] for shift in got], expected, rtol=2e-4, atol=2e-5)
    assert got[0][1:] == (0.0, 0.0, 1.0)
    assert min(shift.relative for shift in got[1:]) > 0.05  # It is no test of zeros.


def test_a_learning_rate_of_0_shifts_nothing(kind, inputs, rng):
    model, x, y, before, _, _ = prepared(kind, rng, inputs)
    for shift in internal_covariate_shift(model, before, before, x, y):
        assert shift[1:] == (0.0, 0.0, 1.0)
