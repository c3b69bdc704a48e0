"""Definition 2.1 against NumPy in float64, on nets of every kind of model; and nothing of a model changes."""

import re

import keras
import numpy as np
import pytest
from nets import EPSILON, KINDS, dense_oracle, gradient_to, prepared

import keras_bn
import reference
from keras_bn import keras_internals, measures
from keras_bn.inspection import evaluation
from keras_bn.measures import covariate_shift, internal_covariate_shift


def shift_by_the_definition(loss, weights, after, kernels):
    """(l2, relative, cosine) of each of the `kernels`, places in `weights` in the order of computing, by central differences of a NumPy loss."""
    shifts = []
    for kernel in kernels:
        one, other = (gradient_to(kernel, loss, weights, earlier) for earlier in (weights, after))
        l2 = np.linalg.norm(one - other)
        shifts.append((l2, l2 / np.linalg.norm(one), (one * other).sum() / np.linalg.norm(one) / np.linalg.norm(other)))
    return shifts


@pytest.mark.parametrize("decay", [0.0, 0.05])
def test_equals_the_definition(kind, decay, inputs, rng):
    model, x, y, before, after, order = prepared(kind, rng, inputs, decay)
    got = internal_covariate_shift(model, [value.astype("float32") for value in before], [value.astype("float32") for value in after], x, y)
    sorted_before, sorted_after = ([values[kernel] for kernel in order] for values in (before, after))
    expected = shift_by_the_definition(lambda weights: dense_oracle(weights, x.astype("float64"), y, decay), sorted_before, sorted_after, (0, 3, 6))
    assert [shift.layer for shift in got] == ["01_dense", "02_dense", "03_dense"]
    np.testing.assert_allclose([shift[1:4] for shift in got], expected, rtol=2e-4, atol=2e-5)
    assert got[0][1:4] == (0.0, 0.0, 1.0)
    assert min(shift.relative for shift in got[1:]) > 0.05  # It is no test of zeros.


def test_a_deep_net_is_measured_one_layer_after_the_other_alike(inputs, rng, monkeypatch):
    model, x, y, before, after, _ = prepared(KINDS["nested"], rng, inputs, decay=0.05)
    graph = internal_covariate_shift(model, before, after, x, y)
    monkeypatch.setattr(covariate_shift, "LARGEST", 0)
    model.compile("sgd", "mse")  # Else what was prepared for the graph would measure again.
    for shift, same in zip(graph, internal_covariate_shift(model, before, after, x, y), strict=True):
        assert shift.layer == same.layer
        np.testing.assert_allclose(same[1:], shift[1:], rtol=1e-4, atol=1e-5)


def test_a_learning_rate_of_0_shifts_nothing(kind, inputs, rng):
    model, x, y, before, _, _ = prepared(kind, rng, inputs)
    for shift in internal_covariate_shift(model, before, before, x, y):
        assert shift[1:4] == (0.0, 0.0, 1.0)


@pytest.mark.parametrize("largest", [0, covariate_shift.LARGEST])
def test_the_update_s_size_is_that_of_the_kernel_alone(largest, inputs, rng, monkeypatch):
    monkeypatch.setattr(covariate_shift, "LARGEST", largest)
    model, x, y, before, after, order = prepared(KINDS["functional"], rng, inputs)
    kernels = [(before[order[index]], after[order[index]]) for index in (0, 3, 6)]
    expected = [np.linalg.norm(later - now) / np.linalg.norm(now) for now, later in kernels]
    got = internal_covariate_shift(model, [value.astype("float32") for value in before], [value.astype("float32") for value in after], x, y)
    np.testing.assert_allclose([shift.update_size for shift in got], expected, rtol=1e-5)


def test_dropout_masks_are_the_same_in_both(inputs, rng):
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4), keras.layers.Dropout(0.5), keras.layers.Dense(3), keras.layers.GaussianDropout(0.5)])
    model.add(keras.layers.Dense(2))
    model.compile("sgd", "mse")
    before = model.get_weights()[: len(model.trainable_variables)]
    for shift in internal_covariate_shift(model, before, before, inputs((12, 5)), rng.normal(size=(12, 2))):
        assert shift[1:4] == (0.0, 0.0, 1.0)


