"""Along the gradient, against NumPy in float64."""

import re

import keras
import numpy as np
import pytest
from nets import KINDS, dense_oracle, gradient_to, prepared

from keras_bn.measures import loss_landscape

STEP_SIZES = [0.05, 0.2, 0.4]


@pytest.mark.parametrize("decay", [0.0, 0.05])
def test_equals_numpy(kind, decay, inputs, rng):
    model, x, y, weights, _, order = prepared(kind, rng, inputs, decay)
    landscape = loss_landscape(model, x, y, STEP_SIZES)
    weights = [weights[index] for index in order]

    def loss(weights):
        return dense_oracle(weights, x.astype("float64"), y, decay)

    def gradient(weights):
        return [gradient_to(index, loss, weights, earlier=weights) for index in range(len(weights))]

    def norm(values):
        return np.sqrt(sum((value**2).sum() for value in values))

    g = gradient(weights)
    np.testing.assert_allclose([landscape.loss, landscape.gradient_norm], [loss(weights), norm(g)], rtol=1e-4)
    np.testing.assert_array_equal(landscape.step_sizes, STEP_SIZES)
    for index, step_size in enumerate(STEP_SIZES):
        moved = [value - step_size * one for value, one in zip(weights, g)]
        change = norm([one - other for one, other in zip(g, gradient(moved))])
        np.testing.assert_allclose(landscape.losses[index], loss(moved), rtol=1e-4)
        np.testing.assert_allclose(landscape.gradient_changes[index], change, rtol=2e-4)
        np.testing.assert_allclose(landscape.smoothness[index], change / (step_size * norm(g)), rtol=2e-4)
    assert landscape.effective_smoothness == landscape.smoothness.max()
    assert landscape.grid_limit == 1 / STEP_SIZES[landscape.smoothness.argmax()]


@pytest.mark.parametrize("step_sizes", [[], [0.1, 0.0], [-1.0], [float("nan")], 0.1])
def test_step_sizes_that_are_none_are_refused(step_sizes, inputs, rng):
    model, x, y, *_ = prepared(KINDS["sequential"], rng, inputs)
    sentence = f"`step_sizes` is {step_sizes!r}; expected positive numbers, one at least: for instance 0.5 to 4 times the learning rate."
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        loss_landscape(model, x, y, step_sizes)


def test_losses_that_layers_add_count_and_leave_no_trace(inputs):
    class Penalised(keras.layers.Layer):
        def call(self, x):
            self.add_loss(3 * keras.ops.mean(keras.ops.square(x)))
            return x

    x = inputs((6, 2))
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, kernel_initializer="identity"), Penalised()])
    model.compile("sgd", "mse")
    before = list(model.losses)
    landscape = loss_landscape(model, x, np.zeros((6, 2), "float32"), [0.1])
    assert landscape.loss == pytest.approx(4 * np.mean(x.astype("float64") ** 2), rel=1e-5)
    assert list(model.losses) == before
