"""Names of layers' kinds, as Keras names layers."""

import keras
import numpy as np
import pytest

import keras_bn
from keras_bn.inspection import evaluation, layer_order, normalization_layers


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


def test_batch_normalisation_layers_are_numbered_in_the_order_of_the_model():
    """Also within models within models, and one that two of them hold counts where it is first."""
    layers = [keras_bn.BatchNormalization(name=f"bn_{number}") for number in range(6)]

    def block(*parts):
        return keras.Sequential([keras.Input((3,)), *parts])

    inner = block(layers[1], keras.layers.Dense(3), layers[2])
    inputs = keras.Input((3,))
    functional = keras.Model(inputs, layers[4](keras.layers.ReLU()(layers[3](inner(inputs)))))
    model = block(layers[0], functional, block(layers[1], layers[5]), keras.layers.Dense(1))
    names = normalization_layers.names(model)
    assert [(name, layer.name) for layer, name in names.items()] == [(f"{number + 1:02d}_batch_normalization", f"bn_{number}") for number in range(6)]

    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.parts = [block(layers[0]), {"first": layers[1], "second": [layers[2], layers[3]]}]
            self.last = layers[4]

    assert [layer.name for layer in normalization_layers.names(Net())] == [f"bn_{number}" for number in range(5)]
