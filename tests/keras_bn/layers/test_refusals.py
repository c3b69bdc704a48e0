"""Bad input: one sentence with what was received, what is expected and how to mend it, and no statistic changed."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bn

NAME = "BatchNormalization"
MOMENTUM = "expected a number from 0 to 1, the share of the old value that is kept (1 minus PyTorch's), or None for the plain average."


def exclusive(one, other, why):
    return f"`{one}` and `{other}` of {NAME} exclude each other, since {why}; leave one of them out."


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            {"momentum": 1.5},
            f"`momentum` of {NAME} is 1.5; {MOMENTUM}",
        ),
        (
            {"momentum": float("nan")},
            f"`momentum` of {NAME} is nan; {MOMENTUM}",
        ),
        (
            {"epsilon": 0},
            f"`epsilon` of {NAME} is 0; expected a positive number, such as 0.001: a channel whose variance is 0 is divided by its square root.",
        ),
        ({"momentum": "abc"}, f"`momentum` of {NAME} is 'abc'; {MOMENTUM}"),
        ({"axis": 1.5}, f"`axis` of {NAME} is 1.5; expected an integer, the channel axis: -1 for the last."),
        (
            {"virtual_batch_size": 4, "axis": 0},
            exclusive("virtual_batch_size", "axis=0", "both are about the first axis, which cannot hold examples and channels"),
        ),
        (
            {"virtual_batch_size": 0},
            f"`virtual_batch_size` of {NAME} is 0; expected a positive integer, the number of examples to normalise together, or None for all.",
        ),
        (
            {"virtual_batch_size": 2.5},
            f"`virtual_batch_size` of {NAME} is 2.5; expected a positive integer, the number of examples to normalise together, or None for all.",
        ),
        (
            {"virtual_batch_size": 4, "synchronized": True},
            exclusive("virtual_batch_size", "synchronized", "one makes the groups smaller than a replica's batch and the other larger"),
        ),
        ({"jit_compile": True, "synchronized": True}, exclusive("jit_compile", "synchronized", "XLA cannot compile the exchange between replicas")),
    ],
)
def test_constructor(arguments, expected):
    with pytest.raises(ValueError, match=NAME) as caught:
        keras_bn.BatchNormalization(**arguments)
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"virtual_batch_size": 4}, "renormalisation corrects one set of batch statistics and there are several"),
        ({"unbiased": True}, "renormalisation keeps moving standard deviations of the batch as it is normalised"),
    ],
)
def test_renorm_alone(arguments, why):
    if not hasattr(keras_bn.BatchNormalization.__base__(), "renorm"):
        pytest.skip("Keras has renorm from 3.14 on")
    with pytest.raises(ValueError, match="renorm") as caught:
        keras_bn.BatchNormalization(renorm=True, **arguments)
    assert str(caught.value) == exclusive(*arguments, "renorm", why)


@pytest.mark.parametrize(
    ("arguments", "shape", "expected"),
    [
        ({}, (), "bn received inputs of shape (); expected rank 2 or more, examples first: add an axis."),
        ({}, (8,), "bn received inputs of shape (8,); expected rank 2 or more, examples first: add an axis."),
        ({"axis": 2}, (8, 4), "`axis` of bn is 2 and its inputs have shape (8, 4); expected -2 to 1: choose the channels' axis."),
        ({"axis": -3}, (8, 4), "`axis` of bn is -3 and its inputs have shape (8, 4); expected -2 to 1: choose the channels' axis."),
        ({}, (8, None), "bn received inputs of shape (8, None); expected a known number of channels on axis -1: give it in keras.Input."),
    ],
)
def test_shape(arguments, shape, expected):
    with pytest.raises(ValueError, match="bn") as caught:
        keras_bn.BatchNormalization(name="bn", **arguments).build(shape)
    assert str(caught.value) == expected


@pytest.mark.parametrize("execution", [lambda function: function, tf.function])
@pytest.mark.parametrize(
    ("x", "call", "expected"),
    [
        (
            np.ones((8, 6, 5), "float32"),
            {},
            "received 5 channels, in inputs of shape (8, 6, 5); expected 4 on axis -1, as it was built with: make another layer for these.",
        ),
        (
            np.ones((8, 6, 4), "float32"),
            {"mask": np.ones((8, 5), bool)},
            "received a mask of shape (8, 5) for inputs of shape (8, 6, 4); expected one that broadcasts to (8, 6), the shape of the inputs without the "
            "channel axis: reshape it, with size 1 where it holds for all.",
        ),
        (
            np.ones((8, 6, 4), "float32"),
            {"mask": np.ones((8, 6, 4), bool)},
            "received a mask of shape (8, 6, 4) for inputs of shape (8, 6, 4); expected one that broadcasts to (8, 6), the shape of the inputs without the "
            "channel axis: reshape it, with size 1 where it holds for all.",
        ),
    ],
)
def test_call_changes_no_statistic(x, call, expected, execution, inputs):
    layer = keras_bn.BatchNormalization(name="bn")
    layer(inputs((8, 6, 4)), training=True)
    before = [variable.numpy() for variable in layer.variables]
    with pytest.raises(ValueError, match="bn") as caught:
        execution(lambda x: layer(x, training=True, **call))(tf.constant(x))
    assert f"bn {expected}" in str(caught.value)
    for variable, value in zip(layer.variables, before):
        np.testing.assert_array_equal(variable, value)


def test_a_config_with_several_axes():
    with pytest.raises(ValueError, match="axis") as caught:
        keras_bn.BatchNormalization.from_config({"axis": [1, 3]})
    assert str(caught.value) == "a config of BatchNormalization has axis [1, 3]; expected one channel axis: normalise each with a layer of its own."


def test_channels_that_are_known_at_run_time_only(inputs):
    layer = keras_bn.BatchNormalization(name="bn", virtual_batch_size=2, momentum=0.5)
    layer.build((None, 4))
    train = tf.function(lambda x: layer(x, training=True), input_signature=[tf.TensorSpec((None, None))])
    with pytest.raises(tf.errors.InvalidArgumentError, match="bn received another number of channels; expected 4 on axis -1"):
        train(np.ones((6, 1), "float32"))
    np.testing.assert_array_equal(layer.moving_mean, np.zeros(4))
    train(inputs((6, 4)))
    assert np.abs(layer.moving_mean.numpy()).min() > 0


@pytest.mark.parametrize(
    ("symbolic", "expected"),
    [
        (lambda: keras.Input((3,)), "received 3 channels, in inputs of shape (None, 3); expected 4 on axis -1"),
    ],
)
def test_symbolic_inputs(symbolic, expected):
    layer = keras_bn.BatchNormalization(name="bn")
    layer.build((None, 4))
    with pytest.raises(ValueError, match="bn") as caught:
        layer(symbolic())
    assert f"bn {expected}" in str(caught.value)


def test_reset_before_build():
    with pytest.raises(ValueError, match="expected a layer that is built: call it or its `build` first"):
        keras_bn.BatchNormalization().reset_statistics()


def test_virtual_batches_and_channels_on_the_first_axis_counted_from_the_end():
    with pytest.raises(ValueError, match="axis=-2") as caught:
        keras_bn.BatchNormalization(axis=-2, virtual_batch_size=4).build((8, 3))
    assert str(caught.value) == exclusive("virtual_batch_size", "axis=-2", "both are about the first axis, which cannot hold examples and channels")
    keras_bn.BatchNormalization(axis=-2).build((8, 3))  # The remedy.
