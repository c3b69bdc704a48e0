"""Names of layers' kinds, as Keras names layers."""

import keras
import numpy as np
import pytest

import keras_bn
from keras_bn.inspection import evaluation, layer_order


@pytest.mark.parametrize(
    "kind",
    [
        keras.layers.Conv2DTranspose,
        keras.layers.DepthwiseConv1D,
        keras.layers.LSTM,
        keras.layers.LSTMCell,
        keras.layers.EinsumDense,
        keras.layers.GRU,
        keras_bn.BatchNormalization,
        keras_bn.UniformDropout,
    ],
)
def test_kinds_are_named_as_keras_names_layers(kind):
    keras.backend.clear_session()
    layer = {keras.layers.Conv2DTranspose: lambda: kind(2, 2), keras.layers.DepthwiseConv1D: lambda: kind(2), keras_bn.UniformDropout: lambda: kind(0.1)}
    layer |= {keras_bn.BatchNormalization: kind, keras.layers.EinsumDense: lambda: kind("ab,bc->ac", 2)}
    made = layer.get(kind, lambda: kind(2))()
    assert layer_order.kind(made) == made.name


def test_layers_that_another_one_holds_several_of_are_named_by_their_role():
    inputs = keras.Input((4, 5))
    outputs = keras.layers.Bidirectional(keras.layers.LSTM(3, return_sequences=True))(inputs)
    outputs = keras.layers.MultiHeadAttention(2, 3)(outputs, outputs)
    outputs = keras.layers.GroupQueryAttention(2, 2, 1)(outputs, outputs)
    model = keras.Model(inputs, keras.layers.TimeDistributed(keras.layers.Dense(1))(outputs))
    model.compile("sgd", "mse")
    names = [stage.name.split("_", 1)[1] for stage in layer_order.LayerOrder(model)(evaluation.batch_of(np.zeros((2, 4, 5), "float32")))]
    assert names[:2] == ["forward_lstm", "backward_lstm"]
    attention = {f"multi_head_attention_{role}" for role in ("query", "key", "value", "attention_output")}
    grouped = {f"grouped_query_attention_{role}" for role in ("query", "key", "value", "attention_output")}
    assert set(names[2:6]) == attention
    assert set(names[6:10]) == grouped
    assert names[10:] == ["dense"]
