"""A recipe measures of a net what it has."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bn
from keras_bn import surgery
from recipes.frame import instruments, tasks

ALL = ["internal_covariate_shift", "loss_landscape", "variance_shift", "activation_statistics"]


@pytest.mark.parametrize(
    ("normalisation", "measured"),
    [(keras_bn.BatchNormalization, ALL), (lambda: keras_bn.LpBatchNormalization(1), ALL[:2]), (lambda: keras_bn.LpBatchNormalization(2), ALL), (None, ALL[:2])],
    ids=["mean and variance", "Lp", "L2", "none"],
)
def test_each_net_is_measured_without_a_refusal(normalisation, measured, tmp_path):
    x, y = np.random.default_rng(0).normal(size=(16, 3)).astype("float32"), np.arange(16) % 2
    layers = [] if normalisation is None else [normalisation()]
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), *layers, keras.layers.Dense(2)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    whole = tf.data.Dataset.from_tensor_slices((x, y))
    data = types.SimpleNamespace(sample=lambda size: (x[:size], y[:size]), drawn=lambda size, batch_size: whole.take(size).batch(batch_size))
    chosen = instruments.usual(model, data, tasks.Classification(), 8, 1, str(tmp_path))
    assert [instrument.name for instrument in chosen] == measured
    model.fit(x, y, batch_size=8, verbose=0, callbacks=chosen)
    assert all(instrument.history and "error" not in instrument.history[-1] for instrument in chosen)


def test_the_score_with_re_estimated_statistics_is_of_the_net_with_them(make, dataset):
    training = make("batch_norm")
    net = training.build(None)
    training.task.compile(net, "sgd", False)
    before = net.get_weights()
    result = instruments.recalibrated(dataset, training.task)(net)
    for weight, expected in zip(net.get_weights(), before):
        np.testing.assert_array_equal(weight, expected)
    x_train, _, x_test, y_test = dataset.in_memory()
    surgery.recalibrate(net, x_train, verbose=False)
    accuracy = np.mean(net.predict(x_test, verbose=0).argmax(1) == y_test)
    assert result == {"recalibrated_test_accuracy": pytest.approx(accuracy, abs=1e-6)}


def test_a_net_whose_weights_overflowed_has_no_such_score(make, dataset):
    training = make("batch_norm")
    net = training.build(None)
    training.task.compile(net, "sgd", False)
    kernel = next(layer.kernel for layer in net.layers if hasattr(layer, "kernel"))
    kernel.assign(np.full(kernel.shape, np.nan))
    assert instruments.recalibrated(dataset, training.task)(net) == {}


def test_a_net_without_batch_normalisation_has_no_such_score(make, dataset):
    training = make("plain")
    assert instruments.recalibrated(dataset, training.task)(training.build(None)) == {}
