"""The layer: its noise against the distributions of Alg. 1, what it is put on against the oracle, and what it leaves alone.

outputs = scale * y + offset is taken apart by two calls that draw the same noise, with beta one larger in the second: their difference is the scale, and
the rest the offset.

Tolerances are 5 standard errors; the seeds are fixed, so that the outcome is, too. Of n draws from a range of length L the mean is off by L / sqrt(12 n) and
the variance, as the fourth central moment is L**4 / 80, by L**2 sqrt((1 / 80 - 1 / 144) / n) = L**2 / sqrt(180 n). Of n Gaussian draws of variance v, the
variance is off by v sqrt(2 / n) and the kurtosis by sqrt(24 / n). A correlation of 0 is off by 1 / sqrt(n).
"""

import functools
import itertools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bn
import reference

R = 0.1  # r_mu and r_sigma.


def built(shape, axis=-1, seed=5, **arguments):
    """A layer whose weights are all away from their initial values."""
    rng = np.random.default_rng(1)
    layer = keras_bn.NoisyBatchNormalization(axis=axis, momentum=0.7, epsilon=0.1, seed=seed, **arguments)
    layer.build(shape)
    layer.gamma.assign(rng.normal(2, 1, shape[axis]))
    layer.beta.assign(rng.normal(3, 1, shape[axis]))
    layer.moving_mean.assign(rng.normal(2, 1, shape[axis]))
    layer.moving_variance.assign(rng.uniform(0.5, 4, shape[axis]))
    return layer


def expected_activations(layer, x, training):
    gamma, beta = layer.gamma.numpy(), layer.beta.numpy()
    if training:
        return reference.batch_norm_training(x, gamma, beta, layer.axis, layer.epsilon)
    return reference.batch_norm_inference(x, gamma, beta, layer.moving_mean.numpy(), layer.moving_variance.numpy(), layer.axis, layer.epsilon)


def noise(layer, x, call=None, training=True):
    """(scale, offset) of the next call, each of the shape of x, float64; right to 1e-5, as outputs of size up to 20 are in float32."""
    call, x = call or functools.partial(layer, training=training), tf.constant(x)
    beta, state = layer.beta.numpy(), layer.seed_generator.state.numpy()
    activations = expected_activations(layer, x.numpy(), training)
    outputs = tf.cast(call(x), tf.float64).numpy()
    after = layer.seed_generator.state.numpy()
    layer.beta.assign(beta + 1)
    layer.seed_generator.state.assign(state)
    scale = tf.cast(call(x), tf.float64).numpy() - outputs
    layer.beta.assign(beta)
    np.testing.assert_array_equal(layer.seed_generator.state, after)
    return scale, outputs - scale * activations


def by_channel(values, axis):
    """(N, C)."""
    values = np.moveaxis(values, axis, -1)
    return values.reshape(-1, values.shape[-1])


def correlation(a, b):
    return np.corrcoef(np.ravel(a), np.ravel(b))[0, 1]


