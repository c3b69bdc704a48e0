"""Against NumPy in float64, and against what mean field theory says of the gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from nets import EPSILON, KINDS, prepared

import keras_bn
import reference
from keras_bn import measures
from keras_bn.measures import activation_statistics, activations


def test_equals_numpy(kind, inputs, rng):
    model, x, y, weights, _, order = prepared(kind, rng, inputs)
    weights = [weights[number].astype("float32").astype("float64") for number in order]

    def second(z2):
        return np.mean((np.tanh(reference.batch_norm_training(z2, *weights[4:6], -1, EPSILON)) @ weights[6] + weights[7] - y) ** 2)

    def first(z1):
        return second(np.tanh(reference.batch_norm_training(z1, *weights[1:3], -1, EPSILON)) @ weights[3])

    z1 = x.astype("float64") @ weights[0]
    y1 = reference.batch_norm_training(z1, *weights[1:3], -1, EPSILON)
    z2 = np.tanh(y1) @ weights[3]
    y2 = reference.batch_norm_training(z2, *weights[4:6], -1, EPSILON)
    norms = [np.linalg.norm(reference.numerical_gradient(loss, z)) for loss, z in ((first, z1), (second, z2))]

    statistics = activation_statistics(model, x, y)
    assert [each.layer for each in statistics] == [
        f"{number}_batch_normalization" for number in (("02", "01") if kind is KINDS["subclassed"] else ("01", "02"))
    ]
    for each, values, outputs, norm in zip(statistics, (z1, z2), (y1, y2), norms):
        for distribution, expected in ((each.inputs, values), (each.outputs, outputs)):
            np.testing.assert_allclose(distribution.mean, expected.mean(0), rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(distribution.variance, expected.var(0), rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(distribution.percentiles, np.percentile(expected, [15, 50, 85]), rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose([distribution.overall_mean, distribution.overall_stddev], [expected.mean(), expected.std()], rtol=1e-4, atol=1e-5)
        assert each.saturated == pytest.approx(np.mean(np.abs(np.tanh(outputs)) > 0.98))
        assert each.dead is None
        np.testing.assert_allclose(each.gradient_norm, norm, rtol=1e-4)
    np.testing.assert_allclose(statistics[0].gradient_ratio, (norms[0] / norms[1]) ** 2, rtol=1e-4)
    assert statistics[1].gradient_ratio is None
    assert [each.gradient_norm for each in activation_statistics(model, x)] == [None, None]


@pytest.mark.parametrize("axis", [1, -1])
def test_dead_channels_and_saturated_values(axis, inputs):
    x = inputs((6, 4, 5, 4), axis)
    layers = [keras_bn.BatchNormalization(axis=axis) for _ in range(2)]
    model = keras.Sequential([keras.Input((4, 5, 4)), layers[0], keras.layers.ReLU(), layers[1], keras.layers.Activation("sigmoid")])
    layers[0].beta.assign([0, -100, 0, -100])
    layers[1].gamma.assign([1, 3, 30, 300])
    relu, sigmoid = activation_statistics(model, x)
    assert (relu.dead, relu.saturated, sigmoid.dead) == (0.5, None, None)
    z = reference.batch_norm_training(x, 1, [0, -100, 0, -100], axis, 1e-3)
    outputs = 1 / (1 + np.exp(-reference.batch_norm_training(np.maximum(z, 0), [1, 3, 30, 300], 0, axis, 1e-3)))
    assert sigmoid.saturated == pytest.approx(np.mean((outputs < 0.01) | (outputs > 0.99)), abs=2e-3)
    assert 0 < sigmoid.saturated < 1


def test_many_values_are_sampled_with_all_channels(rng):
    x = (rng.normal(size=(70, 40, 64)) * np.arange(1, 65)).astype("float32")
    model = keras.Sequential([keras.Input((40, 64)), keras_bn.BatchNormalization()])
    [statistics] = activation_statistics(model, x)
    assert activations.SAMPLE / 2 < statistics.inputs.sample.size <= activations.SAMPLE
    np.testing.assert_allclose(statistics.inputs.sample.reshape(-1, 64).std(0), np.arange(1, 65), rtol=0.15)
    np.testing.assert_allclose(statistics.inputs.percentiles, np.percentile(x, [15, 50, 85]), rtol=0.02, atol=0.5)


def test_what_is_sampled_of_images_does_not_depend_on_where_it_stands():
    """Of so many values in rows of so many pixels, equal distances would hit the first column only."""
    x = np.broadcast_to(np.arange(32.0).reshape(32, 1), (128, 32, 32, 16)).astype("float32")
    [statistics] = activation_statistics(keras.Sequential([keras.Input((32, 32, 16)), keras_bn.BatchNormalization()]), x)
    assert statistics.inputs.sample.size == activations.SAMPLE
    np.testing.assert_allclose(statistics.inputs.percentiles, np.percentile(x, [15, 50, 85]), atol=1)


def test_gradients_of_a_relu_net_grow_as_mean_field_theory_says(rng):
    """Yang et al. 2019: pi / (pi - 1) = 1.467 a layer for large batches, by eq. 25 1.473 for 256. The first layer's inputs are not those of a ReLU yet."""
    model = keras.Sequential([keras.Input((512,))])
    for _ in range(11):
        model.add(keras.layers.Dense(512, use_bias=False, kernel_initializer=keras.initializers.RandomNormal(0, 512**-0.5)))
        model.add(keras_bn.BatchNormalization(epsilon=1e-6))
        model.add(keras.layers.ReLU())
    model.add(keras.layers.Dense(1))
    model.compile("sgd", "mse")
    statistics = activation_statistics(model, rng.normal(size=(256, 512)), rng.normal(size=(256, 1)))
    ratios = [each.gradient_ratio for each in statistics[1:-1]]
    np.testing.assert_allclose(np.exp(np.mean(np.log(ratios))), 1.473, rtol=0.02)


