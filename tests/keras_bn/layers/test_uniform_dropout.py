"""The layer: the distribution of its noise against closed forms, and what it leaves alone.

Tolerances are 5 standard errors of n draws of r ~ U(-b, b): b / sqrt(3 n) for the mean, b**2 sqrt(4 / (45 n)) for the variance (E r**4 = b**4 / 5), and
1 / sqrt(n) for a correlation. The seeds are fixed, so that the outcome is, too.
"""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bn


def drawn(layer, x, dy=None, execution=lambda function: function):
    """(outputs, gradient) of one call in training."""

    def step(x, dy):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        return y, tape.gradient(y, x, dy)

    return [value.numpy() for value in execution(step)(tf.constant(x), tf.constant(np.ones_like(x) if dy is None else dy))]


def correlation(a, b):
    return np.corrcoef(np.ravel(a), np.ravel(b))[0, 1]


def test_noise_is_uniform_around_1_and_independent(inputs, rng, execution):
    beta, shape = 0.3, (40, 10, 10, 5)
    x, dy, n = inputs(shape), rng.normal(0.5, 1, shape).astype("float32"), math.prod(shape)
    y, dx = drawn(keras_bn.UniformDropout(beta, seed=3), x, dy, execution)
    r = dx.astype("float64") / dy - 1  # dy / dx = 1 + r, whatever x is.
    np.testing.assert_allclose(y, x * (1 + r), rtol=1e-6)  # Rounding of three products in float32.
    assert np.abs(r).max() <= beta + 1e-6
    assert np.abs(r).max() > beta * (1 - 20 / n)  # All n stay below with a probability of exp(-20).
    assert abs(r.mean()) < 5 * beta / math.sqrt(3 * n)
    assert abs(r.var() - beta**2 / 3) < 5 * beta**2 * math.sqrt(4 / (45 * n))
    neighbours = [np.split(r, [1], axis)[1] for axis in range(4)]
    for axis, later in enumerate(neighbours):
        assert abs(correlation(later, np.delete(r, -1, axis))) < 5 / math.sqrt(later.size)
    for axis in range(4):  # What is shared along an axis would show in the means over the others.
        means = r.mean(axis=tuple(other for other in range(4) if other != axis))
        assert np.abs(means).max() < 5 * beta / math.sqrt(3 * n / len(means))


def test_variance_shift_is_that_of_the_paper(rng):
    """v / Var_train = 3 / (3 + beta**2) for mean 0, and v / (v + (v + c**2) beta**2 / 3) for mean c."""
    for mean in [0.0, 2.0]:
        beta, n = 0.5, 1_000_000
        x = rng.uniform(-1, 1, n)
        x = (x - x.mean()) / x.std() + mean
        y, _ = drawn(keras_bn.UniformDropout(beta, seed=3, dtype="float64"), x)
        expected = 3 / (3 + beta**2) if mean == 0 else 1 / (1 + (1 + mean**2) * beta**2 / 3)
        # The standard error of a variance of n draws is at most sqrt(2 / n) of it where tails are no longer than a Gaussian's, as are these.
        np.testing.assert_allclose(x.var() / y.var(), expected, rtol=5 * math.sqrt(2 / n))


def test_noise_is_another_at_every_call_and_the_same_for_the_same_seed(inputs, execution):
    x = tf.constant(inputs((200, 50)))
    layer = keras_bn.UniformDropout(0.5, seed=1)
    draw, start = execution(lambda x: layer(x, training=True) / x - 1), layer.seed_generator.state.numpy()
    first, second = draw(x), draw(x)
    layer.seed_generator.state.assign(keras_bn.UniformDropout(0.5, seed=2).seed_generator.state)
    other_seed = draw(x)
    layer.seed_generator.state.assign(start)
    np.testing.assert_array_equal(draw(x), first)
    for later in (second, other_seed):
        assert abs(correlation(first, later)) < 5 / math.sqrt(10_000)


def test_seed_none_follows_the_seed_of_keras(inputs):
    x = inputs((20, 5))
    outputs = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        outputs.append(keras_bn.UniformDropout(0.5)(x, training=True).numpy())
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert not np.allclose(outputs[0], outputs[2])


def test_inference_changes_nothing(inputs):
    layer, x = keras_bn.UniformDropout(0.5, seed=1), inputs((20, 5))
    before = layer.seed_generator.state.numpy()
    for arguments in ({}, {"training": None}, {"training": False}):
        np.testing.assert_array_equal(layer(x, **arguments), x)
    np.testing.assert_array_equal(layer.seed_generator.state, before)


def test_training_may_be_a_tensor(inputs, execution):
    x, layer = tf.constant(inputs((20, 5))), keras_bn.UniformDropout(0.5, seed=1)
    ask = execution(lambda x, training: layer(x, training=training))
    np.testing.assert_array_equal(ask(x, tf.constant(False)), x)
    r = ask(x, tf.constant(True)) / x - 1
    assert np.abs(r).max() <= 0.5 + 1e-6
    assert abs(np.abs(r).mean() - 0.25) < 5 * 0.5 / math.sqrt(12 * 100)  # |r| ~ U(0, 1 / 2).


