"""Against NumPy in float64; the closed forms for dropout against what it does."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from nets import EPSILON, KINDS, layers_of, prepared

import keras_bn
import reference
from keras_bn import measures
from keras_bn.measures import variance_shift


def either_way(ratio):
    return np.maximum(ratio, 1 / ratio)


def expected_of(z, layer):
    """(ratio, mean_shift, mean, variance, ratios)"""
    mean, variance = reference.moments(z)
    moving_mean, moving_variance = (np.asarray(value, "float64") for value in (layer.moving_mean, layer.moving_variance))
    mean_shift = np.sqrt(np.mean((mean - moving_mean) ** 2 / (moving_variance + layer.epsilon)))
    return either_way(variance.mean() / moving_variance.mean()), mean_shift, mean, variance, either_way(variance / moving_variance)


def check(shift, z, layer):
    got = shift.ratio, shift.mean_shift, shift.mean, shift.variance, shift.ratios
    for one, other in zip(got, expected_of(z, layer)):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def batches_of(x):
    return [x[:5], x[5:9], x[9:]]


DATA = {
    "array": lambda x: x,
    "tensor": tf.constant,
    "generator": lambda x: iter(batches_of(x)),
    "inputs and targets": lambda x: (x, x + 10),
    "generator with targets": lambda x: ((batch, batch[:, :2]) for batch in batches_of(x)),
    "dataset": lambda x: tf.data.Dataset.from_tensor_slices((x, x)).batch(5),
}


@pytest.mark.parametrize("data", DATA)
def test_equals_numpy(kind, data, inputs, rng):
    model, x, _, weights, _, order = prepared(kind, rng, inputs)
    normalisers = [layer for layer in model._flatten_layers() if isinstance(layer, keras_bn.BatchNormalization)]
    for layer in normalisers:
        layer.moving_mean.assign(rng.normal(size=layer.moving_mean.shape))
        layer.moving_variance.assign(rng.uniform(0.5, 4, layer.moving_variance.shape))
    weights = [weights[index].astype("float32").astype("float64") for index in order]
    if kind is KINDS["subclassed"]:
        normalisers.reverse()  # It holds them in the other order.
    z1 = x.astype("float64") @ weights[0]
    y1 = reference.batch_norm_inference(z1, *weights[1:3], normalisers[0].moving_mean, normalisers[0].moving_variance, -1, EPSILON)
    z2 = np.tanh(y1) @ weights[3]
    shifts = {shift.layer: shift for shift in variance_shift(model, DATA[data](x))}
    names = ["01_batch_normalization", "02_batch_normalization"]
    assert list(shifts) == names
    for name, z, layer in zip(names[::-1] if kind is KINDS["subclassed"] else names, (z1, z2), normalisers):
        check(shifts[name], z, layer)
        assert shifts[name].predicted_variance is None


def test_masked_positions_do_not_count(inputs):
    x = inputs((6, 5, 3))
    x[2, 3:] = x[4, 1:] = 0
    layer = keras_bn.BatchNormalization()
    model = keras.Sequential([keras.Input((5, 3)), keras.layers.Masking(0.0), layer])
    [shift] = variance_shift(model, x)
    mask = (x != 0).any(-1)
    assert not mask.all()
    check(shift, x[mask], layer)


@pytest.mark.parametrize("within", [lambda layer: layer, lambda layer: keras.Sequential([keras.Input((3,)), layer])], ids=["itself", "within a model"])
def test_a_layer_that_is_called_twice_is_one(within, inputs):
    a, b = inputs((6, 3)), inputs((6, 3)) + 4
    layer = keras_bn.BatchNormalization()
    called, one, other = within(layer), keras.Input((3,)), keras.Input((3,))
    model = keras.Model([one, other], keras.layers.Add()([called(one), called(other)]))
    [shift] = variance_shift(model, [a, b])
    check(shift, np.concatenate([a, b]), layer)


@pytest.mark.parametrize(
    "dropout",
    [
        keras.layers.Dropout(0.5, seed=1),
        keras.layers.Dropout(0.1, seed=1),
        keras.layers.GaussianDropout(0.3, seed=1),
        keras.layers.SpatialDropout1D(0.3, seed=1),
        keras_bn.UniformDropout(0.5, seed=1),
    ],
    ids=lambda layer: layer.name,
)
def test_the_prediction_for_dropout_is_what_it_does(dropout, rng):
    x = (np.maximum(rng.normal(size=(80_000, 2, 3)), 0) * [1, 2, 3] + [0, 1, 0]).astype("float32")
    model = keras.Sequential([keras.Input((2, 3)), keras.layers.ReLU(), dropout, keras_bn.BatchNormalization()])
    [shift] = variance_shift(model, iter([x]))
    in_training = reference.moments(dropout(x, training=True).numpy())[1]
    np.testing.assert_allclose(shift.predicted_variance, in_training, rtol=0.03)  # 160,000 values a channel: the variance has a standard error below 1 %.
    assert (np.abs(shift.variance / in_training - 1) > 0.04).any()  # It is no test of nothing.
    np.testing.assert_allclose(shift.predicted_ratio, either_way(shift.variance.mean() / shift.predicted_variance.mean()))


def test_the_paper_s_numbers_for_relu(rng):
    """Li et al. 2018, eq. 8, for the rectified normal distribution."""
    x = np.maximum(rng.normal(size=(200_000, 1)), 0).astype("float32")
    for rate, expected in ((0.1, 0.860), (0.3, 0.614), (0.5, 0.405), (0.7, 0.226)):
        [shift] = variance_shift(keras.Sequential([keras.Input((1,)), keras.layers.Dropout(rate), keras_bn.BatchNormalization()]), iter([x]))
        np.testing.assert_allclose(1 / shift.predicted_ratio, expected, rtol=0.01)


def test_dropout_elsewhere_predicts_nothing(inputs):
    x = inputs((8, 3))
    entry = keras.Input((3,))
    plain = keras.layers.ReLU()(entry)
    dropped = keras.layers.Dropout(0.5)(plain)
    behind_two = keras.layers.Dense(2)(keras.layers.Dense(2)(dropped))
    bent = keras.layers.Dense(2, activation="relu")(dropped)
    outputs = [keras_bn.BatchNormalization()(tensor) for tensor in (plain, behind_two, bent, dropped)]
    shifts = variance_shift(keras.Model(entry, outputs), x)
    assert sorted(shift.predicted_variance is None for shift in shifts) == [False, True, True, True]


def test_without_normalisation_it_is_refused(inputs):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras_bn.LpBatchNormalization(1)], name="net")
    with pytest.raises(ValueError, match=r"^net has no batch normalisation layer; expected one at least: this measure is about them, leave it out for other"):
        variance_shift(model, inputs((4, 3)))


def test_without_data_it_is_refused():
    model = keras.Sequential([keras.Input((3,)), keras_bn.BatchNormalization()])
    with pytest.raises(ValueError, match=r"^`data` holds no batch; expected one at least: if it is a generator, it may have been used up, so give a dataset"):
        variance_shift(model, iter([]))


def test_a_list_of_unequal_arrays_is_refused(inputs):
    model = keras.Sequential([keras.Input((3,)), keras_bn.BatchNormalization()])
    with pytest.raises(
        ValueError, match=r"^`data` holds arrays of 4, 2 examples; expected equal numbers, as each is one of the model's inputs, or its targets: give"
    ):
        variance_shift(model, [inputs((4, 3)), inputs((2, 3))])


class Looping(keras.Layer):
    """Calls its layer in a loop of TensorFlow's."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def call(self, x):
        return tf.map_fn(self.layer, x)


