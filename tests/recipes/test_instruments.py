"""A recipe measures of a net what it has."""

import types

import keras
import numpy as np
import pytest

import keras_bn
from recipes import instruments

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
    chosen = instruments.of(model, types.SimpleNamespace(x_train=x, y_train=y), 1, str(tmp_path))
    assert [instrument.name for instrument in chosen] == measured
    model.fit(x, y, batch_size=8, verbose=0, callbacks=chosen)
    assert all(instrument.history and "error" not in instrument.history[-1] for instrument in chosen)
