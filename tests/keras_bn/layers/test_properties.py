"""What batch normalisation is known to do, over drawn shapes, dtypes, axes and masks."""

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import keras_bn
from keras_bn import functional

# Few and the same ones in every run; each costs a trace. No deadline: the first call of a shape is slow.
settings = hypothesis.settings(max_examples=15, deadline=None, derandomize=True, database=None)
EPSILON = 1e-12  # Far below every variance that is drawn; 0 is not a layer's.
# Of what is of size 1 or a little more: the outputs are rounded to 8, 11, 24 and 53 bits, the moments at least to 24.
ROUNDING = {"bfloat16": 3e-2, "float16": 4e-3, "float32": 1e-5, "float64": 1e-12}


@st.composite
def batches(draw, dtypes=("float64",)):
    """(x, axis, mask): at least 4 values a channel, whose variance is away from 0."""
    rank = draw(st.integers(2, 4))
    axis = draw(st.integers(0, rank - 1)) - draw(st.sampled_from([0, rank]))  # Both ways of counting.
    shape = [draw(st.integers(1, 4)) for _ in range(rank)]
    shape[first_reduced(axis, rank)] = draw(st.integers(4, 9))
    dtype = tf.as_dtype(draw(st.sampled_from(dtypes))).as_numpy_dtype
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = rng.normal(rng.uniform(-3, 3), rng.uniform(0.5, 3), shape)
    mask = draw(st.none() | arrays.arrays(bool, tuple(np.delete(shape, axis).tolist())))
    if mask is not None:
        mask[:3] = True
    return x.astype(dtype), axis, mask


def first_reduced(axis, rank):
    """Where the examples are, or what stands in for them when the first axis holds the channels."""
    return 1 if axis in (0, -rank) else 0


def normalised(x, axis, mask=None, gamma=None, beta=None):
    y, batch = functional.batch_norm_training(tf.constant(x), gamma, beta, None if mask is None else tf.constant(mask), axis=axis, epsilon=EPSILON)
    return y.numpy(), batch


@settings
@hypothesis.given(batches(), st.floats(0.1, 10), st.floats(-10, 10))
def test_scale_and_offset_of_the_inputs_do_not_matter(batch, a, b):
    x, axis, mask = batch
    np.testing.assert_allclose(normalised(a * x + b, axis, mask)[0], normalised(x, axis, mask)[0], rtol=1e-6, atol=1e-8)


@settings
@hypothesis.given(batches(tuple(ROUNDING)), st.randoms(use_true_random=False))
def test_permuting_the_batch_permutes_the_outputs(batch, random):
    x, axis, mask = batch
    permuted, tolerance = first_reduced(axis, x.ndim), ROUNDING[x.dtype.name]
    order = random.sample(range(x.shape[permuted]), x.shape[permuted])
    once, again = normalised(x, axis, mask)[0], normalised(np.take(x, order, permuted), axis, None if mask is None else mask[order])[0]
    np.testing.assert_allclose(again.astype("float64"), np.take(once, order, permuted).astype("float64"), rtol=tolerance, atol=tolerance)


@settings
@hypothesis.given(batches(tuple(ROUNDING)), st.data())
def test_merged_moments_of_unequal_parts_are_those_of_the_whole(batch, data):
    x, axis, mask = batch
    divided = first_reduced(axis, x.ndim)
    cut = [data.draw(st.integers(0, x.shape[divided]))]
    masks = (None, None) if mask is None else np.split(mask, cut)
    parts = [functional.moments(tf.constant(part), axis, part_mask) for part, part_mask in zip(np.split(x, cut, divided), masks)]
    merged = functional.merge_moments(functional.Moments(*(tf.stack(values) for values in zip(*parts))))
    tolerance = 1e-10 if x.dtype == np.float64 else 2e-5
    for one, other in zip(merged, functional.moments(tf.constant(x), axis, mask)):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance / 100)