def test_a_layer_within_a_loop_is_refused(inputs):
    layer = keras_bn.BatchNormalization(name="inner")
    layer.build((None, 3))
    model = keras.Sequential([keras.Input((5, 3)), Looping(layer)])
    with pytest.raises(ValueError, match=r"inner is called within a loop or a function of its own; expected a call that its model makes itself: leave out"):
        variance_shift(model, inputs((4, 5, 3)))


def test_layers_of_the_test_net_are_the_ones_measured():
    assert sum(isinstance(layer, keras_bn.BatchNormalization) for layer in layers_of()) == 2


@pytest.mark.parametrize("data", ["array", "generator"])
def test_means_far_from_0_are_float64_s(data, rng):
    """A mean that is rounded to float32 is off by 3e-4 here."""
    x = (rng.normal(size=(300, 3)) * [0.1, 1, 2] - 1e4).astype("float32")
    [shift] = variance_shift(keras.Sequential([keras.Input((3,)), keras_bn.BatchNormalization()]), DATA[data](x))
    mean, variance = reference.moments(x)
    np.testing.assert_allclose(shift.mean, mean, rtol=0, atol=1e-6)
    np.testing.assert_allclose(shift.variance, variance, rtol=1e-6)


class NamedGaussian(keras.Layer):
    def call(self, x):
        return x


