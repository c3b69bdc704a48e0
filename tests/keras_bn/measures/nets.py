"""One small net in every kind of model, and the same in NumPy."""

import keras
import numpy as np

import keras_bn
import reference

EPSILON = 0.1


def dense_oracle(weights, x, y, decay=0.0):
    """The mean squared error of Dense, batch normalisation, tanh, twice, and a Dense: `weights` are kernel, gamma, beta, kernel, gamma, beta, kernel, bias."""
    kernels = weights[0], weights[3], weights[6]
    h = np.tanh(reference.batch_norm_training(x @ weights[0], weights[1], weights[2], -1, EPSILON))
    h = np.tanh(reference.batch_norm_training(h @ weights[3], weights[4], weights[5], -1, EPSILON))
    return np.mean((h @ weights[6] + weights[7] - y) ** 2) + decay * sum((kernel**2).sum() for kernel in kernels)


def gradient_to(index, loss, weights, earlier):
    """Of a NumPy loss to the weight at that index, by central differences; those in front of it are `earlier`."""
    return reference.numerical_gradient(lambda value: loss([*earlier[:index], value, *weights[index + 1 :]]), weights[index])


def layers_of(decay=0.0):
    def regularizer():
        return keras.regularizers.L2(decay) if decay else None

    return [
        keras.layers.Dense(4, use_bias=False, kernel_regularizer=regularizer()),
        keras_bn.BatchNormalization(epsilon=EPSILON),
        keras.layers.Activation("tanh"),
        keras.layers.Dense(3, use_bias=False, kernel_regularizer=regularizer()),
        keras_bn.BatchNormalization(epsilon=EPSILON),
        keras.layers.Activation("tanh"),
        keras.layers.Dense(2, kernel_regularizer=regularizer()),
    ]


def sequential(layers):
    return keras.Sequential([keras.Input((5,)), *layers])


def functional(layers, units=5):
    outputs = inputs = keras.Input((units,))
    for layer in layers:
        outputs = layer(outputs)
    return keras.Model(inputs, outputs)


def nested(layers):
    return keras.Sequential([keras.Input((5,)), keras.Sequential(layers[:4]), functional(layers[4:6], 3), layers[6]])


class Subclassed(keras.Model):
    """Its attributes do not stand in the order in which they compute."""

    def __init__(self, layers):
        super().__init__()
        self.last, *self.others = layers[::-1]

    def call(self, x, training=None):
        for layer in self.others[::-1]:
            x = layer(x, training=training) if isinstance(layer, keras_bn.BatchNormalization) else layer(x)
        return self.last(x)


KINDS = {"sequential": sequential, "functional": functional, "nested": nested, "subclassed": Subclassed}


def prepared(kind, rng, inputs, decay=0.0):
    """(model, x, y, before, after, the places of its weights in the order in which they compute). The model's weights are `before`."""
    layers = layers_of(decay)
    model = kind(layers)
    x, y = inputs((12, 5)), rng.normal(1, 2, (12, 2)).astype("float32")
    model.compile("sgd", "mse")
    model.build((None, 5))
    model(x)
    computing = [variable for layer in layers for variable in layer.trainable_variables]
    order = [next(index for index, candidate in enumerate(model.trainable_variables) if candidate is variable) for variable in computing]
    before = [rng.normal(0.5, 0.7, variable.shape) for variable in model.trainable_variables]
    for variable, value in zip(model.trainable_variables, before):
        variable.assign(value)
    after = [value + rng.normal(0, 0.3, value.shape) for value in before]
    return model, x, y, before, after, order
