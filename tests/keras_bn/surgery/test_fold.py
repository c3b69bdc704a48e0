"""`foldable` and `fold`: what folds, into what, why the rest does not, and that outputs stay."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_bn
from keras_bn import keras_internals, surgery
from tests.keras_bn.surgery import models

BN = layers.BatchNormalization
IMAGE, SEQUENCE, VOLUME, TABLE = (7, 7, 6), (9, 6), (5, 5, 5, 3), (6,)
BEHIND = {
    "dense": (TABLE, layers.Dense, {"units": 4}),
    "dense over positions": (SEQUENCE, layers.Dense, {"units": 4}),
    "convolution of sequences": (SEQUENCE, layers.Conv1D, {"filters": 4, "kernel_size": 3, "padding": "causal"}),
    "convolution": (IMAGE, layers.Conv2D, {"filters": 4, "kernel_size": 3, "strides": 2}),
    "convolution of groups": (IMAGE, layers.Conv2D, {"filters": 4, "kernel_size": 3, "groups": 2}),
    "convolution of volumes": (VOLUME, layers.Conv3D, {"filters": 4, "kernel_size": 2, "dilation_rate": 2, "padding": "same"}),
    "transposed of sequences": (SEQUENCE, layers.Conv1DTranspose, {"filters": 4, "kernel_size": 3, "strides": 2}),
    "transposed": (IMAGE, layers.Conv2DTranspose, {"filters": 4, "kernel_size": 3, "strides": 2, "padding": "same"}),
    "transposed of volumes": (VOLUME, layers.Conv3DTranspose, {"filters": 4, "kernel_size": 2}),
    "depthwise of sequences": (SEQUENCE, layers.DepthwiseConv1D, {"kernel_size": 3, "depth_multiplier": 2}),
    "depthwise": (IMAGE, layers.DepthwiseConv2D, {"kernel_size": 3, "depth_multiplier": 2, "padding": "same"}),
    "separable of sequences": (SEQUENCE, layers.SeparableConv1D, {"filters": 5, "kernel_size": 3, "depth_multiplier": 2}),
    "separable": (IMAGE, layers.SeparableConv2D, {"filters": 5, "kernel_size": 3, "depth_multiplier": 2, "padding": "same"}),
}
IN_FRONT = {
    "dense": (TABLE, layers.Dense, {"units": 4, "activation": "relu"}),
    "dense over positions": (SEQUENCE, layers.Dense, {"units": 4}),
    "convolution of sequences": (SEQUENCE, layers.Conv1D, {"filters": 4, "kernel_size": 3}),
    "convolution": (IMAGE, layers.Conv2D, {"filters": 4, "kernel_size": 3, "strides": 2, "activation": "tanh"}),
    "convolution of groups": (IMAGE, layers.Conv2D, {"filters": 6, "kernel_size": 3, "groups": 3}),
    "convolution of volumes": (VOLUME, layers.Conv3D, {"filters": 6, "kernel_size": 2, "groups": 3, "dilation_rate": 2}),
    "depthwise of sequences": (SEQUENCE, layers.DepthwiseConv1D, {"kernel_size": 3, "depth_multiplier": 2}),
    "depthwise": (IMAGE, layers.DepthwiseConv2D, {"kernel_size": 3, "depth_multiplier": 2}),
    "separable of sequences": (SEQUENCE, layers.SeparableConv1D, {"filters": 5, "kernel_size": 3, "depth_multiplier": 2}),
    "separable": (IMAGE, layers.SeparableConv2D, {"filters": 5, "kernel_size": 3, "depth_multiplier": 2}),
}


def net(shape, *parts):
    return models.randomised(keras.Sequential([keras.Input(shape), *parts], name="net"))


def number_of_normalizations(model):
    return sum(isinstance(layer, BN) for layer in keras_internals.layers_within(model))


def check(model, rng, left=0):
    """Folds a model; returns the copy."""
    before = [variable.numpy() for variable in model.variables]
    copy = surgery.fold(model)
    assert number_of_normalizations(copy) == left
    assert models.largest_difference(model, copy, models.inputs_of(model, rng)) < 2e-6  # Rounding of float32.
    assert all(np.array_equal(variable, value) for variable, value in zip(model.variables, before))
    return copy


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("what", BEHIND)
def test_behind_a_linear_layer(what, use_bias, rng):
    shape, kind, options = BEHIND[what]
    affine = {"scale": False} if use_bias else {"center": False}
    copy = check(net(shape, kind(use_bias=use_bias, name="linear", **options), BN(), BN(**affine), layers.ReLU()), rng)
    assert [layer.name for layer in copy.layers] == ["linear", copy.layers[1].name]


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("what", IN_FRONT)
def test_in_front_of_a_linear_layer(what, use_bias, rng):
    shape, kind, options = IN_FRONT[what]
    behind = [] if "activation" in options else [BN()]
    check(net(shape, layers.ReLU(), BN(), layers.Dropout(0.3), kind(use_bias=use_bias, **options), *behind, layers.ReLU()), rng)


def test_channels_in_front(rng):
    """By XLA, as TensorFlow's kernels convolve channels first on some CPUs only."""
    inputs = keras.Input((6, 7, 7))
    x = layers.Conv2D(4, 3, data_format="channels_first", use_bias=False)(inputs)
    model = models.randomised(keras.Model(inputs, layers.ReLU()(BN(axis=1)(x))))
    copy = surgery.fold(model)
    assert number_of_normalizations(copy) == 0
    x = models.inputs_of(model, rng)
    expected, folded = (tf.function(lambda x, each=each: each(x, training=False), jit_compile=True)(x) for each in (model, copy))
    np.testing.assert_allclose(folded, expected, rtol=0, atol=2e-6 * abs(expected.numpy()).max())  # Rounding of float32.


