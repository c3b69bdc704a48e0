"""`convert` and `revert`: every layer is found, nothing else changes, and training goes on."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bn
from keras_bn import keras_internals, surgery
from tests.keras_bn.surgery import models


def normalization_layers(model):
    return [layer for layer in keras_internals.layers_within(model) if isinstance(layer, keras.layers.BatchNormalization)]


@pytest.mark.parametrize("make", models.ALL)
def test_every_layer_becomes_ours_and_all_else_stays(make, rng):
    model = models.randomised(make())
    before = [variable.numpy() for variable in model.variables]
    copy = surgery.convert(model)
    assert type(copy) is type(model)
    assert {type(layer) for layer in normalization_layers(copy)} == {keras_bn.BatchNormalization}
    for what in ("name", "trainable", "dtype_policy"):
        assert [getattr(layer, what) for layer in keras_internals.layers_within(copy)] == [
            getattr(layer, what) for layer in keras_internals.layers_within(model)
        ]
    for values in ("variables", "trainable_variables"):
        of_model, of_copy = getattr(model, values), getattr(copy, values)
        assert [variable.name for variable in of_copy if "seed" not in variable.name] == [variable.name for variable in of_model if "seed" not in variable.name]
        assert all(np.array_equal(one, two) for one, two in zip(of_model, of_copy, strict=True))
    assert models.largest_difference(model, copy, models.inputs_of(model, rng)) < (
        1e-3 if make is models.mixed else 2e-6
    )  # Rounding of half and of single precision.
    for variable in copy.variables:
        variable.assign(tf.zeros_like(variable))
    assert {type(layer) for layer in normalization_layers(model)} == {keras.layers.BatchNormalization}
    assert all(np.array_equal(variable, value) for variable, value in zip(model.variables, before))


@pytest.mark.parametrize("make", models.ALL)
def test_what_was_converted_reverts_to_the_same_bits(make):
    model = models.randomised(make())
    back = surgery.revert(surgery.convert(model))
    assert {type(layer) for layer in normalization_layers(back)} == {keras.layers.BatchNormalization}
    assert all(np.array_equal(one, two) for one, two in zip(model.variables, back.variables, strict=True))


def test_layers_that_are_shared_stay_shared():
    copy = surgery.convert(models.towers())
    assert len(keras_internals.layers_within(copy)) == len(keras_internals.layers_within(models.towers()))
    assert copy.get_layer("tower").get_layer("inner") in keras_internals.layers_within(copy)


@pytest.mark.parametrize("affine", [False, True])
def test_frozen_layers_stay_frozen(affine, rng):
    model = models.randomised(models.wrapped())
    surgery.freeze(model, affine=affine)
    copy = surgery.convert(model, virtual_batch_size=4)
    copy.trainable = True
    layers = normalization_layers(copy)
    assert {type(layer).__name__ for layer in layers} == {"FrozenBatchNormalization"}
    assert {(layer.trainable, layer.affine, layer.virtual_batch_size) for layer in layers} == {(affine, affine, 4)}
    x = models.inputs_of(model, rng)
    np.testing.assert_allclose(copy(x, training=True), model(x, training=True), rtol=1e-5, atol=1e-6)


def test_copies_can_be_saved_exported_and_trained(tmp_path, rng):
    model = models.randomised(models.wrapped())
    copy = surgery.convert(model, virtual_batch_size=2)
    copy.save(tmp_path / "copy.keras")
    x = models.inputs_of(model, rng)
    assert models.largest_difference(model, keras.saving.load_model(tmp_path / "copy.keras"), x) < 2e-6
    held = surgery.convert(models.randomised(models.holding()))
    held.export(tmp_path / "exported", verbose=False)
    x = models.inputs_of(held, rng)
    exported = tf.saved_model.load(str(tmp_path / "exported"))
    np.testing.assert_allclose(exported.serve(x), held(x), rtol=1e-5, atol=1e-6)
    held.compile("sgd", "mse")
    held.fit(x, np.ones((3, 4)), verbose=0)
    statistics = [variable for layer in normalization_layers(held) for variable in (layer.moving_mean, layer.moving_variance)]
    assert len(statistics) == 2 * 4
    assert all(abs(variable.numpy()).sum() > 0 for variable in statistics)


def test_training_goes_on_in_the_middle(rng):
    """Optimizer, its schedule, the state of Dropout, metrics and a loss without a name."""
    x = rng.normal(1, 2, (64, 8)).astype("float32")
    y = (x.sum(1, keepdims=True) > 8).astype("float32")
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16), keras.layers.BatchNormalization(), keras.layers.Dropout(0.3), keras.layers.Dense(1)])
    schedule = keras.optimizers.schedules.ExponentialDecay(1e-2, 2, 0.5)
    model.compile(
        keras.optimizers.Adam(schedule), lambda true, predicted: tf.reduce_mean((true - predicted) ** 2), metrics=["mae", keras.metrics.RootMeanSquaredError()]
    )
    model.fit(x, y, epochs=2, verbose=0, shuffle=False)
    copy = surgery.convert(model)
    assert copy.optimizer is not model.optimizer
    history, other = (each.fit(x, y, epochs=2, verbose=0, shuffle=False).history for each in (model, copy))
    assert history.keys() == other.keys()
    for name, values in history.items():
        np.testing.assert_allclose(values, other[name], rtol=1e-5)  # Rounding: the layers compute in another order.
    assert int(copy.optimizer.iterations) == int(model.optimizer.iterations) == 8


def test_options_go_to_all_layers():
    model = models.subclassed()
    copy = surgery.convert(model, momentum=None, unbiased=True)
    assert {(layer.momentum, layer.unbiased, layer.epsilon) for layer in normalization_layers(copy)} == {(None, True, 1e-3)}
    assert len(copy.variables) == len(model.variables) + len(normalization_layers(model))  # `batches`.
    again = surgery.convert(copy, momentum=0.5)
    assert {(layer.momentum, layer.unbiased) for layer in normalization_layers(again)} == {(0.5, True)}


def test_a_model_of_replicas_is_copied_in_its_strategy(strategy, rng):
    with strategy.scope():
        model = models.randomised(models.towers())
    copy = surgery.convert(model, synchronized=True)
    assert copy.distribute_strategy is strategy
    assert models.largest_difference(model, copy, models.inputs_of(model, rng)) < 2e-6


class Own(keras.layers.BatchNormalization):
    pass


def test_a_subclass_stays_and_is_named():
    model = keras.Sequential([keras.Input((8,)), Own(name="own"), keras.layers.BatchNormalization(name="keras")])
    with pytest.warns(UserWarning, match=r"^`convert` left own \(Own\): what a subclass computes is its own\.$"):
        copy = surgery.convert(model)
    assert [type(layer) for layer in copy.layers] == [Own, keras_bn.BatchNormalization]


class Wordless(keras.Layer):
    """Says nothing of what it was made with."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def call(self, x):
        return self.layer(x)

    def get_config(self):
        return {}


