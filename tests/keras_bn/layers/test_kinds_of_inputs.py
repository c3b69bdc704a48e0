"""Inputs other than dense floating tensors, as Keras's layer takes them; and masked positions that hold NaN."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bn
import reference

KINDS = [keras_bn.BatchNormalization, keras_bn.LpBatchNormalization, keras_bn.NoisyBatchNormalization]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("axis", [-1, 2])
def test_of_ragged_inputs_the_values_that_are_there_are_normalised(kind, axis, inputs):
    values = inputs((7, 3))
    x = tf.RaggedTensor.from_row_lengths(values, [3, 0, 4])
    layer, dense = (kind(axis=axis if each == 0 else -1, momentum=0.0) for each in range(2))
    y = layer(x, training=True)
    dense(values, training=True)
    assert isinstance(y, tf.RaggedTensor)
    assert y.row_lengths().numpy().tolist() == [3, 0, 4]
    if kind is keras_bn.BatchNormalization:
        np.testing.assert_allclose(y.flat_values, reference.batch_norm_training(values, 1, 0, -1, 1e-3), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer.moving_mean, reference.moments(values)[0], rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, dense.moving_variance, rtol=1e-6)
    inference = layer(x, training=False).flat_values
    np.testing.assert_allclose(inference, dense(values, training=False), rtol=1e-5, atol=1e-6)


def test_ragged_inputs_have_gradients(inputs, rng):
    values, dy = inputs((7, 3)), rng.normal(size=(7, 3))
    layer = keras_bn.BatchNormalization()
    x = tf.constant(values)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(tf.RaggedTensor.from_row_lengths(x, [3, 4]), training=True)
        loss = tf.reduce_sum(y.flat_values * dy)
    expected = reference.batch_norm_training_gradient(values, np.ones(3), dy, -1, 1e-3)[0]
    np.testing.assert_allclose(tape.gradient(loss, x), expected, rtol=1e-4, atol=1e-5)


def test_ragged_channels_are_refused():
    layer = keras_bn.BatchNormalization(axis=1, name="bn")
    layer.build((None, 3, 3))
    with pytest.raises(ValueError, match="bn received ragged inputs of shape") as caught:
        layer(tf.RaggedTensor.from_row_lengths(tf.zeros((6, 3)), [3, 3]), training=True)
    assert "expected no mask and channels on an axis behind the ragged ones: convert the inputs by `to_tensor`." in str(caught.value)
    layer(tf.RaggedTensor.from_row_lengths(tf.zeros((6, 3)), [3, 3]).to_tensor(), training=True)  # The remedy.


def test_sparse_inputs_are_refused():
    layer = keras_bn.BatchNormalization(name="bn")
    layer.build((None, 3))
    x = tf.sparse.from_dense([[1.0, 0.0, 2.0], [0.0, 3.0, 0.0]])
    with pytest.raises(ValueError, match="bn received a sparse tensor; expected a dense or a ragged one, as zeros do not stay zeros: convert it by"):
        layer(x, training=True)
    layer(tf.sparse.to_dense(x), training=True)  # The remedy.


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("dtype", "policy"), [("uint8", "float32"), ("int32", "mixed_bfloat16"), ("int64", "float64"), ("bool", "float32")])
def test_integers_are_taken_in_the_compute_dtype(kind, dtype, policy, rng):
    values = rng.integers(0, 2 if dtype == "bool" else 200, (8, 3)).astype(dtype)
    model = keras.Sequential([keras.Input((3,), dtype=dtype), kind(dtype=policy, momentum=0.0)])
    layer = model.layers[0]
    y = layer(values, training=True)
    assert y.dtype == layer.compute_dtype
    np.testing.assert_allclose(layer.moving_mean, values.astype("float64").mean(0), rtol=1e-2 if policy == "mixed_bfloat16" else 1e-6)
    if kind is keras_bn.BatchNormalization and policy == "float32":
        np.testing.assert_allclose(y, reference.batch_norm_training(values.astype("float64"), 1, 0, -1, 1e-3), rtol=1e-4, atol=1e-4)


def test_a_masked_nan_reaches_no_gradient():
    """By hand: the real positions are 0 and 2, whose outputs are -1 and 1 over sqrt(1.001)."""
    layer = keras_bn.BatchNormalization()
    layer.build((2, 2, 1))
    x, mask = tf.constant([[[0.0], [np.nan]], [[2.0], [np.nan]]]), tf.constant([[True, False], [True, False]])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True, mask=mask)
        loss = tf.reduce_sum(tf.boolean_mask(y, mask) ** 2)
    dx, dgamma = tape.gradient(loss, [x, layer.gamma.value])
    np.testing.assert_allclose(dgamma, [4 / 1.001], rtol=1e-5)
    assert np.isfinite(dx).all()
    np.testing.assert_array_equal(dx[:, 1], np.zeros((2, 1)))


@pytest.mark.parametrize(
    ("kind", "arguments", "training", "hole"),
    [
        (keras_bn.BatchNormalization, {}, True, np.nan),
        (keras_bn.BatchNormalization, {}, False, np.inf),
        (keras_bn.BatchNormalization, {"virtual_batch_size": 3}, True, np.inf),
        (keras_bn.BatchNormalization, {"renorm": True}, True, np.nan),
        (keras_bn.BatchNormalization, {"synchronized": True}, True, np.nan),
        (keras_bn.NoisyBatchNormalization, {}, True, np.nan),
        (keras_bn.LpBatchNormalization, {"p": 1}, True, np.nan),
        (keras_bn.LpBatchNormalization, {"p": "inf"}, True, np.inf),
    ],
)
def test_masked_positions_change_no_gradient_whatever_they_hold(kind, arguments, training, hole, execution, inputs, rng):
    if "renorm" in arguments and not hasattr(keras.layers.BatchNormalization(), "renorm"):
        pytest.skip("this Keras has no renorm")
    x, w = inputs((6, 4, 3)), rng.normal(size=(6, 4, 3))
    mask = rng.random((6, 4)) < 0.6
    results = []
    for padding in (0.0, hole):
        layer = kind(**arguments, **({"seed": 1} if kind is keras_bn.NoisyBatchNormalization else {}))
        layer.build((6, 4, 3))

        def run(x, layer=layer):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = layer(x, training=training, mask=tf.constant(mask))
                loss = tf.reduce_sum(tf.where(mask[..., None], y * w, 0) ** 2)
            return tape.gradient(loss, [x, layer.gamma.value, layer.beta.value])

        results.append(execution(run)(tf.constant(np.where(mask[..., None], x, padding), tf.float32)))
    for one, other in zip(*results):
        assert np.isfinite(one).all()
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5)
