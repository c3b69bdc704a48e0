"""Multilayer perceptrons: plain, with batch normalisation, and with one whose statistics are not differentiated."""

import keras
import tensorflow as tf

import keras_bn
from recipes.nets import kernels


@keras.saving.register_keras_serializable("recipes")
class UndifferentiatedNormalization(keras.layers.Layer):
    """Normalises by the batch's mean and variance as if they were constants (Ioffe & Szegedy 2015, sec. 2): the gradient does not pass through them."""

    def __init__(self, epsilon=1e-3, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def call(self, inputs):
        mean, variance = tf.nn.moments(tf.stop_gradient(inputs), [0])
        return (inputs - mean) * tf.math.rsqrt(variance + self.epsilon)


def perceptron(input_shape, classes, *, depth, units, activation, kernel_initializer, normalisation, options=None, rate=0.0, weight_decay=0.0):
    """Dense layers with biases, each followed by a normalisation, an activation and Dropout, and a Dense for the logits.

    Args:
        input_shape: (H, W, C), flattened.
        classes: how many there are.
        depth, units: of the hidden layers.
        activation: its Keras name.
        kernel_initializer: its name, as of `kernels.initial`.
        normalisation: "none", "batch_norm" or "undifferentiated".
        options: dict, of keras_bn.BatchNormalization.
        rate: of Dropout; 0 for none.
        weight_decay: each kernel's gradient gets this times the kernel.

    Returns:
        A model from (N, H, W, C) to logits (N, classes), whose hidden layers are called dense1, activation1, and so on.

    Source: Ioffe & Szegedy 2015, sec. 4.1 (3 layers of 100 sigmoids).
    """

    def dense(units, name):
        return keras.layers.Dense(units, **kernels.options(kernel_initializer, weight_decay), name=name)

    x = inputs = keras.Input(input_shape, name="image")
    x = keras.layers.Flatten(name="flatten")(x)
    for number in range(1, depth + 1):
        x = dense(units, f"dense{number}")(x)
        if normalisation == "batch_norm":
            x = keras_bn.BatchNormalization(**options or {}, name=f"normalisation{number}")(x)
        elif normalisation == "undifferentiated":
            x = UndifferentiatedNormalization(name=f"normalisation{number}")(x)
        x = keras.layers.Activation(activation, name=f"activation{number}")(x)
        if rate:
            x = keras.layers.Dropout(rate, name=f"dropout{number}")(x)
    return keras.Model(inputs, dense(classes, "logits")(x), name=f"perceptron{depth}")