NamedGaussian.__name__ = "GaussianDropout"


class Special(keras.layers.Dropout):
    pass


class Noisy(keras.Layer):
    noise_variance = 0.25

    def call(self, x):
        return x


@pytest.mark.parametrize(
    ("layer", "noise"),
    [
        (keras.layers.Dropout(1.0), None),
        (keras.layers.SpatialDropout1D(1.0), None),
        (keras.layers.Dropout(0.0), 0.0),
        (NamedGaussian(), None),
        (Special(0.5), 1.0),
        (Noisy(), 0.25),
        (keras_bn.UniformDropout(0.6), 0.12),
        (keras.layers.AlphaDropout(0.5), None),
    ],
    ids=["all dropped", "all dropped, spatial", "none dropped", "a name only", "a subclass", "an attribute", "uniform", "another"],
)
def test_dropouts_are_known_by_what_they_are(layer, noise, inputs):
    x = inputs((6, 4, 3))
    [shift] = variance_shift(keras.Sequential([keras.Input((4, 3)), layer, keras_bn.BatchNormalization()]), x)
    mean, variance = reference.moments(x)
    if noise is None:
        assert shift.predicted_variance is None
        assert shift.predicted_ratio is None
    else:
        np.testing.assert_allclose(shift.predicted_variance, variance + (mean**2 + variance) * noise, rtol=1e-5)


