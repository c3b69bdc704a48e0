"""The objective of a model in links: the same numbers as in one graph, on nets of every kind that it can be cut at, or cannot."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bn
from keras_bn.inspection import evaluation
from keras_bn.inspection.chain import Chain
from keras_bn.inspection.objective import Objective
from keras_bn.measures import covariate_shift, internal_covariate_shift

LENGTH = 6


def dense(units, **options):
    return keras.layers.Dense(units, use_bias=False, **options)


def block(h, units=8):
    """With a way around it."""
    inner = keras.layers.ReLU()(keras_bn.BatchNormalization()(dense(units)(h)))
    return keras.layers.Add()([h, keras_bn.BatchNormalization()(dense(units)(inner))])


def residual():
    entry = keras.Input((5,))
    return keras.Model(entry, dense(2)(block(block(dense(8)(entry)))))


def skipping():
    """A U: every cut lets several tensors pass."""
    entry = keras.Input((5,))
    outer = dense(8)(entry)
    middle = dense(6)(outer)
    inner = dense(6)(dense(4)(middle))
    return keras.Model(entry, dense(2)(keras.layers.Concatenate()([dense(8)(inner + middle), outer])))


def nested_and_shared():
    """A model within, which is called twice, and a Dropout that draws in both calls."""
    within = keras.Sequential([keras.Input((5,)), dense(8), keras_bn.BatchNormalization(), keras.layers.Dropout(0.3), dense(5)])
    entry = keras.Input((5,))
    return keras.Model(entry, dense(2)(within(keras.layers.ReLU()(within(entry)))))


def with_penalties():
    """Of kernels, of activations, and one that a layer adds."""

    class Adding(keras.layers.Layer):
        def call(self, x):
            self.add_loss(0.1 * tf.reduce_mean(x**4))
            return x

    layers = [dense(8, kernel_regularizer="l2"), Adding(), keras.layers.Dense(8, activity_regularizer="l1"), keras_bn.BatchNormalization(), Adding(), dense(2)]
    return keras.Sequential([keras.Input((5,)), *layers])


def sharing_penalties():
    """Layers with a penalty that are called twice: one of them within one link, the other, which has a kernel, in two."""
    penalised, penalty, entry = keras.layers.Dense(5, activity_regularizer="l2"), keras.layers.ActivityRegularization(l2=0.1), keras.Input((5,))
    twice = penalty(keras.layers.ReLU()(penalty(penalised(penalised(dense(5)(entry))))))
    return keras.Model(entry, keras.layers.Dense(2)(twice))


def within_one_call():
    """Layers within a layer, which learn from where they are called that this is training; several kernels in one call."""

    class Two(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.parts = [dense(8), keras.layers.Dropout(0.5), keras_bn.BatchNormalization(), dense(5)]

        def call(self, x):
            for part in self.parts:
                x = part(x)
            return x

    return keras.Sequential([keras.Input((5,)), Two(), keras.layers.Rescaling(0.5), Two(), dense(2)])


def two_inputs_and_outputs():
    entries = {name: keras.Input((5,), name=name) for name in ("one", "two")}
    one, two = (dense(6)(entry) for entry in entries.values())
    both = keras_bn.BatchNormalization()(one * two)
    return keras.Model(entries, {"near": dense(2, name="near")(both), "far": dense(2, name="far")(dense(4)(both))})


def masked_sequence():
    words = keras.Input((LENGTH,), dtype="int32")
    h = keras.layers.Embedding(9, 8, mask_zero=True)(words)
    h = keras.layers.LayerNormalization()(keras.layers.Add()([h, keras.layers.MultiHeadAttention(2, 4)(h, h)]))  # `+` would lose the mask.
    h = keras.layers.LSTM(5, return_sequences=True)(h)
    return keras.Model(words, dense(2)(keras_bn.BatchNormalization()(h)))


def half():
    with_policy = {"dtype": "mixed_bfloat16"}
    layers = [dense(8, **with_policy), keras_bn.BatchNormalization(**with_policy), dense(8, **with_policy), dense(2, dtype="float32")]
    return keras.Sequential([keras.Input((5,)), *layers])


def subclassed():
    """It cannot be cut."""

    class Chained(keras.Model):
        def __init__(self):
            super().__init__()
            self.parts = [dense(8), keras_bn.BatchNormalization(), dense(2)]

        def call(self, x):
            for part in self.parts:
                x = part(x)
            return x

    return Chained()


NETS = [residual, skipping, nested_and_shared, with_penalties, sharing_penalties, within_one_call, two_inputs_and_outputs, masked_sequence, half, subclassed]


def batch_for(net, rng):
    if net is masked_sequence:
        words = rng.integers(1, 9, (12, LENGTH))
        words[3:, 4:] = 0
        return words, rng.normal(1, 2, (12, LENGTH, 2)).astype("float32")
    x, y = rng.normal(1, 2, (12, 5)).astype("float32"), rng.normal(1, 2, (12, 2)).astype("float32")
    return ({"one": x, "two": x[::-1]}, {"near": y, "far": -y}) if net is two_inputs_and_outputs else (x, y)


@pytest.mark.parametrize("net", NETS)
def test_links_make_the_numbers_of_one_graph(net, rng, monkeypatch):
    keras.utils.set_random_seed(0)
    model, (x, y) = net(), batch_for(net, rng)
    model.compile("sgd", "mse")
    model(x)
    before = [weight.numpy() + rng.normal(0, 0.2, weight.shape).astype("float32") for weight in model.trainable_variables]
    after = [value + rng.normal(0, 0.1, value.shape).astype("float32") for value in before]
    state = [variable.numpy() for variable in model.non_trainable_variables]
    expected = internal_covariate_shift(model, before, after, x, y)
    monkeypatch.setattr(covariate_shift, "LARGEST", 0)
    model.compile("sgd", "mse")  # Else what was prepared for one graph would measure again.
    got = internal_covariate_shift(model, before, after, x, y)
    assert [shift.layer for shift in got] == [shift.layer for shift in expected]
    tolerance = 0.03 if net is half else 2e-4  # bfloat16 has 8 bits; a layer may be computed in another order.
    np.testing.assert_allclose([shift[1:] for shift in got], [shift[1:] for shift in expected], rtol=tolerance, atol=tolerance / 10)
    assert max(shift.relative for shift in got) > 0.05
    assert all(shift[1:4] == (0.0, 0.0, 1.0) for shift in internal_covariate_shift(model, before, before, x, y))
    for variable, value in zip(model.non_trainable_variables, state):
        np.testing.assert_array_equal(variable, value)


def links_of(net):
    model = net()
    model.compile("sgd", "mse")
    kernels = [index for index, variable in enumerate(model.trainable_variables) if variable.name == "kernel"]
    return Chain(model, Objective(model), kernels)._links


def test_a_model_is_cut_where_its_kernels_are_also_within_models_that_it_holds():
    assert [len(links_of(net)) for net in (residual, nested_and_shared, subclassed)] == [6, 5, 0]


def test_the_graph_grows_with_the_depth_not_with_its_square(rng, monkeypatch):
    monkeypatch.setattr(covariate_shift, "LARGEST", 0)

    def nodes(depth):
        model = keras.Sequential([keras.Input((5,)), *(dense(5) for _ in range(depth))])
        model.compile("sgd", "mse")
        batch = evaluation.batch_of((np.ones((4, 5), "float32"), np.ones((4, 5), "float32")))
        snapshot = Objective(model).snapshot(batch)
        function = covariate_shift.measure_of(model, batch).function
        graph = function.get_concrete_function(snapshot, snapshot.weights, batch, tf.constant(1.0)).graph.as_graph_def()
        return len(graph.node) + sum(len(function.node_def) for function in graph.library.function)

    small, middle, large = (nodes(depth) for depth in (4, 8, 16))
    assert large - middle < 2.3 * (middle - small)