@pytest.mark.parametrize(("shape", "axis"), [((4, 6, 5, 2000), -1), ((4, 2000, 6, 5), 1), ((60, 2000), -1)])
def test_noise_has_the_distributions_of_algorithm_1(shape, axis, inputs):
    scale, offset = (by_channel(values, axis) for values in noise(built(shape, axis), inputs(shape, axis)))
    n, channels = scale.shape
    m, s = offset.mean(axis=0), scale.mean(axis=0)  # About what was drawn for each channel: their variances are larger by that of a mean of n draws.
    # m ~ U(-0.5, 0.5), s ~ U(1, 1.25); a mean of n values adds R**2 / 3n and R**2 / n.
    for values, low, high, extra in ((m, -0.5, 0.5, R**2 / 3 / n), (s, 1.0, 1.25, R**2 / n)):
        length, variance = high - low, (high - low) ** 2 / 12 + extra
        assert abs(values.mean() - (low + high) / 2) < 5 * math.sqrt(variance / channels)
        # Of a sum of a uniform and a Gaussian variable, the relative error of the variance is at most the Gaussian's.
        assert abs(values.var() - variance) < 5 * min(length**2 / math.sqrt(180) + extra * math.sqrt(2), variance * math.sqrt(2)) / math.sqrt(channels)
        assert values.min() > low - 5 * math.sqrt(extra)
        assert values.max() < high + 5 * math.sqrt(extra)
    assert abs(correlation(m, s)) < 5 / math.sqrt(channels)
    # offset - m ~ U(-R, R), scale - s ~ N(0, R**2): the mean of n values takes one of n degrees of freedom.
    offset, scale = offset - m, scale - s
    assert np.ptp(offset, axis=0).max() < 2 * R + 4e-5
    freedom = (n - 1) * channels
    np.testing.assert_allclose((offset**2).sum() / freedom, R**2 / 3, rtol=5 * 12 / math.sqrt(180 * freedom))
    np.testing.assert_allclose((scale**2).sum() / freedom, R**2, rtol=5 * math.sqrt(2 / freedom))
    np.testing.assert_allclose((scale**4).mean() / (scale**2).mean() ** 2, 3, atol=5 * math.sqrt(24 / scale.size))
    assert abs(correlation(offset, scale)) < 5 / math.sqrt(scale.size)
    # What is drawn for a value is no other channel's: neighbours, less the channels' means, are uncorrelated.
    for values in (offset, scale):
        assert abs(correlation(values[:, 1:], values[:, :-1])) < 5 / math.sqrt(scale.size - n)


def test_moments_of_the_outputs_are_those_of_the_distribution_drawn(inputs):
    """Mean m in [-0.5, 0.5] and variance s**2 + R**2 + R**2 / 3 of a channel, with E s**2 = (1 + b + b**2) / 3 for s ~ U(1, b)."""
    n, channels, b = 2000, 400, 1.25
    layer = keras_bn.NoisyBatchNormalization(epsilon=1e-6, seed=5)
    y = layer(inputs((n, channels)), training=True).numpy().astype("float64")
    # The spread of s**2 over channels, (b**5 - 1) / 5 (b - 1) - (E s**2)**2, outweighs that of a variance of n values, relative to it sqrt(2 / n).
    expected = (1 + b + b**2) / 3
    spread = (b**5 - 1) / (5 * (b - 1)) - expected**2 + 2 / n * 1.6**2
    assert abs(y.var(axis=0).mean() - (expected + R**2 * 4 / 3)) < 5 * math.sqrt(spread / channels)
    assert abs(y.mean(axis=0).var() - (1 / 12 + R**2 * 4 / 3 / n)) < 5 / math.sqrt(180 * channels)


def test_distributions_are_drawn_anew_at_every_step(inputs, execution):
    n, channels, steps = 60, 2000, 3
    layer, x = built((n, channels)), inputs((n, channels))
    call = execution(lambda x: layer(x, training=True))
    drawn = [noise(layer, x, call) for _ in range(steps)]
    scales, offsets = (np.array([values[kind].mean(axis=0) for values in drawn]) for kind in (0, 1))
    for values, length, extra in ((scales, 0.25, R**2 / n), (offsets, 1, R**2 / 3 / n)):
        for one, other in itertools.combinations(values, 2):
            assert abs(correlation(one, other)) < 5 / math.sqrt(channels)
        error = 5 * (length**2 / math.sqrt(180) + extra * math.sqrt(2)) / math.sqrt(channels * steps)
        assert abs(values.var() - length**2 / 12 - extra) < error
    # |m - m'| of two draws from U(-1/2, 1/2) has mean 1 / 3 and variance 1 / 18; that m is known as a mean of 60 values adds less than 1e-3.
    assert abs(np.abs(offsets[0] - offsets[1]).mean() - 1 / 3) < 5 / math.sqrt(18 * channels) + 1e-3


def test_ranges_are_the_arguments(inputs):
    scale, offset = noise(built((60, 2000), mean_range=2, variance_range=3), inputs((60, 2000)))
    m, s = offset.mean(axis=0), scale.mean(axis=0)
    for values, length, middle in ((m, 4, 0), (s, 2, 2)):
        assert abs(values.mean() - middle) < 5 * length / math.sqrt(12 * 2000)
        assert abs(values.var() - length**2 / 12) < 5 * length**2 / math.sqrt(180 * 2000)