def test_dtype_policies(inputs):
    for dtype in ["mixed_float16", "mixed_bfloat16", "float16", "float64"]:
        layer = keras_bn.UniformDropout(0.1, seed=1, dtype=dtype)
        x = tf.constant(inputs((500, 20)), layer.compute_dtype)
        y = layer(x, training=True)
        assert y.dtype == layer.compute_dtype
        if dtype == "float64":
            r = y / x - 1
            assert np.abs(r).max() <= 0.1 + 1e-12
            for values in (r.numpy(), y.numpy()):  # Drawn, and applied, with more than 24 bits: relative to 1, float32 rounds by up to 6e-8.
                assert np.abs(values - values.astype("float32")).max() > 1e-10
        else:  # The noise of float32, rounded once.
            exact = keras_bn.UniformDropout(0.1, seed=1)(tf.cast(x, tf.float32), training=True)
            np.testing.assert_array_equal(y, tf.cast(exact, y.dtype))


@pytest.mark.filterwarnings("error")  # Keras warns where a layer takes no mask, and passes it on all the same.
def test_masks_are_passed_on(inputs):
    x = inputs((3, 4, 2))
    x[:, 2:] = 0
    model = keras.Sequential([keras.layers.Masking(0.0), keras_bn.UniformDropout(0.1), keras.layers.GlobalAveragePooling1D()])
    np.testing.assert_allclose(model(x), x[:, :2].mean(axis=1), rtol=1e-5)


def test_in_a_fit_compiled_by_xla_and_of_unknown_batch_size(inputs):
    model = keras.Sequential([keras.Input((5,)), keras_bn.UniformDropout(0.5, seed=1)])
    model.compile("sgd", "mse", jit_compile=True)
    x = inputs((400, 5))
    loss = model.fit(x, x, batch_size=400, verbose=0).history["loss"][0]
    # The mean of (x r)**2; its standard error is at most sqrt(E x**4 / 5 - (E x**2 / 3)**2) * beta**2 / sqrt(n).
    deviation = math.sqrt((x**4).mean() / 5 - ((x**2).mean() / 3) ** 2) * 0.25
    assert abs(loss - (x**2).mean() * 0.25 / 3) < 5 * deviation / math.sqrt(x.size)
    assert model.evaluate(x, x, verbose=0) == 0


def test_saved_and_loaded(tmp_path, inputs):
    x = inputs((20, 5))
    model = keras.Sequential([keras.Input((5,)), keras_bn.UniformDropout(0.25, seed=7)])
    model(x, training=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    assert type(loaded.layers[0]) is keras_bn.UniformDropout
    assert loaded.layers[0].get_config() == model.layers[0].get_config()
    assert (loaded.layers[0].beta, loaded.layers[0].seed) == (0.25, 7)
    # Keras saves no state of seeds: the noise starts anew.
    np.testing.assert_array_equal(loaded(x, training=True), keras_bn.UniformDropout(0.25, seed=7)(x, training=True))


def test_output_shape():
    assert keras_bn.UniformDropout(0.1).compute_output_shape((None, 4, 3)) == (None, 4, 3)


def test_another_beta_is_refused():
    for beta in [-0.1, 1.5, math.nan, "0.1", True]:
        with pytest.raises(ValueError, match="beta") as caught:
            keras_bn.UniformDropout(beta)
        assert str(caught.value) == (
            f"`beta` of UniformDropout is {beta!r}; expected a number from 0 to 1, the largest relative change of a value: beyond 1 it would change signs."
        )


def test_another_seed_is_refused():
    for seed in [-1, 1.5, "1", True]:
        with pytest.raises(ValueError, match="seed") as caught:
            keras_bn.UniformDropout(0.1, seed=seed)
        assert str(caught.value) == f"`seed` of UniformDropout is {seed!r}; expected an integer from 0, or None for one drawn at random."


def test_integers_are_refused():
    with pytest.raises(ValueError, match="dtype") as caught:
        keras_bn.UniformDropout(0.1, name="noise").call(tf.constant([1, 2]), training=True)
    assert str(caught.value) == "noise received inputs of dtype int32; expected floating point: cast them, for instance to float32."


def test_of_ragged_and_sparse_inputs_the_values_that_are_there_are_multiplied():
    layer = keras_bn.UniformDropout(0.1, seed=np.int64(3))
    values = tf.fill([5], 10.0)
    ragged = tf.RaggedTensor.from_row_lengths(values, [2, 3])
    sparse = tf.SparseTensor([[index, 2 * index] for index in range(5)], values, [5, 10])
    for inputs, present in ((ragged, lambda outputs: outputs.flat_values), (sparse, lambda outputs: outputs.values)):
        noisy = present(layer(inputs, training=True)).numpy()
        assert ((noisy >= 9) & (noisy <= 11)).all()
        assert len(set(noisy)) > 1
        np.testing.assert_array_equal(present(layer(inputs, training=False)), values)
