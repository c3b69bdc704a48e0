"""Which arithmetic is taken when, as a table, and that it is the one that the graph then holds."""

import numpy as np
import pytest
import tensorflow as tf

import keras_bn
from keras_bn.arithmetic import dispatch, fused

USUAL = dict(masked=False, grouped=False, synchronized=False, xla=False, accelerated=False, differentiated=True, forwards=False)


@pytest.mark.parametrize(
    ("dtype", "circumstances", "expected"),
    [
        ("float32", {}, "fused"),
        ("float16", {}, "fused"),
        ("bfloat16", {}, "fused"),
        ("float64", {}, "shifted"),
        *[("float32", {circumstance: True}, "shifted") for circumstance in ("masked", "grouped", "xla", "accelerated")],
        ("float32", dict(synchronized=True), "plain"),
        ("float32", dict(differentiated=False), "plain"),
        ("float32", dict(forwards=True), "plain"),
        ("float64", dict(differentiated=False, xla=True), "plain"),
        ("float64", dict(xla=True), "shifted"),
        ("float16", dict(masked=True), "shifted"),
    ],
)
def test_the_table(dtype, circumstances, expected):
    assert dispatch.choose(tf.as_dtype(dtype), **{**USUAL, **circumstances}) == expected


def operations(function, *arguments):
    """The kinds of operation in a function and in all that it calls."""
    graph = function.get_concrete_function(*arguments).graph.as_graph_def()
    nodes = [*graph.node, *(node for called in graph.library.function for node in called.node_def)]
    return {node.op for node in nodes}


@pytest.mark.parametrize(
    ("arguments", "shape", "dtype", "call", "jit_compile", "by_kernel"),
    [
        ({}, (8, 6, 5, 4), "float32", {}, None, True),
        ({}, (8, 128), "float32", {}, None, True),
        ({}, (8, 4), "float32", {}, None, False),
        ({}, (8, 6, 40), "float32", {}, None, True),
        ({}, (2, 3, 4, 5, 6), "float32", {}, None, True),
        ({"axis": 1}, (8, 4, 6, 5), "float32", {}, None, True),
        ({"axis": 1}, (8, 40, 6), "float32", {}, None, True),
        ({"dtype": "mixed_float16"}, (8, 6, 5, 4), "float16", {}, None, True),
        ({"dtype": "mixed_bfloat16"}, (8, 6, 5, 4), "bfloat16", {}, None, True),
        ({"dtype": "float64"}, (8, 6, 5, 4), "float64", {}, None, False),
        ({}, (8, 6, 5, 4), "float32", {"mask": tf.ones((8, 6, 5), tf.bool)}, None, False),
        ({"virtual_batch_size": 4}, (8, 6, 5, 4), "float32", {}, None, False),
        ({"synchronized": True}, (8, 6, 5, 4), "float32", {}, None, False),
        ({"jit_compile": True}, (8, 6, 5, 4), "float32", {}, None, False),
        ({}, (8, 6, 5, 4), "float32", {}, True, False),
    ],
)
def test_the_graph_holds_what_was_chosen(arguments, shape, dtype, call, jit_compile, by_kernel):
    layer = keras_bn.BatchNormalization(**arguments)
    function = tf.function(recorded(layer, **call), jit_compile=jit_compile)
    unknown_size = tf.TensorSpec([None, *shape[1:]], dtype)
    assert ("FusedBatchNormV3" in operations(function, unknown_size)) is by_kernel


def recorded(layer, **call):
    def function(x):
        with tf.GradientTape():
            return layer(x, training=True, **call)

    return function


def test_the_choice_is_made_anew_inside_and_outside_of_xla(inputs):
    layer = keras_bn.BatchNormalization()
    x = tf.TensorSpec([None, 6, 5, 4])
    for jit_compile, by_kernel in [(True, False), (None, True), (True, False)]:
        assert ("FusedBatchNormV3" in operations(tf.function(recorded(layer), jit_compile=jit_compile), x)) is by_kernel


@pytest.mark.parametrize(("batch", "kernel"), [(2, False), (4096, True)])
def test_the_kernel_takes_what_is_not_small(batch, kernel):
    function = tf.function(recorded(keras_bn.BatchNormalization()))
    assert ("FusedBatchNormV3" in operations(function, tf.TensorSpec([batch, 4, 4, 2]))) is kernel


def test_eager_inference_calls_no_kernel_for_small_inputs(monkeypatch, inputs):
    """Its call costs more than the operations do; in a graph it is merged into a convolution."""
    layer, called = keras_bn.BatchNormalization(), []
    kernel = fused.inference
    monkeypatch.setattr(fused, "inference", lambda *arguments: called.append(arguments) or kernel(*arguments))
    small, large = inputs((2, 6, 5, 4)), inputs((2, 64, 65, 8))
    np.testing.assert_allclose(layer(small), small / np.sqrt(1.001), rtol=1e-6)
    assert called == []
    keras_bn.BatchNormalization()(large)
    assert len(called) == 1
    tf.function(layer).get_concrete_function(tf.constant(small))
    assert len(called) == 2


def test_a_graph_without_a_tape_holds_plain_operations_only():
    layer = keras_bn.BatchNormalization()
    held = operations(tf.function(lambda x: layer(x, training=True)), tf.TensorSpec([None, 6, 5, 4]))
    assert not held & {"FusedBatchNormV3", "If", "StatelessIf", "PartitionedCall", "StatefulPartitionedCall", "IdentityN"}


def test_an_accelerator_is_noticed(monkeypatch):
    assert dispatch.choose_path((tf.ones([2, 3]), None, None)) == "fused"
    gpu = tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda: [gpu])
    assert dispatch.choose_path((tf.ones([2, 3]), None, None)) == "shifted"