def test_gradients_and_moving_statistics_equal_the_oracle(inputs, rng, execution):
    shape, axis = (4, 3, 6, 5), 1
    layer, x, dy = built(shape, axis), inputs(shape, axis), rng.normal(0.5, 1, shape).astype("float32")
    state = layer.seed_generator.state.numpy()
    before = layer.moving_mean.numpy(), layer.moving_variance.numpy()

    def step(x, dy):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        return y, tape.gradient(y, [x, layer.gamma, layer.beta], dy)

    run = execution(step)
    y, gradients = run(tf.constant(x), tf.constant(dy))
    mean, variance = reference.moments(x, axis)
    # Rounding of sums of up to 120 float32 values of size 10. The noise does not come into the moving statistics.
    np.testing.assert_allclose(layer.moving_mean, reference.moving_average(before[0], mean, 0.7), rtol=2e-5)
    np.testing.assert_allclose(layer.moving_variance, reference.moving_average(before[1], variance, 0.7), rtol=2e-5)
    layer.seed_generator.state.assign(state)
    layer.beta.assign_add(tf.ones_like(layer.beta))
    scale = run(tf.constant(x), tf.constant(dy))[0].numpy().astype("float64") - y
    expected = reference.batch_norm_training_gradient(x, layer.gamma.numpy(), dy * scale, axis, layer.epsilon)
    for gradient, value in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(gradient, value, rtol=2e-5, atol=5e-4)  # The scale is right to 1e-6, and sums have 120 products of size 10.


def test_no_noise_in_inference(inputs):
    for arguments, trainable in [({}, True), ({"training": False}, True), ({"training": True}, False)]:
        layer, x = built((16, 5)), inputs((16, 5))
        layer.trainable = trainable
        state = layer.seed_generator.state.numpy()
        np.testing.assert_allclose(layer(x, **arguments), expected_activations(layer, x, training=False), rtol=2e-5, atol=2e-5)
        np.testing.assert_array_equal(layer.seed_generator.state, state)


def test_noise_in_inference_if_asked_for(inputs):
    layer, x = built((60, 2000), noise_in_inference=True), inputs((60, 2000))
    scale, offset = noise(layer, x, training=False)
    for values, length, middle in ((offset.mean(axis=0), 1, 0), (scale.mean(axis=0), 0.25, 1.125)):
        assert abs(values.mean() - middle) < 5 * length / math.sqrt(12 * 2000) * 1.1  # 1.1: that the means are over 60 values adds less.
        assert abs(values.std() / (length / math.sqrt(12)) - 1) < 0.1