@pytest.mark.parametrize("data", [None, 3, (None, np.ones(3))], ids=str)
def test_what_is_no_data_is_refused(data):
    model = keras.Sequential([keras.Input((3,)), keras_bn.BatchNormalization()])
    expected = (
        f"`data` is {3 if data == 3 else None}; expected inputs of the model, or batches of them: an array, a tf.data.Dataset, a keras.utils.PyDataset or "
        "what else can be iterated over."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        variance_shift(model, data)


def test_a_model_is_built_from_the_data(inputs):
    x = inputs((6, 3))
    layer = keras_bn.BatchNormalization()
    [shift] = variance_shift(keras.Sequential([layer]), x)
    check(shift, x, layer)


class WithUnusedLayer(keras.Model):
    def __init__(self):
        super().__init__()
        self.normalisation, self.unused = keras_bn.BatchNormalization(), keras.layers.Dense(3)

    def call(self, x, training=None):
        return self.normalisation(x, training=training)


@pytest.mark.parametrize("called", [False, True])
def test_a_generator_s_first_batch_counts_where_the_model_is_to_be_built(called, inputs):
    x, model = inputs((8, 3)), WithUnusedLayer()
    if called:
        model(x)
    [shift] = measures.variance_shift(model, (x[start : start + 4] for start in (0, 4)))
    np.testing.assert_allclose(shift.mean, x.astype("float64").mean(0), rtol=1e-6)
    [again] = measures.variance_shift(model, (x[start : start + 4] for start in (0, 4)))
    assert again.mean.tolist() == shift.mean.tolist()


def test_of_ragged_inputs_the_values_that_are_there_count(inputs):
    values = inputs((7, 3))
    ragged = tf.RaggedTensor.from_row_lengths(values, [3, 0, 4])
    model = keras.Sequential([keras_bn.BatchNormalization(axis=2)])
    model(ragged)
    for data in (ragged, iter([ragged])):
        [shift] = measures.variance_shift(model, data)
        np.testing.assert_allclose(shift.variance, values.astype("float64").var(0), rtol=1e-6)


def test_a_mask_of_integers(inputs, rng):
    x, mask = inputs((6, 5, 3)), rng.integers(0, 2, (6, 5))
    ins, real = keras.Input((5, 3)), keras.Input((5,), dtype="int32")
    model = keras.Model([ins, real], keras_bn.BatchNormalization()(ins, mask=real))
    [shift] = measures.variance_shift(model, [x, mask.astype("int32")])
    np.testing.assert_allclose(shift.mean, x[mask == 1].astype("float64").mean(0), rtol=1e-6)


def test_the_prediction_follows_the_rate(inputs):
    dropout = keras.layers.Dropout(0.5)
    model = keras.Sequential([keras.Input((3,)), dropout, keras_bn.BatchNormalization()])
    x = inputs((8, 3))
    measures.variance_shift(model, x)
    dropout.rate = 0.9
    [shift] = measures.variance_shift(model, x)
    mean, variance = x.astype("float64").mean(0), x.astype("float64").var(0)
    np.testing.assert_allclose(shift.predicted_variance, variance + (mean**2 + variance) * 9, rtol=1e-5)


def test_an_attribute_p_of_somebody_else_means_nothing(inputs):
    class WithP(keras.layers.BatchNormalization):
        p = 0.5

    [shift] = measures.variance_shift(keras.Sequential([keras.Input((3,)), WithP()]), inputs((8, 3)))
    assert shift.layer == "01_with_p"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ([], "`data` holds no batch; expected one at least"),
        ({}, "`data` holds no batch; expected one at least"),
        ([[1.0, 2.0], [3.0, 4.0]], "`data` holds 1.0 in place of a batch; expected arrays or tensors: convert it by np.asarray."),
        ("logs/run", "`data` is 'logs/run'; expected inputs of the model, or batches of them: an array, a tf.data.Dataset"),
    ],
)
def test_data_without_a_batch_of_arrays_is_refused(data, sentence):
    model = keras.Sequential([keras.Input((2,)), keras_bn.BatchNormalization()])
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}"):
        measures.variance_shift(model, data)
    measures.variance_shift(model, np.asarray([[1.0, 2.0], [3.0, 4.0]], "float32"))  # The remedy.


def test_lag_is_what_the_moving_variance_is_off_by(inputs):
    x = inputs((64, 3))
    model = keras.Sequential([keras.Input((3,)), keras_bn.BatchNormalization()])
    variance = x.astype("float64").var(0)
    model.layers[0].moving_variance.assign(2 * variance)
    [shift] = variance_shift(model, x)
    np.testing.assert_allclose([shift.lag, shift.mode, shift.ratio], [0.5, 1, 2], rtol=1e-6)
    # What a batch's variance leaves out, the moving variance leaves out, too.
    [shift] = variance_shift(model, iter([x[:8], x[8:]]))
    np.testing.assert_allclose(shift.mode, 1, rtol=1e-6)
    np.testing.assert_allclose(shift.training_variance, (8 * x[:8].astype("float64").var(0) + 56 * x[8:].astype("float64").var(0)) / 64, rtol=1e-6)