def test_dropout_that_is_called_twice_draws_the_same_second_mask(inputs, rng):
    dropout = keras.layers.Dropout(0.5)
    entry = keras.Input((5,))
    model = keras.Model(entry, keras.layers.Dense(2)(dropout(keras.layers.Dense(8)(dropout(keras.layers.Dense(8)(entry))))))
    model.compile("sgd", "mse")
    before = [value.numpy() for value in model.trainable_variables]
    for shift in internal_covariate_shift(model, before, before, inputs((12, 5)), rng.normal(size=(12, 2))):
        assert shift[1:4] == (0.0, 0.0, 1.0)


def test_where_a_model_branches_layers_count_in_the_order_in_which_it_computes(inputs, rng):
    """Two layers side by side, and a way around both."""
    entry = keras.Input((5,))
    first, left, right, last = (keras.layers.Dense(units, use_bias=False) for units in (4, 4, 4, 2))
    h = keras.layers.Activation("tanh")(first(entry))
    branches = [h, keras.layers.Activation("tanh")(left(h)), right(h)]
    model = keras.Model(entry, last(keras_bn.BatchNormalization(epsilon=EPSILON)(keras.layers.Add()(branches))))
    model.compile("sgd", "mse")
    x, y = inputs((12, 5)), rng.normal(1, 2, (12, 2)).astype("float32")
    weights = [rng.normal(0.5, 0.7, variable.shape) for variable in model.trainable_variables]
    after = [value + rng.normal(0, 0.3, value.shape) for value in weights]

    def loss(weights):
        to_first, to_left, to_right, gamma, beta, to_last = weights
        h = np.tanh(x.astype("float64") @ to_first)
        z = h + np.tanh(h @ to_left) + h @ to_right
        return np.mean((reference.batch_norm_training(z, gamma, beta, -1, EPSILON) @ to_last - y) ** 2)

    expected = shift_by_the_definition(loss, weights, after, (0, 1, 2, 5))
    got = internal_covariate_shift(model, *([value.astype("float32") for value in values] for values in (weights, after)), x, y)
    np.testing.assert_allclose([shift[1:4] for shift in got], expected, rtol=2e-4, atol=2e-5)
    assert min(shift.relative for shift in got[1:]) > 0.05


def test_a_recurrent_layer_is_one_with_its_cell_and_picked_by_its_own_name(inputs, rng):
    cells = keras.layers.RNN([keras.layers.SimpleRNNCell(3), keras.layers.SimpleRNNCell(2)])
    model = keras.Sequential([keras.Input((4, 5)), keras.layers.LSTM(3, return_sequences=True, name="memory"), keras.layers.Dense(4), cells])
    model.compile("sgd", "mse")
    before = [rng.normal(size=variable.shape).astype("float32") for variable in model.trainable_variables]
    batch = before, [1.1 * value for value in before], inputs((6, 4, 5)), inputs((6, 2))
    every = internal_covariate_shift(model, *batch)
    assert [shift.layer for shift in every] == ["01_lstm", "02_dense", "03_simple_rnn_cell", "04_simple_rnn_cell"]
    assert [shift.l2 > 0 for shift in every] == [False, True, True, True]
    for layers in (["memory"], [1], lambda layer: layer.name == "memory"):
        assert [shift.layer for shift in internal_covariate_shift(model, *batch, layers=layers)] == ["01_lstm"]


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


