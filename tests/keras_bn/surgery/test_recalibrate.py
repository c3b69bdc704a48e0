"""`recalibrate`: population statistics equal NumPy's, whatever the model and the batches, and nothing else changes."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_bn
from keras_bn import measures, surgery
from keras_bn.surgery import layerwise
from tests.keras_bn.surgery import models

BN = layers.BatchNormalization


def residual():
    """Branches, a Dropout, and layers of which several are at one depth."""
    inputs = keras.Input((6, 6, 3))
    x = layers.Dropout(0.5)(layers.ReLU()(BN()(layers.Conv2D(6, 3, padding="same")(inputs))))
    x = layers.Add()([BN()(layers.Conv2D(6, 3, padding="same")(x)), keras_bn.BatchNormalization(unbiased=True)(layers.Conv2D(6, 1)(x))])
    return models.randomised(keras.Model(inputs, layers.Dense(3)(BN()(layers.GlobalAveragePooling2D()(BN(momentum=0.5)(x))))))


def batches(rng, *sizes, shape=(6, 6, 3)):
    """Of unequal sizes and means."""
    return [rng.normal(index, 1 + index, (size, *shape)).astype("float32") for index, size in enumerate(sizes)]


def dataset(parts):
    return tf.data.Dataset.from_generator(lambda: iter(parts), output_signature=tf.TensorSpec((None, *parts[0].shape[1:])))


def weights_by_numpy(model, parts):
    """The weights of a copy whose layers got what they receive in inference, one after the other, of all examples together."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    for layer in copy.layers:
        if isinstance(layer, BN):
            inputs = keras.Model(copy.input, layer.input)
            values = np.concatenate([np.asarray(inputs(part), "float64") for part in parts])
            values = values.reshape(-1, values.shape[-1])
            layer.moving_mean.assign(values.mean(0))
            layer.moving_variance.assign(values.var(0, ddof=int(getattr(layer, "unbiased", False))))
    return copy.get_weights()


@pytest.mark.parametrize("kept", [2**30, 0])
def test_layer_by_layer_equals_numpy(kept, rng, monkeypatch):
    monkeypatch.setattr(layerwise, "MOST_KEPT", kept)
    model, parts = residual(), batches(rng, 20, 7, 1)
    weights, by_numpy = model.get_weights(), weights_by_numpy(model, parts)
    changes = surgery.recalibrate(model, dataset(parts), verbose=False)
    assert [change.layer for change in changes] == [layer.name for layer in model.layers if isinstance(layer, BN)]
    for value, expected in zip(model.get_weights(), by_numpy, strict=True):
        np.testing.assert_allclose(value, expected, rtol=2e-5, atol=2e-6)  # Rounding of the convolutions, in batches of other sizes.
    changes.undo()
    assert all(np.array_equal(value, before) for value, before in zip(model.get_weights(), weights))


def test_behind_several_loops(rng):
    """Parts of the evaluation leave out the loop in front."""
    inputs = keras.Input((5, 4))
    x = BN()(layers.LSTM(3, return_sequences=True)(inputs))
    model = models.randomised(keras.Model(inputs, BN()(layers.GRU(3)(layers.Dropout(0.5)(x)))))
    parts = batches(rng, 20, 7, shape=(5, 4))
    expected = weights_by_numpy(model, parts)
    surgery.recalibrate(model, dataset(parts), verbose=False)
    for value, by_numpy in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(value, by_numpy, rtol=2e-5, atol=2e-6)


def test_what_changed_is_said(rng):
    model = models.randomised(keras.Sequential([keras.Input((3,)), BN(name="normal")]))
    layer, [x] = model.layers[0], batches(rng, 50, shape=(3,))
    mean, variance = layer.moving_mean.numpy(), layer.moving_variance.numpy()
    [change] = surgery.recalibrate(model, x, verbose=False)
    np.testing.assert_allclose(change.mean_shift, np.sqrt(np.mean((x.mean(0) - mean) ** 2 / (x.var(0) + layer.epsilon))), rtol=1e-5)
    np.testing.assert_allclose(change.variance_ratio, x.var(0).mean() / variance.mean(), rtol=1e-5)
    assert str(change).startswith(f"normal: the mean by {change.mean_shift:.3g} standard deviations, the variance to ")


