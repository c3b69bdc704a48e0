"""Values that a dtype holds but not their differences, squares or sums; and means far from 0 in inference, too."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bn
import reference

HAS_RENORM = "renorm" in inspect.signature(keras.layers.BatchNormalization).parameters
KINDS = [keras_bn.BatchNormalization, keras_bn.LpBatchNormalization]


def gradients(layer, x, execution):
    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
            loss = 1e-3 * tf.reduce_sum(tf.cast(y, tf.float32) ** 2)
        return y, tape.gradient(loss, [x, *(variable.value for variable in layer.trainable_variables)])

    if not layer.built:
        layer.build(x.shape)
    return execution(run)(x)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["mixed_float16", "float16"])
@pytest.mark.parametrize("width", [1, 100])  # The wide one is large enough for the kernel.
def test_half_precision_differences_beyond_its_range(kind, dtype, width, execution):
    x = np.full((1001, width), 30000.0)
    x[-1] = -40000
    y, derivatives = gradients(kind(dtype=dtype), tf.constant(x, tf.float16), execution)
    measure = reference.moments(x)[1] if kind is keras_bn.BatchNormalization else reference.lp_measure(x, 1) ** 2
    expected = reference.batch_norm_inference(x, 1, 0, x.mean(0), measure, -1, 1e-3)
    np.testing.assert_allclose(y, expected, rtol=2e-3)  # Half precision's step.
    assert all(np.isfinite(value).all() for value in derivatives)


@pytest.mark.parametrize(
    ("shape", "size", "arguments"),
    [
        ((64, 3), 1e20, {}),
        ((4096, 40), 1e30, {}),  # Large enough for the kernel.
        ((8, 4, 5, 3), 1e20, {"momentum": 0.0}),
        ((64, 3), 1e30, {"momentum": None}),
        ((64, 3), 1e20, {"renorm": True}),
        ((64, 3), 1e30, {"virtual_batch_size": 30}),
    ],
)
def test_finite_values_whose_squares_are_not_give_no_nan(shape, size, arguments, execution, rng):
    if "renorm" in arguments and not HAS_RENORM:
        pytest.skip("this Keras has no renorm")
    layer = keras_bn.BatchNormalization(**arguments)
    x = tf.constant(rng.normal(size=shape) * size, tf.float32)
    for _ in range(2):
        y, derivatives = gradients(layer, x, execution)
        assert not any(np.isnan(value).any() for value in [y, *derivatives, *layer.non_trainable_variables])
        if "renorm" not in arguments:
            np.testing.assert_array_equal(y, np.zeros(shape))  # The variance is infinite.


@pytest.mark.parametrize(("shape", "jit_compile"), [((64, 3), True), ((64, 3), None), ((16, 5, 3), None), ((4, 4, 4, 3), None), ((2, 2, 4, 4, 3), None)])
def test_inference_far_from_zero_agrees_with_training(shape, jit_compile, execution, rng):
    layer = keras_bn.BatchNormalization(momentum=None, jit_compile=jit_compile)
    x = tf.constant(rng.normal(1e6, 1, shape), tf.float32)
    training, inference = (execution(lambda x, training=training: layer(x, training=training))(x) for training in (True, False))
    np.testing.assert_allclose(inference, training, atol=0.04)  # float32 holds 1e6, and so the moving mean, to 0.03.
    layer = keras_bn.BatchNormalization(momentum=None, jit_compile=jit_compile)
    timestamps = tf.fill(shape, 1.7e9)
    for training in (True, False):
        np.testing.assert_array_equal(execution(lambda x, training=training: layer(x, training=training))(timestamps), np.zeros(shape))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (keras_bn.BatchNormalization, {"renorm": True}),
        (keras_bn.BatchNormalization, {"virtual_batch_size": 4, "unbiased": True, "momentum": None}),
        (keras_bn.NoisyBatchNormalization, {}),
        (keras_bn.NoisyBatchNormalization, {"renorm": True}),
        (keras_bn.LpBatchNormalization, {}),
    ],
)
def test_every_option_under_every_policy(kind, arguments, dtype, inputs):
    if "renorm" in arguments and not HAS_RENORM:
        pytest.skip("this Keras has no renorm")
    layer = kind(dtype=dtype, **arguments)
    x = tf.constant(inputs((8, 3)), layer.compute_dtype)
    y, derivatives = gradients(layer, x, tf.function)
    assert (y.dtype, derivatives[0].dtype) == (layer.compute_dtype, layer.compute_dtype)
    assert all(np.isfinite(tf.cast(value, tf.float32)).all() for value in [y, *derivatives])
    assert layer(x, training=False).dtype == layer.compute_dtype


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_frozen_layer_rounds_its_gradient_once(dtype, rng, execution):
    shape = (5, 64, 64, 4)  # Large enough for the kernel.
    layer = keras_bn.BatchNormalization(dtype=f"mixed_{dtype}", epsilon=1e-12)
    layer.build(shape)
    layer.moving_variance.assign([0.0, 0.5, 3.0, 7.0])
    dy = rng.normal(size=shape)
    dy[..., 0] = 0

    def run(x, dy):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=False)
        return tape.gradient(y, x, dy)

    dy = tf.cast(dy, dtype)
    dx = execution(run)(tf.cast(rng.normal(size=shape), dtype), dy)
    np.testing.assert_array_equal(dx[..., 0], 0)  # A factor of 1e6, beyond half precision, times 0.
    exact = tf.cast(dy, tf.float64) / np.sqrt(layer.moving_variance.numpy().astype("float64") + 1e-12)
    # Rounding once is off in either way; a rounded factor is off in the same way everywhere.
    share = np.mean(tf.cast(dx, tf.float64)[..., 1:] * exact[..., 1:], (0, 1, 2)) / np.mean(exact[..., 1:] ** 2, (0, 1, 2))
    np.testing.assert_allclose(share, 1, atol=2e-4)
