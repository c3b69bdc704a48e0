"""What is measured leaves the model as it was, to the bit, also when a measurement fails half-way."""

import keras
import numpy as np
import pytest

import keras_bn
from keras_bn import measures

MEASURES = {
    "internal_covariate_shift": lambda model, x, y: measures.internal_covariate_shift(
        model, [value.numpy() for value in model.trainable_variables], [0.9 * value.numpy() for value in model.trainable_variables], x, y
    ),
    "variance_shift": lambda model, x, y: measures.variance_shift(model, iter([x[:3], x[3:]])),
    "loss_landscape": lambda model, x, y: measures.loss_landscape(model, x, y, [0.1, 0.3]),
    "activation_statistics": measures.activation_statistics,
}


class Failing(keras.Layer):
    """Fails on demand, in the middle of a model."""

    fails = False

    def call(self, x):
        if self.fails:
            raise RuntimeError("half-way")
        return x


@pytest.fixture(scope="module")
def trained():
    """(model, x, y): with all that has a state: moving statistics, dropout, slots, metrics. One for all, as nothing of it changes."""
    x, y = np.random.default_rng(0).normal(2, 3, (16, 5)).astype("float32"), np.ones((16, 1), "float32")
    model = keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(4),
            keras_bn.BatchNormalization(momentum=None),
            keras.layers.ReLU(),
            keras.layers.Dropout(0.5),
            Failing(),
            keras_bn.NoisyBatchNormalization(),
            keras.layers.Dense(1),
        ]
    )
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(x, y, batch_size=4, verbose=0)
    return model, x, y


def everything(model):
    return [keras.ops.convert_to_numpy(value) for value in [*model.variables, *model.optimizer.variables, *model.metrics_variables]]


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("name", MEASURES)
def test_nothing_of_the_model_changes(name, fails, trained, monkeypatch):
    model, x, y = trained
    if fails:
        model.compile("adam", "mse", metrics=["mae"])  # What was traced before would not fail.
    before = everything(model)
    calls = [vars(layer).get("call") for layer in model.layers]
    monkeypatch.setattr(Failing, "fails", fails)
    if fails:
        with pytest.raises(RuntimeError, match="half-way"):
            MEASURES[name](model, x, y)
    else:
        MEASURES[name](model, x, y)
    assert model.losses == []
    assert [vars(layer).get("call") for layer in model.layers] == calls
    for one, other in zip(everything(model), before):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", MEASURES)
def test_the_same_numbers_again(name, trained):
    model, x, y = trained
    once, again = MEASURES[name](model, x, y), MEASURES[name](model, x, y)
    assert str(once) == str(again)


def test_a_call_that_is_not_its_class_s_stays(trained):
    model, x, y = trained
    bound = model.layers[0].call = model.layers[0].call
    MEASURES["activation_statistics"](model, x, y)
    assert vars(model.layers[0])["call"] is bound