def one_real_step_a_row():
    """(x, mask): x (8, 10, 2) is 0 but for one step of each row, which has the values 1 to 8; and a net's input of it."""
    x = np.zeros((8, 10, 2), "float32")
    x[np.arange(8), np.arange(8)] = np.arange(1, 9)[:, None]
    return x


@pytest.mark.parametrize(
    ("gamma", "beta", "activation", "quantity", "share"),
    [(-1.0, -1.7, keras.layers.ReLU, "dead", 1.0), (10.0, 0.0, lambda: keras.layers.Activation("tanh"), "saturated", 1.0 * 6 / 8)],
    ids=["dead", "saturated"],
)
def test_masked_positions_count_in_nothing(gamma, beta, activation, quantity, share):
    layer = keras_bn.BatchNormalization()
    model = keras.Sequential([keras.Input((10, 2)), keras.layers.Masking(), layer, activation()])
    layer.gamma.assign([gamma] * 2)
    layer.beta.assign([beta] * 2)
    [statistics] = activation_statistics(model, one_real_step_a_row())
    values = np.repeat(np.arange(1.0, 9), 2)
    np.testing.assert_allclose(statistics.inputs.percentiles, [2, 4.5, 7])
    np.testing.assert_array_equal(np.sort(statistics.inputs.sample), values)
    np.testing.assert_allclose(statistics.inputs.mean, [4.5, 4.5])
    outputs = gamma * (values - values.mean()) / np.sqrt(values.var() + 1e-3) + beta
    np.testing.assert_allclose(np.sort(statistics.outputs.sample), np.sort(outputs), rtol=1e-5)
    if quantity == "saturated":
        share = np.mean(np.abs(np.tanh(outputs)) > 0.98)
        assert share == 0.75
    assert getattr(statistics, quantity) == share