LINEAR = {
    "right in front": (None, (4,), 20_000),
    "dense": (lambda: keras.layers.Dense(3, bias_initializer="ones"), (5,), 20_000),
    "conv": (lambda: keras.layers.Conv2D(4, 3, padding="same", bias_initializer="ones"), (6, 6, 3), 1500),
    "depthwise": (lambda: keras.layers.DepthwiseConv2D(3, strides=2, use_bias=False), (7, 7, 3), 4000),
}


@pytest.mark.parametrize("kind", LINEAR)
def test_mode_is_dropout_s_part_and_predicted_through_a_linear_layer(kind, inputs):
    """The prediction is exact for the data; the training pass is one sample of masks, of some 20,000 values a channel and more."""
    make, shape, examples = LINEAR[kind]
    between = [make()] if make else []
    x = inputs((examples, *shape))
    model = keras.Sequential([keras.Input(shape), keras.layers.Dropout(0.4, seed=1), *between, keras_bn.BatchNormalization()])
    [shift] = variance_shift(model, iter([x]))
    values = x.astype("float64")
    if make is None:
        spread = (values**2).mean(0)
    elif kind == "dense":
        spread = (values**2).mean(0) @ between[0].kernel.numpy().astype("float64") ** 2
    else:
        spread = None
    if spread is not None:
        np.testing.assert_allclose(shift.predicted_variance, shift.variance + spread * 0.4 / 0.6, rtol=1e-4)
    np.testing.assert_allclose(shift.training_variance, shift.predicted_variance, rtol=0.06)
    assert shift.training_variance.mean() > 1.2 * shift.variance.mean()
    np.testing.assert_allclose(shift.mode, shift.variance.mean() / shift.training_variance.mean(), rtol=1e-6)
    np.testing.assert_allclose(shift.lag * shift.mode, shift.variance.mean() / shift.moving_variance.mean(), rtol=1e-6)
    np.testing.assert_allclose(1 / shift.predicted_ratio, shift.mode, rtol=0.06)


def test_each_batch_has_masks_of_its_own(inputs):
    x = inputs((16, 3))
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dropout(0.4), keras_bn.BatchNormalization()])
    [once], [twice] = variance_shift(model, iter([x])), variance_shift(model, iter([x, x]))
    assert np.abs(once.training_variance - twice.training_variance).min() > 1e-3


@pytest.mark.parametrize("momentum", [0.0, 0.9, None])
def test_the_error_is_what_batches_and_the_moving_variance_scatter(momentum, rng):
    model = keras.Sequential([keras.Input((3,)), keras_bn.BatchNormalization(momentum=momentum)])
    x = rng.normal(1, 2, (40, 3)).astype("float32")
    moving = (1 - momentum) / (1 + momentum) if momentum is not None else 0.0
    variances = np.array([part.astype("float64").var(0).mean() for part in np.split(x, 4)])
    [shift] = variance_shift(model, tf.data.Dataset.from_tensor_slices(x).batch(10))
    np.testing.assert_allclose(shift.error, variances.std(ddof=1) / variances.mean() * np.sqrt(2 / 4 + moving), rtol=1e-5)
    deviation = np.sqrt(1 + model.layers[0].epsilon)  # Of the moving variance, as built.
    means = np.array([part.astype("float64").mean(0) for part in np.split(x, 4)])
    np.testing.assert_allclose(shift.mean_error, np.sqrt(means.var(0, ddof=1).mean()) / deviation * np.sqrt(2 / 4 + moving), rtol=1e-5)
    [shift] = variance_shift(model, x)
    np.testing.assert_allclose(shift.error, np.sqrt(2 / 40) * np.sqrt(2 + moving), rtol=1e-6)
    np.testing.assert_allclose(shift.mean_error, np.sqrt(x.astype("float64").var(0).mean() / 40) / deviation * np.sqrt(2 + moving), rtol=1e-5)


