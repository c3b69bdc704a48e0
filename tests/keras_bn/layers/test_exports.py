"""What exporters make of the layer in both forms, and that the model lives on in the process."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bn

onnxruntime = pytest.importorskip("onnxruntime")


def model_of(bn, convolution, shape, training):
    inputs = keras.Input(shape)
    x = convolution(inputs)
    x = bn(x, training=training)
    return keras.Model(inputs, keras.layers.ReLU()(x))


CONVOLUTIONS = {
    "rank 2": (lambda: keras.layers.Dense(4), (6,)),
    "rank 3": (lambda: keras.layers.Conv1D(4, 3), (9, 3)),
    "rank 4": (lambda: keras.layers.Conv2D(4, 3), (7, 9, 3)),
}


def filled(model, rng):
    model.set_weights([rng.uniform(0.5, 2, weight.shape) for weight in model.get_weights()])
    return model


@pytest.mark.parametrize("rank", CONVOLUTIONS)
@pytest.mark.parametrize("training", [True, False])
def test_onnx(rank, training, inputs, rng, tmp_path):
    convolution, shape = CONVOLUTIONS[rank]
    model = filled(model_of(keras_bn.BatchNormalization(), convolution(), shape, training), rng)
    model.compile("sgd", "mse")
    x = inputs((5, *shape))
    expected = model(x)
    path = str(tmp_path / "model.onnx")
    model.export(path, format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(path)
    [exported] = session.run(None, {session.get_inputs()[0].name: x})
    np.testing.assert_allclose(exported, expected, rtol=1e-4, atol=1e-5)
    # The process and the model are as before.
    np.testing.assert_allclose(model(x), expected, rtol=1e-4, atol=1e-5)
    model.predict(x, verbose=0)
    model.fit(x, np.zeros(expected.shape), verbose=0)
    model.export(path, format="onnx", verbose=False)


@pytest.mark.parametrize("training", [True, False])
def test_saved_model(training, inputs, rng, tmp_path):
    model = filled(model_of(keras_bn.BatchNormalization(), keras.layers.Conv2D(4, 3), (7, 9, 3), training), rng)
    x = inputs((5, 7, 9, 3))
    expected = model(x)
    model.export(str(tmp_path / "saved"), verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    np.testing.assert_allclose(loaded.serve(x), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model(x), expected, rtol=1e-5)


@pytest.mark.parametrize("rank", CONVOLUTIONS)
def test_tflite_folds_what_it_folds_of_keras_layer(rank, inputs, tmp_path):
    convolution, shape = CONVOLUTIONS[rank]
    held = []
    for kind in (keras.layers.BatchNormalization, keras_bn.BatchNormalization):
        model = filled(model_of(kind(), convolution(), shape, training=False), np.random.default_rng(0))
        model.export(str(tmp_path / kind.__module__), verbose=False)
        interpreter = tf.lite.Interpreter(model_content=tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / kind.__module__)).convert())
        interpreter.allocate_tensors()
        held.append(sorted(operation["op_name"] for operation in interpreter._get_ops_details()))
        x = inputs((1, *shape))
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
        interpreter.invoke()
        np.testing.assert_allclose(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]), model(x), rtol=1e-4, atol=1e-4)
    theirs, ours = held
    assert ours == theirs
    assert not {"MUL", "SUB", "ADD", "RSQRT"} & set(ours)


@pytest.mark.parametrize("batch_size", [4, 8, 6, 3])
def test_onnx_of_virtual_batches(batch_size, inputs, rng, tmp_path):
    """With and without a rest, and with nothing but a rest: none of a group is a size of 0, which ONNX reads otherwise."""
    model = filled(model_of(keras_bn.BatchNormalization(virtual_batch_size=4), keras.layers.Conv2D(4, 3), (7, 9, 3), True), rng)
    x = inputs((batch_size, 7, 9, 3))
    expected = model(x)
    path = str(tmp_path / "model.onnx")
    model.export(path, format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(path)
    [exported] = session.run(None, {session.get_inputs()[0].name: x})
    np.testing.assert_allclose(exported, expected, rtol=1e-4, atol=1e-4)