@settings
@hypothesis.given(batches(("float32",)))
def test_the_input_gradient_sums_to_nothing(batch):
    x, axis, _ = batch
    dy = np.random.default_rng(0).normal(1, 1, x.shape).astype("float32")
    with tf.GradientTape() as tape:
        x_ = tf.constant(x)
        tape.watch(x_)
        y, _ = functional.batch_norm_training(x_, None, None, axis=axis, epsilon=1e-3)
    dx = tape.gradient(y, x_, tf.constant(dy)).numpy()
    axes = tuple(np.delete(range(x.ndim), axis))
    np.testing.assert_allclose(dx.sum(axes), 0, atol=1e-4 * np.abs(dx).sum(axes).max())


@pytest.fixture
def linear(rng):
    """Inputs, weights and the gradient of the loss for BN(u W): Ioffe & Szegedy 2015, sec. 3.3."""
    return rng.normal(1, 2, (20, 5)), rng.normal(size=(5, 3)), rng.normal(size=(20, 3))


def through(u, w, bias, dy):
    """(y, gradient to w, gradient to the bias)."""
    w, bias = tf.constant(w), tf.constant(bias)
    with tf.GradientTape() as tape:
        tape.watch((w, bias))
        y, _ = functional.batch_norm_training(tf.constant(u) @ w + bias, None, None, axis=-1, epsilon=EPSILON)
    return y, *tape.gradient(y, (w, bias), tf.constant(dy))


@pytest.mark.parametrize("a", [0.01, 7.0])
def test_the_scale_of_the_weights_does_not_matter_and_divides_their_gradient(a, linear):
    u, w, dy = linear
    y, dw, _ = through(u, w, np.zeros(3), dy)
    scaled, scaled_dw, _ = through(u, a * w, np.zeros(3), dy)
    np.testing.assert_allclose(scaled, y, rtol=1e-6)
    np.testing.assert_allclose(a * scaled_dw, dw, rtol=1e-6, atol=1e-9)


def test_a_bias_in_front_does_nothing_and_gets_no_gradient(linear):
    u, w, dy = linear
    y, _, _ = through(u, w, np.zeros(3), dy)
    shifted, _, dbias = through(u, w, np.array([5.0, -3.0, 100.0]), dy)
    np.testing.assert_allclose(shifted, y, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(dbias, 0, atol=1e-10)


def test_with_constant_statistics_the_bias_grows_without_bound(linear):
    """Sec. 2: an optimizer that does not know of the normalisation moves the bias, the normalisation takes it out, and so on."""
    u, _, target = linear
    u, bias, biases, losses = tf.constant(u[:, :3]), tf.zeros([3], tf.float64), [], []
    for _ in range(50):
        with tf.GradientTape() as tape:
            tape.watch(bias)
            x = u + bias
            y = x - tf.stop_gradient(tf.reduce_mean(x, 0))
            loss = tf.reduce_mean(tf.square(y - (target + 1)))
        bias -= 0.1 * tape.gradient(loss, bias)
        biases.append(float(tf.norm(bias)))
        losses.append(float(loss))
    assert np.ptp(losses) < 1e-9 * losses[0]
    np.testing.assert_allclose(np.diff(biases), biases[0], rtol=1e-6)  # The same step again and again.
    with tf.GradientTape() as tape:
        tape.watch(bias)
        y, _ = functional.batch_norm_training(u + bias, None, None, axis=-1, epsilon=EPSILON)
        loss = tf.reduce_mean(tf.square(y - (target + 1)))
    np.testing.assert_allclose(tape.gradient(loss, bias), 0, atol=1e-9)


@settings
@hypothesis.given(batches(("float32",)))
def test_the_layer_and_the_function_are_one(batch):
    x, axis, mask = batch
    layer = keras_bn.BatchNormalization(axis=axis, momentum=0.0)
    y = layer(x, training=True, mask=mask)
    expected, moments = functional.batch_norm_training(tf.constant(x), None, None, None if mask is None else tf.constant(mask), axis=axis, epsilon=1e-3)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, moments.variance, rtol=1e-5, atol=1e-6)
