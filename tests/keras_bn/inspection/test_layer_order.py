"""Names of layers' kinds, as Keras names layers."""

import keras
import pytest

import keras_bn
from keras_bn.inspection import layer_order


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