@pytest.mark.parametrize("make", [make for make in models.ALL if make is not models.fine_tuned])  # Whose 53 layers take half a minute.
def test_afterwards_no_layer_of_any_model_shifts(make, rng):
    """Whatever the model, each layer holds what its inputs have in inference."""
    model = models.randomised(make())
    for layer in model.layers:
        layer.trainable = True
    x = keras.tree.map_structure(lambda *values: np.concatenate(values), *(models.inputs_of(model, rng) for _ in range(10)))
    changes = surgery.recalibrate(model, x, batch_size=8, verbose=False)
    shifts = measures.variance_shift(model, x)
    assert len(changes) == len(shifts) > 0
    for shift in shifts:
        tolerance = 1e-2 if make is models.mixed else 1e-3  # Half precision; variances of some units that are almost dead.
        np.testing.assert_allclose([shift.ratio, shift.mean_shift], [1, 0], atol=tolerance)


def test_by_batches_equals_numpy(rng):
    """Each layer normalises by its batch meanwhile; all values are pooled."""
    model = models.randomised(keras.Sequential([keras.Input((4,)), layers.Dense(5), BN(), layers.Dropout(0.5), layers.Dense(3), BN()]))
    dense, first, _, second, last = model.layers
    parts, hidden = batches(rng, 30, 9, shape=(4,)), []
    inner = [part.astype("float64") @ dense.kernel.numpy() + dense.bias.numpy() for part in parts]
    for values in inner:
        normal = (values - values.mean(0)) / np.sqrt(values.var(0) + first.epsilon)
        hidden.append((first.gamma.numpy() * normal + first.beta.numpy()) @ second.kernel.numpy() + second.bias.numpy())
    surgery.recalibrate(model, iter(parts), method="batch", verbose=False)
    for layer, values in ((first, inner), (last, hidden)):
        values = np.concatenate(values)
        np.testing.assert_allclose(layer.moving_mean, values.mean(0), rtol=1e-5, atol=1e-6)  # Rounding of float32.
        np.testing.assert_allclose(layer.moving_variance, values.var(0), rtol=1e-5)


@pytest.mark.parametrize("method", ["sequential", "batch"])
def test_dropout_acts_if_asked(method, rng):
    """Its factor of mean 1 has the variance rate / (1 - rate)."""
    model = keras.Sequential([keras.Input((3,)), layers.Dropout(0.4, seed=1), BN()])
    [x] = batches(rng, 60_000, shape=(3,))
    seeds = [variable.numpy() for variable in model.non_trainable_variables if "seed" in variable.path]
    expected = {False: x.var(0), True: x.var(0) + 0.4 / 0.6 * (x.astype("float64") ** 2).mean(0)}
    for dropout in (False, True, False):
        surgery.recalibrate(model, x, method=method, dropout=dropout, batch_size=20_000, verbose=False)
        np.testing.assert_allclose(model.layers[1].moving_variance, expected[dropout], rtol=0.03 if dropout else 1e-5)  # 60,000 values of masks.
    assert all(np.array_equal(seed, variable) for seed, variable in zip(seeds, [each for each in model.non_trainable_variables if "seed" in each.path]))


def test_as_many_batches_as_asked(rng):
    model = keras.Sequential([keras.Input((3,)), BN()])
    parts = batches(rng, 8, 8, 8, shape=(3,))
    endless = dataset(parts).repeat()
    surgery.recalibrate(model, endless, steps=2, verbose=False)
    np.testing.assert_allclose(model.layers[0].moving_mean, np.concatenate(parts[:2]).mean(0), rtol=1e-5)


def test_frozen_layers_keep_their_statistics(rng):
    model = models.randomised(keras.Sequential([keras.Input((3,)), BN(name="frozen"), layers.Dense(3), BN(name="free"), keras_bn.LpBatchNormalization(1)]))
    model.layers[0].trainable = False
    before = [*model.layers[0].get_weights(), *model.layers[3].get_weights()]
    assert [change.layer for change in surgery.recalibrate(model, *batches(rng, 9, shape=(3,)), verbose=False)] == ["free"]
    assert all(np.array_equal(one, other) for one, other in zip(before, [*model.layers[0].get_weights(), *model.layers[3].get_weights()]))