@pytest.mark.parametrize("axis", [1, -1])
def test_a_mask_of_each_position_is_read_along_the_axis(axis, rng):
    """Keras passes on a mask of the shape of the inputs without their last axis; with channels first it broadcasts to the shape without the channels."""
    x = rng.normal(2, 3, (6, 4, 4)).astype("float32")
    mask = rng.random((6, 4)) < 0.6

    class Masked(keras.Layer):
        def call(self, x):
            return x

        def compute_mask(self, x, previous=None):
            return tf.constant(mask)

    layer = keras_bn.BatchNormalization(axis=axis)
    [statistics] = activation_statistics(keras.Sequential([keras.Input((4, 4)), Masked(), layer]), x)
    rows = np.moveaxis(x, axis, -1)[mask]
    np.testing.assert_array_equal(np.sort(statistics.inputs.sample), np.sort(rows.reshape(-1)))
    np.testing.assert_allclose(statistics.inputs.mean, rows.mean(0), rtol=1e-5)


def test_a_batch_of_padding_only_has_no_percentiles():
    model = keras.Sequential([keras.Input((3, 2)), keras.layers.Masking(), keras_bn.BatchNormalization()])
    [statistics] = activation_statistics(model, np.zeros((4, 3, 2), "float32"))
    assert statistics.inputs.sample.size == 0
    assert np.isnan(statistics.inputs.percentiles).all()


def test_means_are_those_of_the_inputs_not_rounded_to_float32(rng):
    x = (rng.normal(size=(1000, 3)) * [0.1, 1, 2] - 1e4).astype("float32")
    [statistics] = activation_statistics(keras.Sequential([keras.Input((3,)), keras_bn.BatchNormalization()]), x)
    mean, variance = reference.moments(x)
    np.testing.assert_allclose(statistics.inputs.mean, mean, rtol=0, atol=1e-6)
    np.testing.assert_allclose(statistics.inputs.variance, variance, rtol=1e-6)


def test_an_activation_is_known_by_what_it_is_not_by_its_name(inputs):
    def tanh(x):
        return 5 + 0 * x

    def result(activation):
        [statistics] = activation_statistics(keras.Sequential([keras.Input((4,)), keras_bn.BatchNormalization(), activation]), inputs((8, 4)))
        return statistics.saturated, statistics.dead

    class Rectifier(keras.layers.ReLU):
        pass

    assert result(keras.layers.Activation(tanh)) == (None, None)
    assert result(Rectifier())[1] is not None
    for activation in ("relu", tf.nn.relu):
        assert result(keras.layers.Activation(activation))[1] is not None
    for activation in ("tanh", tf.nn.sigmoid):
        assert result(keras.layers.Activation(activation))[0] is not None


def test_of_ragged_inputs_the_values_that_are_there_count(inputs):
    values = inputs((7, 3))
    model = keras.Sequential([keras_bn.BatchNormalization(axis=2)])
    ragged = tf.RaggedTensor.from_row_lengths(values, [3, 0, 4])
    model(ragged)
    [statistics] = measures.activation_statistics(model, ragged)
    np.testing.assert_allclose(statistics.inputs.variance, values.astype("float64").var(0), rtol=1e-6)
    np.testing.assert_allclose(statistics.inputs.percentiles, np.percentile(values, [15, 50, 85]), rtol=1e-5)


def test_integers_have_no_gradient(rng):
    model = keras.Sequential([keras.Input((3,), dtype="uint8"), keras_bn.BatchNormalization(), keras.layers.Dense(2), keras_bn.BatchNormalization()])
    model.compile("sgd", "mse")
    first, second = measures.activation_statistics(model, rng.integers(0, 200, (8, 3)).astype("uint8"), np.zeros((8, 2)))
    assert first.gradient_norm is None
    assert first.gradient_ratio is None
    assert second.gradient_norm >= 0


def test_where_nothing_counts_there_is_no_number(inputs):
    ins, real = keras.Input((5, 3)), keras.Input((5,), dtype="bool")
    model = keras.Model([ins, real], keras.layers.ReLU()(keras_bn.BatchNormalization()(ins, mask=real)))
    [statistics] = measures.activation_statistics(model, [inputs((6, 5, 3)), np.zeros((6, 5), bool)])
    numbers = [statistics.dead, *statistics.inputs.mean, *statistics.outputs.variance, *statistics.inputs.percentiles]
    assert np.isnan(numbers).all()
