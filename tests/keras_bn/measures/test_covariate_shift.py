"""Definition 2.1 against NumPy in float64, on nets of every kind of model; and nothing of a model changes."""

import keras
import numpy as np
import pytest
from nets import KINDS, dense_oracle, gradient_to, prepared

from keras_bn.measures import covariate_shift, internal_covariate_shift


def shift_by_the_definition(loss, weights, after, kernels):
    """(l2, relative, cosine) of each of the `kernels`, places in `weights` in the order of computing, by central differences of a NumPy loss."""
    found = []
    for place in kernels:
        one, other = (gradient_to(place, loss, weights, earlier) for earlier in (weights, after))
        l2 = np.linalg.norm(one - other)
        found.append((l2, l2 / np.linalg.norm(one), (one * other).sum() / np.linalg.norm(one) / np.linalg.norm(other)))
    return found


@pytest.mark.parametrize("decay", [0.0, 0.05])
def test_equals_the_definition(kind, decay, inputs, rng):
    model, x, y, before, after, order = prepared(kind, rng, inputs, decay)
    got = internal_covariate_shift(model, [value.astype("float32") for value in before], [value.astype("float32") for value in after], x, y)
    sorted_before, sorted_after = ([values[place] for place in order] for values in (before, after))
    expected = shift_by_the_definition(lambda weights: dense_oracle(weights, x.astype("float64"), y, decay), sorted_before, sorted_after, (0, 3, 6))
    assert [shift.layer for shift in got] == ["01_dense", "02_dense", "03_dense"]
    np.testing.assert_allclose([shift[1:] for shift in got], expected, rtol=2e-4, atol=2e-5)
    assert got[0][1:] == (0.0, 0.0, 1.0)
    assert min(shift.relative for shift in got[1:]) > 0.05  # It is no test of zeros.


def test_a_deep_net_is_measured_without_a_graph_alike(inputs, rng, monkeypatch):
    model, x, y, before, after, _ = prepared(KINDS["nested"], rng, inputs, decay=0.05)
    graph = internal_covariate_shift(model, before, after, x, y)
    monkeypatch.setattr(covariate_shift, "LARGEST", 0)
    for shift, same in zip(graph, internal_covariate_shift(model, before, after, x, y), strict=True):
        assert shift.layer == same.layer
        np.testing.assert_allclose(same[1:], shift[1:], rtol=1e-4, atol=1e-5)


def test_a_learning_rate_of_0_shifts_nothing(kind, inputs, rng):
    model, x, y, before, _, _ = prepared(kind, rng, inputs)
    for shift in internal_covariate_shift(model, before, before, x, y):
        assert shift[1:] == (0.0, 0.0, 1.0)


def test_weights_of_the_model_s_own_belong_to_no_layer(inputs, rng):
    class Scaled(keras.Model):
        def __init__(self):
            super().__init__()
            self.first, self.second = keras.layers.Dense(3), keras.layers.Dense(2)
            self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

        def call(self, x):
            return self.second(self.scale * self.first(x))

    model = Scaled()
    model.compile("sgd", "mse")
    x, y = inputs((6, 4)), inputs((6, 2))
    model(x)
    before = [rng.normal(size=variable.shape).astype("float32") for variable in model.trainable_variables]
    shifts = internal_covariate_shift(model, before, [2 * value for value in before], x, y)
    assert [(shift.layer, shift.l2 > 0) for shift in shifts] == [("01_dense", False), ("02_dense", True)]
