"""The layer where Keras's was: its own test file, its configs, old configs, and every format that a model is saved in."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bn

CONFORMANCE = "keras.src.layers.normalization.batch_normalization_test"


@pytest.mark.skipif(importlib.util.find_spec(CONFORMANCE) is None, reason="this Keras is shipped without its tests")
def test_keras_own_tests_pass(tmp_path):
    (tmp_path / "with_ours.py").write_text("import keras.src.layers, keras_bn\nkeras.src.layers.BatchNormalization = keras_bn.BatchNormalization\n")
    root = pathlib.Path(keras_bn.__file__).parents[1]
    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "with_ours", "-p", "no:cacheprovider", "--pyargs", CONFORMANCE],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{root}"},
        capture_output=True,
        text=True,
    )
    assert tests.returncode == 0, tests.stdout[-3000:]
    assert " passed" in tests.stdout


def trained(layer, rng):
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(6, 3, use_bias=False), layer(name="norm"), keras.layers.ReLU()])
    model.compile("sgd", "mse")
    model.fit(rng.normal(2, 3, (32, 8, 8, 3)), np.zeros((32, 6, 6, 6)), epochs=2, verbose=0)
    return model


@pytest.fixture
def images(rng):
    return rng.normal(2, 3, (4, 8, 8, 3)).astype("float32")


def with_ours(layer):
    return (
        keras_bn.BatchNormalization.from_config(layer.get_config()) if type(layer) is keras.layers.BatchNormalization else layer.from_config(layer.get_config())
    )


@pytest.mark.parametrize("form", ["h5", "keras"])
def test_a_model_saved_with_keras_layer_loads_with_ours(form, tmp_path, rng, images):
    theirs = trained(keras.layers.BatchNormalization, rng)
    theirs.save(tmp_path / f"model.{form}")
    ours = keras.models.load_model(tmp_path / f"model.{form}", custom_objects={"BatchNormalization": keras_bn.BatchNormalization}, compile=False)
    if form == "keras":  # There Keras finds its own classes before it asks `custom_objects`.
        ours = keras.models.clone_model(ours, clone_function=with_ours)
        ours.set_weights(theirs.get_weights())
    assert type(ours.get_layer("norm")) is keras_bn.BatchNormalization
    np.testing.assert_allclose(ours.predict(images, verbose=0), theirs.predict(images, verbose=0), rtol=1e-5, atol=1e-5)


def test_weights_file_goes_both_ways(tmp_path, rng, images):
    theirs, ours = trained(keras.layers.BatchNormalization, rng), trained(keras_bn.BatchNormalization, rng)
    for source, target in [(theirs, ours), (ours, theirs)]:
        source.get_layer("norm").gamma.assign(rng.normal(size=6))
        source.save_weights(tmp_path / "model.weights.h5")
        target.load_weights(tmp_path / "model.weights.h5")
        np.testing.assert_allclose(target.predict(images, verbose=0), source.predict(images, verbose=0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("axis", [[3], -1])
def test_a_config_of_keras_2_loads(axis):
    config = {
        "name": "bn", "trainable": True, "dtype": "float32", "axis": axis, "momentum": 0.9, "epsilon": 0.01, "center": True, "scale": False,
        "beta_initializer": {"class_name": "Zeros", "config": {}}, "gamma_initializer": {"class_name": "Ones", "config": {}},
        "moving_mean_initializer": {"class_name": "Zeros", "config": {}}, "moving_variance_initializer": {"class_name": "Ones", "config": {}},
        "beta_regularizer": None, "gamma_regularizer": None, "beta_constraint": None, "gamma_constraint": None,
        "renorm": False, "renorm_clipping": None, "renorm_momentum": 0.99, "fused": True, "virtual_batch_size": None, "adjustment": None,
    }  # fmt: skip
    layer = keras_bn.BatchNormalization.from_config(config)
    assert (layer.axis, layer.momentum, layer.epsilon, layer.scale, layer.virtual_batch_size) == (3 if axis == [3] else -1, 0.9, 0.01, False, None)
    config["virtual_batch_size"] = 16
    assert keras_bn.BatchNormalization.from_config(config).virtual_batch_size == 16


@pytest.mark.parametrize("arguments", [{"unbiased": True}, {"virtual_batch_size": 8}, {"momentum": None}, {"jit_compile": True}])
def test_own_arguments_survive(arguments, tmp_path, inputs):
    model = keras.Sequential([keras.Input((4,)), keras_bn.BatchNormalization(**arguments)])
    model.compile("sgd", "mse", jit_compile=False)
    x = inputs((32, 4))
    model.fit(x, x, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    ((name, value),) = arguments.items()
    assert getattr(loaded.layers[-1], name) == value
    assert loaded.layers[-1].get_config() == model.layers[-1].get_config()
    for one, other in zip(loaded.weights, model.weights):
        np.testing.assert_array_equal(one, other)
    clone = keras.models.clone_model(model)
    assert clone.layers[-1].get_config() == model.layers[-1].get_config()


def test_saved_model(tmp_path, rng, images):
    model = trained(keras_bn.BatchNormalization, rng)
    model.export(tmp_path / "saved", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "saved")
    np.testing.assert_allclose(loaded.serve(images), model.predict(images, verbose=0), rtol=1e-5, atol=1e-5)


def test_tflite_folds_it_into_the_convolution(tmp_path, rng, images):
    model = trained(keras_bn.BatchNormalization, rng)
    model.export(tmp_path / "saved", verbose=False)
    interpreter = tf.lite.Interpreter(model_content=tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "saved")).convert())
    given, got = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    interpreter.resize_tensor_input(given, images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given, images)
    interpreter.invoke()
    np.testing.assert_allclose(interpreter.get_tensor(got), model.predict(images, verbose=0), rtol=1e-4, atol=1e-4)
    kinds = [operation["op_name"] for operation in interpreter._get_ops_details() if operation["op_name"] != "DELEGATE"]
    assert kinds == ["CONV_2D"]


def test_onnx_folds_it_into_the_convolution(tmp_path, rng, images):
    onnx, onnxruntime, _ = (pytest.importorskip(name) for name in ("onnx", "onnxruntime", "tf2onnx"))
    model = trained(keras_bn.BatchNormalization, rng)
    model.export(tmp_path / "model.onnx", format="onnx", verbose=False)
    onnx.checker.check_model(onnx.load(tmp_path / "model.onnx"))
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    (outputs,) = session.run(None, {session.get_inputs()[0].name: images})
    np.testing.assert_allclose(outputs, model.predict(images, verbose=0), rtol=1e-4, atol=1e-4)
    assert {node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node} <= {"Conv", "Relu", "Transpose"}


def test_the_graph_optimiser_merges_convolution_normalisation_and_relu(rng, images):
    from tensorflow.python.eager import context

    model = trained(keras_bn.BatchNormalization, rng)
    infer = tf.function(lambda x: model(x, training=False))
    with context.collect_graphs(optimized=True) as graphs:
        infer(tf.constant(images))
    computing = {node.op for graph in graphs for node in graph.node} - {"Const", "Identity", "ReadVariableOp", "_Arg", "_Retval", "NoOp", "Placeholder"}
    assert computing == {"_FusedConv2D"}


def test_summary_and_quantization_are_keras_own(rng, capsys):
    ours, theirs = (keras.Sequential([keras.Input((4,)), layer(name="norm")]) for layer in (keras_bn.BatchNormalization, keras.layers.BatchNormalization))
    shown = []
    for model in (ours, theirs):
        model.name = "model"
        model.summary()
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]
    for model in (ours, theirs):
        with pytest.raises(NotImplementedError):
            model.layers[0].quantize("int8")
