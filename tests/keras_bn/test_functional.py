"""The arithmetic against the oracle, in every execution."""

import numpy as np
import pytest
import tensorflow as tf

import reference
from keras_bn import functional

SHAPES = [((16, 5), -1), ((6, 7, 4), -1), ((6, 4, 7), 1), ((4, 6, 5, 3), -1), ((4, 3, 6, 5), 1), ((3, 4, 5, 2, 3), -1), ((5, 16), 0)]
IN_EACH_DTYPE = [*((*each, "float32") for each in SHAPES), *((*each, "float64") for each in SHAPES[3:5])]
# Rounding of sums of up to about 400 float32 values of size 10, relative to results of size 1; float64 has 9 digits more.
TOLERANCE = {"float32": dict(rtol=2e-5, atol=2e-5), "float64": dict(rtol=1e-12, atol=1e-12)}


@pytest.mark.parametrize(("shape", "axis", "dtype"), IN_EACH_DTYPE)
def test_moments_equal_the_oracle(shape, axis, dtype, inputs, execution):
    x = inputs(shape, axis, dtype)
    count, mean, variance = execution(lambda x: functional.moments(x, axis))(tf.constant(x))
    expected_mean, expected_variance = reference.moments(x, axis)
    assert count == x.size // shape[axis]
    assert mean.dtype == variance.dtype == dtype
    np.testing.assert_allclose(mean, expected_mean, **TOLERANCE[dtype])
    np.testing.assert_allclose(variance, expected_variance, **TOLERANCE[dtype])


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_moments_ignore_masked_positions_whatever_they_hold(shape, axis, inputs, rng, execution):
    x = inputs(shape, axis)
    mask = rng.random(np.delete(shape, axis)) < 0.6
    poisoned = np.where(np.expand_dims(mask, axis), x, np.nan).astype("float32")
    count, mean, variance = execution(lambda x, mask: functional.moments(x, axis, mask))(tf.constant(poisoned), tf.constant(mask))
    expected_mean, expected_variance = reference.moments(x, axis, mask)
    assert count == mask.sum()
    np.testing.assert_allclose(mean, expected_mean, **TOLERANCE["float32"])
    np.testing.assert_allclose(variance, expected_variance, **TOLERANCE["float32"])


def test_moments_take_a_mask_that_broadcasts(inputs, execution):
    x = inputs((4, 6, 5, 3))
    mask = np.array([True, False, True, True]).reshape(4, 1, 1)
    _, mean, variance = execution(lambda x, mask: functional.moments(x, -1, mask))(tf.constant(x), tf.constant(mask))
    expected_mean, expected_variance = reference.moments(x[[0, 2, 3]])
    np.testing.assert_allclose(mean, expected_mean, **TOLERANCE["float32"])
    np.testing.assert_allclose(variance, expected_variance, **TOLERANCE["float32"])


# float32 holds a mean of 1e6 to 0.06 and one of 1e8 to 8, so that the inputs themselves, rounded, no longer have the variance that they were drawn with:
# the oracle sees the rounded ones. What is left is the rounding of the deviations.
@pytest.mark.parametrize("offset", [1e4, 1e6, 1e8])
def test_variance_stays_right_far_from_zero(offset, rng, execution):
    x = (rng.normal(size=(512, 8, 4)) + offset).astype("float32")
    _, mean, variance = execution(functional.moments)(tf.constant(x))
    expected_mean, expected_variance = reference.moments(x)
    np.testing.assert_allclose(variance, expected_variance, rtol=1e-3)
    np.testing.assert_allclose(mean, expected_mean, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_accumulated_in_float32(dtype, inputs, execution):
    x = tf.cast(inputs((64, 32, 32, 2)) * 100, dtype)  # Sums and squares overflow float16.
    _, mean, variance = execution(functional.moments)(x)
    expected_mean, expected_variance = reference.moments(tf.cast(x, tf.float64).numpy())
    assert mean.dtype == variance.dtype == tf.float32
    # 65,536 summands, added one after the other by XLA: up to 5e-5 in float32, where 16 bits would lose 1e-3 at the first addition.
    np.testing.assert_allclose(mean, expected_mean, rtol=5e-5)
    np.testing.assert_allclose(variance, expected_variance, rtol=5e-5)


@pytest.mark.parametrize(("shape", "axis", "dtype"), IN_EACH_DTYPE)
def test_training_form_and_its_gradient_equal_the_oracle(shape, axis, dtype, inputs, rng, execution):
    x = inputs(shape, axis, dtype)
    channels = shape[axis]
    gamma, beta, dy = rng.normal(2, 1, channels), rng.normal(3, 1, channels), rng.normal(0.5, 1, shape)
    x_, gamma_, beta_, dy_ = (tf.constant(value, dtype) for value in (x, gamma, beta, dy))

    def forward_and_backward(x, gamma, beta, dy):
        with tf.GradientTape() as tape:
            tape.watch((x, gamma, beta))
            y, batch = functional.batch_norm_training(x, gamma, beta, axis=axis, epsilon=0.1)
        return y, batch, tape.gradient(y, (x, gamma, beta), dy)

    y, batch, gradients = execution(forward_and_backward)(x_, gamma_, beta_, dy_)
    np.testing.assert_allclose(y, reference.batch_norm_training(x, gamma, beta, axis, 0.1), **TOLERANCE[dtype])
    np.testing.assert_allclose(batch.variance, reference.moments(x, axis)[1], **TOLERANCE[dtype])
    for gradient, expected in zip(gradients, reference.batch_norm_training_gradient(x, gamma, dy, axis, 0.1)):
        # dgamma sums up to 90 products of size 10.
        np.testing.assert_allclose(gradient, expected, rtol=TOLERANCE[dtype]["rtol"], atol=TOLERANCE[dtype]["atol"] * 5)


@pytest.mark.parametrize(("shape", "axis", "dtype"), IN_EACH_DTYPE)
def test_inference_form_equals_the_oracle(shape, axis, dtype, inputs, rng, execution):
    x = inputs(shape, axis, dtype)
    channels = shape[axis]
    gamma, beta, mean, variance = rng.normal(2, 1, channels), rng.normal(3, 1, channels), rng.normal(2, 1, channels), rng.uniform(0.5, 4, channels)

    def infer(*arguments):
        return functional.batch_norm_inference(*arguments, axis=axis, epsilon=0.1)

    y = execution(infer)(*(tf.constant(value, dtype) for value in (x, gamma, beta, mean, variance)))
    np.testing.assert_allclose(y, reference.batch_norm_inference(x, gamma, beta, mean, variance, axis, 0.1), **TOLERANCE[dtype])


def test_moving_average_keeps_the_share_momentum_of_the_old(rng, execution):
    moving, value = rng.normal(5, 1, 4), rng.normal(-2, 1, 4)
    average = execution(lambda *arguments: functional.moving_average(*arguments, momentum=0.9, count=tf.constant(3.0)))
    got = average(tf.constant(moving, tf.float32), tf.constant(value, tf.float32))
    np.testing.assert_allclose(got, reference.moving_average(moving, value, 0.9), rtol=1e-6)


def test_moving_average_of_nothing_stays_as_it_is(execution):
    average = execution(lambda moving: functional.moving_average(moving, tf.constant([np.nan]), momentum=0.9, count=tf.constant(0.0)))
    assert average(tf.constant([5.0])).numpy() == [5.0]
