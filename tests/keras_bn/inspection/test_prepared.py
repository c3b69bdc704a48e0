"""What was prepared for a model is found again, until the model is another one; and does not keep a model alive."""

import gc
import weakref

import keras
import numpy as np
import pytest

import keras_bn
from keras_bn import measures
from keras_bn.inspection.prepared import Signature, prepared

X, Y = np.random.default_rng(0).normal(1, 2, (8, 4)).astype("float32"), np.ones((8, 1), "float32")


class Counted(keras.Layer):
    """Counts how often it is traced."""

    traces = 0

    def call(self, x):
        Counted.traces += 1
        return x


def network():
    layers = [keras.layers.Dense(3), keras_bn.BatchNormalization(center=False, scale=False), Counted(), keras.layers.ReLU(), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.compile("sgd", "mse")
    return model


def weights(model):
    return [value.numpy() for value in model.trainable_variables]


MEASURES = {
    "internal_covariate_shift": lambda model: measures.internal_covariate_shift(model, weights(model), [0.9 * value for value in weights(model)], X, Y),
    "variance_shift": lambda model: measures.variance_shift(model, X),
    "loss_landscape": lambda model: measures.loss_landscape(model, X, Y, [0.1]),
    "activation_statistics": lambda model: measures.activation_statistics(model, X, Y),
}


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
def test_a_second_call_traces_nothing(measure):
    model = network()
    first = measure(model)
    Counted.traces = 0
    assert str(measure(model)) == str(first)
    assert Counted.traces == 0
    model.compile("sgd", "mae")
    measure(model)
    assert Counted.traces > 0


def test_a_loss_that_is_compiled_anew_counts():
    model = network()
    once = measures.loss_landscape(model, X, Y, [0.1]).loss
    model.compile("sgd", lambda y, outputs: 3 * keras.losses.mean_squared_error(y, outputs))
    assert measures.loss_landscape(model, X, Y, [0.1]).loss == pytest.approx(3 * once)


def test_a_layer_that_is_frozen_counts_though_it_has_no_trainable_weight():
    model = network()
    model.layers[1].moving_mean.assign([5.0, 5.0, 5.0])
    trained = measures.activation_statistics(model, X)[0].outputs
    model.layers[1].trainable = False
    frozen = measures.activation_statistics(model, X)[0].outputs
    assert np.abs(trained.mean).max() < 1e-5
    assert np.abs(frozen.mean).min() > 1


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
def test_a_model_that_was_measured_is_not_kept_alive(measure):
    model = network()
    measure(model)
    gone = weakref.ref(model)
    del model
    keras.backend.clear_session()
    gc.collect()
    assert gone() is None


def test_options_are_prepared_apart():
    class Kind:
        def __init__(self, model, *options):
            self.options = options

    model = network()
    assert prepared(Kind, model, 1) is prepared(Kind, model, 1)
    assert prepared(Kind, model, 2) is not prepared(Kind, model, 1)
    assert prepared(Kind, network(), 1) is not prepared(Kind, model, 1)
    before = Signature(model)
    model.layers[0].trainable = False
    assert not before.is_of(model)


def test_a_model_that_was_measured_by_a_loss_that_refers_to_it_is_not_kept_alive():
    def measured():
        model = network()
        measures.loss_landscape(model, X, Y, [0.1], loss=lambda net, x, y, _: keras.ops.mean((model(x, training=True) - y) ** 2))
        return weakref.ref(model)

    gone = measured()
    gc.collect()
    assert gone() is None


def test_functions_that_are_made_anew_at_every_call_do_not_pile_up():
    model = network()
    for _ in range(40):
        prepared(lambda model, option: option, model, object())
    assert len(vars(model)["_keras_bn_prepared"][1]) <= 32