def test_layers_of_ours(rng):
    ours = keras_bn.BatchNormalization(), keras_bn.UniformDropout(0.1), keras_bn.LpBatchNormalization(1), keras_bn.NoisyBatchNormalization()
    check(net(IMAGE, layers.Conv2D(4, 3), *ours, layers.ReLU()), rng)


@pytest.mark.parametrize(("name", "size", "folded"), [("ResNet50V2", 64, 32), ("MobileNetV3Small", 64, 34), ("DenseNet121", 64, 59)])
def test_applications(name, size, folded, rng):
    """benchmarks.folding has ten; these are of each kind."""
    model = models.randomised(getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classifier_activation=None))
    copy = surgery.fold(model)
    assert number_of_normalizations(model) - number_of_normalizations(copy) == folded
    assert models.largest_difference(model, copy, models.inputs_of(model, rng)) < 1e-5  # Rounding, through up to 200 layers.


def test_outputs_keep_their_names(rng):
    model = models.randomised(models.towers())
    copy = check(model, rng, left=1)
    assert copy.output_names == model.output_names
    assert set(copy(models.inputs_of(model, rng))) == {"sum", "normal"}
    assert [str(each) for each in surgery.foldable(model)] == [
        "shared: it is shared by 2 calls",
        "normal: folds into dense",
        "inner: folds into " + model.get_layer("tower").layers[0].name,
    ]


def test_models_within_wrappers_are_folded(rng):
    model = models.randomised(models.wrapped())
    [copied, *_] = [layer for layer in check(model, rng, left=2).layers if isinstance(layer, layers.TimeDistributed)]
    assert number_of_normalizations(copied) == 0


def test_the_copy_is_compiled_and_evaluates_alike(rng):
    model = net(TABLE, layers.Dense(4), BN(), layers.Dropout(0.5), layers.Dense(1))
    model.compile("adam", "mse", metrics=["mae"])
    x, y = rng.normal(1, 2, (20, 6)), np.ones((20, 1))
    model.fit(x, y, verbose=0)
    copy = surgery.fold(model)
    np.testing.assert_allclose(copy.evaluate(x, y, verbose=0), model.evaluate(x, y, verbose=0), rtol=1e-5)  # Rounding.
    copy.fit(x, y, verbose=0)


def two_readers():
    inputs = keras.Input(TABLE)
    x = layers.Dense(4, name="linear")(inputs)
    return keras.Model(inputs, layers.Dense(1)(layers.ReLU()(BN(name="normal")(x))) + layers.Dense(1)(x))


def also_an_output():
    inputs = keras.Input(TABLE)
    x = layers.Dense(4, name="linear")(inputs)
    return keras.Model(inputs, [x, BN(name="normal")(x)])


def shared_dense():
    inputs = keras.Input(TABLE)
    dense = layers.Dense(6, name="linear")
    return keras.Model(inputs, BN(name="normal")(dense(dense(inputs))))


def in_training():
    inputs = keras.Input(TABLE)
    return keras.Model(inputs, BN(name="normal")(layers.Dense(4)(inputs), training=True))


def of_another_model():
    inner = keras.Sequential([keras.Input(TABLE), layers.Dense(4), BN(name="inside"), layers.ReLU()], name="inner")
    return keras.Sequential([keras.Input(TABLE), inner, BN(name="normal")])


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: net(TABLE, BN(name="normal")), "nothing of its model is in front of it"),
        (lambda: net(TABLE, layers.ReLU(name="positive"), BN(name="normal")), "positive (ReLU) is in front of it"),
        (lambda: net(TABLE, layers.Dense(3, "relu", name="linear"), BN(name="normal")), "linear in front of it has the activation relu"),
        (
            lambda: net(SEQUENCE, layers.Dense(3, name="linear"), BN(1, name="normal")),
            "it normalises axis 1, and the channels of linear in front of it are axis 2",
        ),
        (
            lambda: net(IMAGE, layers.ReLU(name="positive"), BN(name="normal"), layers.Conv2D(3, 3, padding="same")),
            "positive (ReLU) is in front of it",
        ),
        (lambda: net(IMAGE, layers.ReLU(name="positive"), BN(name="normal"), layers.Conv2DTranspose(3, 3)), "positive (ReLU) is in front of it"),
        (two_readers, "linear in front of it is read by 2 layers"),
        (also_an_output, "linear in front of it is an output of its model, too"),
        (shared_dense, "linear in front of it is shared by 2 calls"),
        (in_training, "it is called with training=True, so that it normalises by the batch in inference, too"),
        (of_another_model, "the model inner is in front of it"),
        (
            lambda: net(TABLE, layers.Dense(3, dtype="mixed_float16", name="linear"), BN(name="normal")),
            "it computes in float32, and linear in front of it in float16",
        ),
        (
            lambda: net(SEQUENCE, layers.TimeDistributed(BN(name="normal"), name="repeated")),
            "it is held by repeated (TimeDistributed), whose code says what is in front of it",
        ),
    ],
)
def test_why_not(make, reason, rng):
    model = models.randomised(make())
    [of_layer] = [each for each in surgery.foldable(model) if each.layer == "normal"]
    assert of_layer == ("normal", None, reason)
    if number_of_normalizations(model) == 1:
        message = f"none of 1 batch normalisation layers of {model.name} can be folded; of the first, normal, {reason}."
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            surgery.fold(model)


@pytest.mark.parametrize("tool", [surgery.fold, surgery.foldable])
def test_a_model_without_normalization(tool):
    message = "net has no batch normalisation layer; expected one at least: there is nothing to fold."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        tool(net(TABLE, layers.Dense(2)))
