"""What an error of Keras or TensorFlow says, in one line."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_bn.inspection.errors import in_a_line


@tf.function
def reshaped(x):
    return tf.reshape(x, (7, 9))


class Failing(keras.layers.Layer):
    def call(self, x):
        raise ValueError("It is Friday.\nOn Fridays it fails.")


def model(*layers):
    return keras.Sequential([keras.Input((3,)), *layers])


ERRORS = {
    "plain": (lambda: int("a"), "invalid literal for int() with base 10: 'a'"),
    "without words": (lambda: next(iter([])), "StopIteration"),
    "a layer's": (lambda: model(keras.layers.Dense(2))(np.ones((2, 5), "float32")), "expected axis -1 of input shape to have value 3"),
    "of a user's code": (lambda: reshaped(tf.ones(5)), "Cannot reshape a tensor with 5 elements to shape [7,9]"),
    "of a graph": (lambda: tf.function(lambda x: tf.gather(tf.range(3), x))(tf.constant(12)), "indices = 12 is not in [0, 3)"),
    "of several lines": (lambda: Failing()(np.ones(2)), "It is Friday"),
}


@pytest.mark.parametrize("kind", ERRORS)
def test_it_says_what_is_wrong(kind):
    fail, words = ERRORS[kind]
    with pytest.raises(Exception) as raised:  # noqa: PT011
        fail()
    line = in_a_line(raised.value)
    assert words in line
    assert "\n" not in line
    assert "\x1b" not in line
    assert not line.endswith(".")