def test_training_may_be_a_tensor(inputs):
    tensor_decided, python_decided, x = built((16, 5)), built((16, 5)), tf.constant(inputs((16, 5)))
    ask = tf.function(lambda x, training: tensor_decided(x, training=training))
    np.testing.assert_allclose(ask(x, tf.constant(False)), expected_activations(python_decided, x.numpy(), training=False), rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(ask(x, tf.constant(True)), python_decided(x, training=True), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(tensor_decided.moving_variance, python_decided.moving_variance, rtol=1e-6)


def test_the_same_seed_gives_the_same_noise(inputs):
    x = inputs((16, 5))
    one, same, other = (built((16, 5), seed=seed)(x, training=True).numpy() for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other)


def test_masked_positions_do_not_count(inputs):
    x, mask = inputs((8, 6, 4)), np.arange(48).reshape(8, 6) % 3 > 0
    layer, poisoned = built((8, 6, 4)), np.where(mask[..., np.newaxis], x, 1e6)
    y = layer(x, training=True, mask=mask)
    np.testing.assert_allclose(built((8, 6, 4))(poisoned, training=True, mask=mask).numpy()[mask], y.numpy()[mask], rtol=1e-5, atol=1e-5)
    assert layer.supports_masking


def test_noise_of_mixed_policies_is_that_of_float32(inputs):
    for dtype in ["mixed_float16", "mixed_bfloat16"]:
        half, full = built((64, 5), dtype=dtype), built((64, 5))
        x = tf.cast(inputs((64, 5)), half.compute_dtype)
        y = half(x, training=True)
        assert y.dtype == half.compute_dtype
        expected = full(tf.cast(x, tf.float32), training=True)
        # Rounded twice, before the noise and after it, relative to values of size up to 16.
        precision = {"mixed_float16": 2**-11, "mixed_bfloat16": 2**-8}[dtype]
        np.testing.assert_allclose(tf.cast(y, tf.float32), expected, rtol=3 * precision, atol=16 * precision)


def test_float64(inputs):
    layer, x = built((60, 500), dtype="float64"), inputs((60, 500), dtype="float64")
    scale, offset = noise(layer, x)
    assert np.ptp(offset, axis=0).max() < 2 * R + 1e-12  # Wider by the rounding of outputs of size 20.
    y = layer(x, training=True).numpy()
    for values in (scale, y):  # Drawn, and applied, with more than 24 bits.
        assert np.abs(values - values.astype("float32")).max() > 1e-9


def test_in_a_fit(inputs):
    x = inputs((40, 6, 6, 3))
    layer = keras_bn.NoisyBatchNormalization(momentum=0.8, seed=1)
    model = keras.Sequential([keras.Input((6, 6, 3)), layer, keras.layers.Conv2D(1, 3)])
    model.compile("sgd", "mse", jit_compile=False)
    model.fit(x, np.zeros((40, 4, 4, 1)), batch_size=20, shuffle=False, verbose=0)
    mean = np.zeros(3)
    for batch in np.split(x, 2):
        mean = reference.moving_average(mean, reference.moments(batch)[0], 0.8)
    np.testing.assert_allclose(layer.moving_mean, mean, rtol=1e-5)
    assert layer.seed_generator.state.numpy()[1] == 8  # Two steps of four draws.


def test_saved_and_loaded(tmp_path, inputs):
    x = inputs((16, 5))
    arguments = dict(mean_range=0.25, variance_range=2.0, seed=7, noise_in_inference=True, epsilon=0.02, virtual_batch_size=4)
    model = keras.Sequential([keras.Input((5,)), keras_bn.NoisyBatchNormalization(**arguments)])
    model(x, training=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True).layers[0]
    assert type(loaded) is keras_bn.NoisyBatchNormalization
    assert {name: getattr(loaded, name) for name in arguments} == arguments
    assert loaded.get_config() == model.layers[0].get_config()
    # Keras saves no state of seeds: the noise starts anew.
    anew = keras_bn.NoisyBatchNormalization(**arguments)
    anew.build((16, 5))
    anew.set_weights(model.get_weights())
    for training in (False, True):
        np.testing.assert_array_equal(loaded(x, training=training), anew(x, training=training))


def test_weights_are_those_of_batch_normalization(inputs):
    theirs = keras.layers.BatchNormalization()
    theirs(inputs((16, 5)), training=True)
    layer = keras_bn.NoisyBatchNormalization()
    layer.build((16, 5))
    layer.set_weights(theirs.get_weights())
    x = inputs((16, 5))
    np.testing.assert_allclose(layer(x), theirs(x), rtol=2e-5, atol=2e-5)


def test_what_is_out_of_range_is_refused():
    for name, value, expected in [
        ("mean_range", -0.5, "a number from 0, the largest mean of the noise: 0.5 in the paper"),
        ("mean_range", math.inf, "a number from 0, the largest mean of the noise: 0.5 in the paper"),
        ("variance_range", 0.9, "a number from 1, the largest scale of the noise: 1.25 in the paper, 1 for none but the values' own"),
        ("variance_range", "1", "a number from 1, the largest scale of the noise: 1.25 in the paper, 1 for none but the values' own"),
        ("seed", -1, "an integer from 0, or None for one drawn at random"),
        ("seed", 1.5, "an integer from 0, or None for one drawn at random"),
    ]:
        with pytest.raises(ValueError, match=name) as caught:
            keras_bn.NoisyBatchNormalization(**{name: value})
        assert str(caught.value) == f"`{name}` of NoisyBatchNormalization is {value!r}; expected {expected}."