@pytest.mark.parametrize("kind_of_model", ["nested", "subclassed"])
def test_layers_keep_their_names_whatever_is_frozen(kind_of_model, inputs, rng):
    """And the numbers of those that train are what they are by the definition, the frozen weights being equal before and after."""
    model, x, y, *_ = prepared(KINDS[kind_of_model], rng, inputs)
    dense = [layer for layer in keras_internals.layers_within(model) if isinstance(layer, keras.layers.Dense)]
    dense.sort(key=lambda layer: {4: 0, 3: 1, 2: 2}[layer.units])
    names = ["01_dense", "02_dense", "03_dense"]
    for frozen in ([0], [1]):
        for index, layer in enumerate(dense):
            layer.trainable = index not in frozen
        model.compile("sgd", "mse")
        before = [value.numpy() for value in model.trainable_variables]
        after = [value + rng.normal(0, 0.3, value.shape).astype("float32") for value in before]
        shifts = internal_covariate_shift(model, before, after, x, y)
        assert [shift.layer for shift in shifts] == [name for index, name in enumerate(names) if index not in frozen]
        trainable = [index for index in (0, 1, 2) if index not in frozen]
        got = internal_covariate_shift(model, before, after, x, y, layers=[trainable[-1] + 1])
        assert [shift.layer for shift in got] == [names[trainable[-1]]]
        # All weights in computing order, frozen ones unmoved.
        moved = dict(zip(map(id, model.trainable_variables), after))
        layers = [part for layer in dense for part in [layer, *following(model, layer)]]
        variables = [variable for layer in layers for variable in (layer.variables if isinstance(layer, keras.layers.Dense) else [layer.gamma, layer.beta])]
        now = [variable.numpy().astype("float64") for variable in variables]
        then = [np.asarray(moved.get(id(variable), value), "float64") for variable, value in zip(variables, now)]
        expected = shift_by_the_definition(lambda weights: dense_oracle(weights, x.astype("float64"), y), now, then, [3 * index for index in trainable])
        np.testing.assert_allclose([shift[1:4] for shift in shifts], expected, rtol=5e-4, atol=5e-5)


def following(model, dense):
    """The normalisation layer behind a Dense of the small net: that with as many channels."""
    layers = [layer for layer in keras_internals.layers_within(model) if isinstance(layer, keras_bn.BatchNormalization)]
    return [layer for layer in layers if layer.gamma.shape[0] == dense.units]


def test_only_frozen_layers_are_refused(inputs, rng):
    model, x, y, before, *_ = prepared(KINDS["sequential"], rng, inputs)
    model.layers[0].trainable = False
    sentence = "all of the chosen layers are frozen: dense; expected one at least whose kernel is trainable: set its `trainable`."
    with pytest.raises(ValueError, match=f"^{re.escape(sentence.replace('dense', model.layers[0].name))}$"):
        internal_covariate_shift(model, before[1:], before[1:], x, y, layers=[1])


@pytest.mark.parametrize("largest", [0, covariate_shift.LARGEST])
def test_lengths_are_traced_a_few_times(largest, rng, monkeypatch):
    monkeypatch.setattr(covariate_shift, "LARGEST", largest)
    model = keras.Sequential([keras.Input((None, 3)), keras.layers.Dense(4), keras_bn.BatchNormalization(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    before = [value.numpy() for value in model.trainable_variables]
    for examples in range(2, 6):
        for length in range(2, 6):
            x, y = rng.normal(1, 2, (examples, length, 3)).astype("float32"), rng.normal(size=(examples, length, 1)).astype("float32")
            assert internal_covariate_shift(model, before, [0.9 * value for value in before], x, y)[1].l2 > 0
    assert 1 <= covariate_shift.measure_of(model, evaluation.batch_of(x)).function.experimental_get_tracing_count() <= 4


def test_weights_that_are_not_like_the_trainable_ones_are_refused():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3), keras_bn.BatchNormalization(), keras.layers.Dense(1)], name="net")
    model.compile("sgd", "mse")
    right = [weight.numpy() for weight in model.trainable_variables]
    x, y = np.ones((4, 2)), np.ones((4, 1))
    with pytest.raises(ValueError, match="`before`") as caught:
        measures.internal_covariate_shift(model, model.get_weights(), right, x, y)
    assert str(caught.value) == (
        "`before` holds 8 weights, of which that at index 4 has shape (3,) instead of (3, 1); expected 6, like `model.trainable_variables` of a built model: "
        "take copies of those."
    )
    with pytest.raises(ValueError, match=r"^`after` holds 5 weights; expected 6, like"):
        measures.internal_covariate_shift(model, right, right[:-1], x, y)
    measures.internal_covariate_shift(model, right, right, x, y)  # The remedy.
