"""`freeze` and `unfreeze`: layers of batch normalisation, and no others, keep their statistics in training, for good."""

import re

import keras
import numpy as np
import pytest
from keras import layers

import keras_bn
from keras_bn import keras_internals, surgery
from tests.keras_bn.surgery import models

KINDS = {
    "keras": layers.BatchNormalization,
    "ours": keras_bn.BatchNormalization,
    "noisy": keras_bn.NoisyBatchNormalization,
    "lp": lambda: keras_bn.LpBatchNormalization(1),
}


def net(kind="keras"):
    return models.randomised(keras.Sequential([keras.Input((8,)), layers.Dense(4), KINDS[kind](), layers.Dense(1)], name="net"))


def trained(model, rng):
    model.compile("sgd", "mse")
    x = rng.normal(1, 2, (32, 8)).astype("float32")
    model.fit(x, np.ones((32, 1)), verbose=0, batch_size=8)
    return x


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("affine", [False, True])
def test_statistics_stay_in_training(kind, affine, rng):
    model = net(kind)
    assert surgery.freeze(model, affine=affine) == [model.layers[1].name]
    model.trainable = False
    model.trainable = True
    before = [weight.numpy() for weight in model.layers[1].weights]
    kernel = model.layers[0].kernel.numpy()
    x = trained(model, rng)
    assert abs(model.layers[0].kernel.numpy() - kernel).max() > 0
    names = ("gamma", "beta") if affine else ()
    for weight, value in zip(model.layers[1].weights, before, strict=True):
        assert np.array_equal(weight, value) == (weight.name not in names), weight.name
    np.testing.assert_allclose(model(x, training=True), model(x, training=False), rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("affine", [False, True])
def test_it_is_saved_and_can_be_taken_back(kind, affine, rng, tmp_path):
    model = net(kind)
    surgery.freeze(model, affine=affine)
    model.save(tmp_path / "frozen.keras")
    loaded = keras.saving.load_model(tmp_path / "frozen.keras")
    loaded.trainable = False
    loaded.trainable = True
    assert loaded.layers[1].trainable == affine
    x = rng.normal(1, 2, (32, 8)).astype("float32")
    assert np.array_equal(loaded(x, training=True), model(x))
    for each in (loaded, model):
        assert surgery.unfreeze(each) == [model.layers[1].name]
        assert type(each.layers[1]) is type(net(kind).layers[1])
        assert each.layers[1].get_config().keys() == net(kind).layers[1].get_config().keys()
        moving_mean = each.layers[1].moving_mean.numpy()
        trained(each, rng)
        assert abs(each.layers[1].moving_mean.numpy() - moving_mean).max() > 0


def test_layers_anywhere_are_frozen_and_others_are_not(rng):
    model = models.subclassed()
    surgery.freeze(model)
    model.trainable = False
    model.trainable = True
    for layer in keras_internals.layers_within(model):
        assert layer.trainable != isinstance(layer, layers.BatchNormalization)
    assert len(surgery.unfreeze(model)) == 7


def test_frozen_layers_fold_and_keep_their_statistics(rng):
    model = net()
    x = rng.normal(1, 2, (32, 8)).astype("float32")
    surgery.freeze(model, affine=True)
    assert models.largest_difference(model, surgery.fold(model), x) < 2e-6
    with pytest.raises(ValueError, match=r"^all batch normalisation layers of net are frozen"):
        surgery.recalibrate(model, x, verbose=False)


def test_a_compiled_model_is_warned_of():
    model = net()
    model.compile("sgd", "mse")
    for tool in (surgery.freeze, surgery.unfreeze):
        with pytest.warns(UserWarning, match=r"^net is compiled, and trains as before until it is compiled anew: compile it\.$"):
            tool(model)


class Own(layers.BatchNormalization):
    pass


@pytest.mark.parametrize(
    ("tool", "parts", "message"),
    [
        ("freeze", [layers.Dense(2)], "net has no batch normalisation layer; expected one at least: use `trainable` for other layers."),
        (
            "freeze",
            [layers.BatchNormalization(), Own(name="own")],
            "own is of class Own, whose computation is its own; expected Keras's layer or one of ours: set its `trainable`.",
        ),
        (
            "unfreeze",
            [layers.BatchNormalization()],
            "net has no layer that `freeze` has frozen; expected one at least: set `trainable`, if that is what was set before.",
        ),
    ],
)
def test_refusals(tool, parts, message):
    model = keras.Sequential([keras.Input((8,)), *parts], name="net")
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        getattr(surgery, tool)(model)
    assert all(layer.trainable for layer in model.layers)
    assert [type(layer) for layer in model.layers] == [type(part) for part in parts]