def test_masked_positions_do_not_count(rng):
    model = models.randomised(models.masked())
    x = rng.integers(1, 10, (20, 6))
    x[:, 3:] = 0
    surgery.recalibrate(model, x, verbose=False)
    embedded = model.layers[1].get_weights()[0][x[:, :3]].reshape(-1, 4)
    [first] = [layer for layer in model.layers if isinstance(layer, BN)][:1]
    np.testing.assert_allclose(first.moving_variance, embedded.var(0), rtol=1e-5)


def test_replicas_get_the_same(strategy, rng):
    with strategy.scope():
        model = models.randomised(keras.Sequential([keras.Input((3,)), BN(), layers.Dense(2), keras_bn.BatchNormalization()]))
    [x] = batches(rng, 40, shape=(3,))
    surgery.recalibrate(model, x, verbose=False)
    np.testing.assert_allclose(model.layers[0].moving_mean, x.mean(0), rtol=1e-5)
    [first, second] = measures.variance_shift(model, x)
    np.testing.assert_allclose([first.ratio, second.ratio], 1, rtol=1e-4)


def test_destroyed_statistics_are_repaired(digits):
    x, y, model = digits
    accuracy = model.evaluate(x, y, verbose=0)[1]
    for layer in model.layers:
        if isinstance(layer, BN):
            layer.moving_mean.assign(np.full(layer.moving_mean.shape, 3.0))
            layer.moving_variance.assign(np.full(layer.moving_variance.shape, 30.0))
    assert model.evaluate(x, y, verbose=0)[1] < 0.7
    surgery.recalibrate(model, (x, y), verbose=False)
    assert model.evaluate(x, y, verbose=0)[1] > accuracy - 0.005


@pytest.fixture
def digits():
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    blocks = [layer for _ in range(3) for layer in (layers.Dense(32), BN(momentum=0.9), layers.ReLU())]
    model = keras.Sequential([keras.Input((64,)), *blocks, layers.Dense(10)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    model.fit(x / 16, y, epochs=5, verbose=0)
    return x / 16, y, model


def net():
    return keras.Sequential([keras.Input((3,)), layers.Dense(3, name="dense"), BN(name="normal")], name="net")


def frozen():
    model = net()
    model.layers[1].trainable = False
    return model


GOOD = np.ones((4, 3), "float32")


@pytest.mark.parametrize(
    ("make", "data", "options", "message"),
    [
        (lambda: keras.Sequential([BN()], name="net"), GOOD, {}, "net is not built, so that it has no weights yet; expected one that has: "),
        (lambda: keras.Sequential([keras.Input((3,)), layers.Dense(2)], name="net"), GOOD, {}, "net has no batch normalisation layer; expected one at least: "),
        (frozen, GOOD, {}, "all batch normalisation layers of net are frozen; expected one at least that is not: set its `trainable`."),
        (net, GOOD, {"method": "precise"}, "`method` is 'precise'; expected 'sequential' or 'batch': leave it out for the exact one."),
        (net, GOOD[:0], {}, "`data` holds no batch; expected one at least: "),
        (net, None, {}, "`data` is None; expected inputs of the model, or batches of them: "),
        (net, iter([GOOD]), {}, "`data` is a list_iterator, used up once it is read; expected what can be read again: a dataset, or method='batch'."),
        (net, GOOD * np.nan, {}, "the inputs of normal are not all finite; expected finite ones: look at np.isfinite(x).all() and at the weights in front."),
        (net, GOOD[:, :2], {}, "net cannot be evaluated on a batch of the data; expected what `predict` takes: Input 0 with name "),
    ],
)
@pytest.mark.parametrize("method", ["sequential", "batch"])
def test_refusals_leave_the_model_alone(make, data, options, message, method):
    if method == "batch" and ("method" in options or isinstance(data, type(iter([])))):
        pytest.skip("of the other method")
    model = make()
    before = [variable.numpy() for variable in model.variables]
    with pytest.raises(ValueError, match=f"^{re.escape(message)}") as refusal:
        surgery.recalibrate(model, data, **{"method": method, "verbose": False, **options})
    assert str(refusal.value).endswith(".")
    assert "\n" not in str(refusal.value)
    assert all(np.array_equal(variable, value) for variable, value in zip(model.variables, before))