def of(*layers):
    return keras.Sequential([keras.Input((8,)), *layers], name="net")


@pytest.mark.parametrize(
    ("tool", "make", "options", "message"),
    [
        ("convert", lambda: 3, {}, "`model` is 3; expected a keras.Model: if it is a path, load it by keras.saving.load_model."),
        (
            "convert",
            lambda: keras.Sequential([keras.layers.BatchNormalization()], name="net"),
            {},
            "net is not built, so that it has no weights yet; expected one that has: give it a keras.Input, or call it on a batch before.",
        ),
        (
            "convert",
            lambda: of(keras.layers.Dense(2)),
            {},
            "net has no batch normalisation; expected a keras.layers.BatchNormalization: there is nothing to convert.",
        ),
        (
            "convert",
            lambda: of(keras_bn.BatchNormalization()),
            {},
            "net has keras_bn's BatchNormalization; expected a keras.layers.BatchNormalization: there is nothing to convert.",
        ),
        (
            "convert",
            lambda: of(keras.layers.BatchNormalization()),
            {"axis": 1},
            "`convert` received `axis`; expected options among momentum, synchronized, virtual_batch_size, unbiased, jit_compile, renorm, renorm_clipping, "
            "renorm_momentum: all else comes from the layers that are replaced.",
        ),
        (
            "convert",
            lambda: of(Wordless(keras.layers.BatchNormalization())),
            {},
            "wordless cannot be copied, as Wordless.from_config fails: Wordless.__init__() missing 1 required positional argument: 'layer'; expected a class "
            "whose `get_config` says all arguments of its `__init__`: give it one.",
        ),
        (
            "revert",
            lambda: of(keras.layers.BatchNormalization()),
            {},
            "net has no keras_bn.BatchNormalization; expected one at least: there is nothing to revert.",
        ),
        (
            "revert",
            lambda: of(keras_bn.BatchNormalization(momentum=None, name="average")),
            {},
            "average has momentum=None, which Keras's layer has not; expected momentum=0.99: convert(model, momentum=0.99) first, if the model is to do "
            "without.",
        ),
        (
            "revert",
            lambda: of(keras_bn.BatchNormalization(virtual_batch_size=4, name="ghosts")),
            {},
            "ghosts has virtual_batch_size=4, which Keras's layer has not; expected virtual_batch_size=None: convert(model, virtual_batch_size=None) first, if "
            "the model is to do without.",
        ),
        (
            "revert",
            lambda: of(keras_bn.LpBatchNormalization(1, name="absolute")),
            {},
            "absolute is a LpBatchNormalization, which Keras has not; expected keras_bn.BatchNormalization: keep this model with keras_bn.",
        ),
    ],
)
def test_refusals(tool, make, options, message):
    model = make()
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        getattr(surgery, tool)(model, **options)


def test_the_remedy_of_what_cannot_be_reverted():
    model = of(keras_bn.BatchNormalization(momentum=None))
    assert type(surgery.revert(surgery.convert(model, momentum=0.99)).layers[0]) is keras.layers.BatchNormalization