def test_a_single_example_at_the_end_is_no_scatter(rng):
    x = rng.normal(1, 2, (4 * 128 + 1, 3)).astype("float32")
    model = keras.Sequential([keras.Input((3,)), keras_bn.BatchNormalization()])
    [all_full], [with_remainder] = variance_shift(model, x[:-1]), variance_shift(model, x)
    for quantity in ("error", "mean_error"):
        assert 0.3 < getattr(with_remainder, quantity) / getattr(all_full, quantity) < 3  # Other batches, of random order. It was 10 times as large.


def test_lag_of_means_is_of_training_mode(inputs):
    """In inference the second layer's inputs are other ones, as the first layer's moving statistics are as built."""
    x = inputs((64, 3))
    model = keras.Sequential([keras.Input((3,)), *(keras_bn.BatchNormalization(gamma_initializer="ones", beta_initializer="ones") for _ in range(2))])
    mean = x.astype("float64").mean(0)
    moving_mean, moving_variance = np.array([0.5, -1.0, 2.0]), np.array([2.0, 0.5, 3.0])
    model.layers[1].moving_mean.assign(moving_mean)
    model.layers[1].moving_variance.assign(moving_variance)
    first, second = variance_shift(model, iter([x]))
    deviation = np.sqrt(1 + model.layers[0].epsilon)
    np.testing.assert_allclose(first.training_mean, mean, rtol=1e-5)
    np.testing.assert_allclose([first.mean_lag, first.mean_shift], np.sqrt((mean**2).mean()) / deviation, rtol=1e-5)
    np.testing.assert_allclose(second.training_mean, 1, rtol=1e-5)  # beta
    np.testing.assert_allclose(second.mean_lag, np.sqrt(((1 - moving_mean) ** 2 / (moving_variance + model.layers[1].epsilon)).mean()), rtol=1e-5)
    np.testing.assert_allclose(second.mean, mean / deviation + 1, rtol=1e-5)
    assert abs(second.mean_shift / second.mean_lag - 1) > 0.1
    assert first.mean_mode < 1e-6
    in_deviations = mean / deviation / np.sqrt(moving_variance + model.layers[1].epsilon)
    np.testing.assert_allclose(second.mean_mode, np.sqrt((in_deviations**2).mean()), rtol=1e-5)


def test_arrays_are_cut_in_random_order(rng):
    """Sorted by classes a batch would hold one of them, whose variance is not that of a batch of the training."""
    x = np.repeat(np.arange(8.0), 128).astype("float32")[:, None]
    model = keras.Sequential([keras.Input((1,)), keras_bn.BatchNormalization()])
    [sorted_by_class] = variance_shift(model, x)
    np.testing.assert_allclose(sorted_by_class.training_variance, x.var(), rtol=0.02)
    np.testing.assert_allclose(sorted_by_class.variance, x.var(), rtol=1e-5)
    assert variance_shift(model, x)[0].training_variance == sorted_by_class.training_variance
    several = keras.Model([one := keras.Input((1,)), other := keras.Input((1,))], keras_bn.BatchNormalization()(keras.layers.Subtract()([one, other])))
    [shift] = variance_shift(several, [x, x])  # Rows stay together.
    np.testing.assert_array_equal(shift.variance, 0)


def test_the_prediction_through_a_flatten(inputs):
    x = inputs((50, 2, 3, 2))
    dense = keras.layers.Dense(3)
    layers = [keras.layers.Dropout(0.4), keras.layers.Flatten(), dense, keras_bn.BatchNormalization()]
    [shift] = variance_shift(keras.Sequential([keras.Input((2, 3, 2)), *layers]), iter([x]))
    spread = (x.reshape(50, 12).astype("float64") ** 2).mean(0) @ dense.kernel.numpy().astype("float64") ** 2
    np.testing.assert_allclose(shift.predicted_variance, shift.variance + spread * 0.4 / 0.6, rtol=1e-4)  # Rounding of the products in float32.
