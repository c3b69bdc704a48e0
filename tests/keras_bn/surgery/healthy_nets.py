"""Small nets of five kinds on digits, of which nothing is wrong once they are trained."""

import functools

import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_digits

BATCH_SIZE, EPOCHS = 32, 3


@functools.cache
def digits():
    data = load_digits()
    return (data.images[..., np.newaxis] / 16).astype("float32"), data.target


def normalised(x):
    return layers.BatchNormalization(momentum=0.9)(x)


def vgg():
    inputs = x = keras.Input((8, 8, 1))
    for filters in (8, 8, 16):
        x = layers.ReLU()(normalised(layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)))
    return keras.Model(inputs, layers.Dense(10)(layers.Flatten()(layers.MaxPooling2D()(x))), name="vgg")


def resnet():
    inputs = keras.Input((8, 8, 1))
    x = layers.ReLU()(normalised(layers.Conv2D(8, 3, padding="same", use_bias=False)(inputs)))
    for filters, strides in ((8, 1), (16, 2)):
        y = layers.ReLU()(normalised(layers.Conv2D(filters, 3, strides, padding="same", use_bias=False)(x)))
        y = normalised(layers.Conv2D(filters, 3, padding="same", use_bias=False)(y))
        x = layers.ReLU()(layers.Add()([y, normalised(layers.Conv2D(filters, 1, strides, use_bias=False)(x))]))
    return keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)), name="resnet")


def mobilenet():
    """With Dropout behind the last batch normalisation."""
    inputs = keras.Input((8, 8, 1))
    x = layers.ReLU(6)(normalised(layers.Conv2D(8, 3, padding="same", use_bias=False)(inputs)))
    for strides in (1, 2):
        y = layers.ReLU(6)(normalised(layers.Conv2D(24, 1, use_bias=False)(x)))
        y = layers.ReLU(6)(normalised(layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False)(y)))
        y = normalised(layers.Conv2D(8, 1, use_bias=False)(y))
        x = layers.Add()([x, y]) if strides == 1 else y
    return keras.Model(inputs, layers.Dense(10)(layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))), name="mobilenet")


def one_dimensional():
    inputs = keras.Input((8, 8))
    x = layers.Activation("relu")(normalised(layers.Conv1D(16, 3, padding="same", use_bias=False)(inputs)))
    x = layers.Activation("tanh")(normalised(layers.Dense(32, use_bias=False)(layers.Flatten()(x))))
    return keras.Model(inputs, layers.Dense(10)(x), name="one_dimensional")


def siamese():
    one, other = keras.Input((8, 8, 1)), keras.Input((8, 8, 1))
    convolution = [layers.Conv2D(8, 3, use_bias=False), layers.BatchNormalization(momentum=0.9), layers.ReLU(), layers.Flatten()]
    dense = [layers.Dense(32, use_bias=False), layers.BatchNormalization(momentum=0.9), layers.ReLU()]
    encoder = keras.Sequential([keras.Input((8, 8, 1)), *convolution, *dense])
    return keras.Model([one, other], layers.Dense(1)(keras.ops.absolute(encoder(one) - encoder(other))), name="siamese")


ALL = vgg, resnet, mobilenet, one_dimensional, siamese


def data_of(make):
    x, y = digits()
    if make is one_dimensional:
        return x[..., 0], y
    if make is siamese:
        order = np.random.default_rng(0).permutation(len(x))
        return [x, x[order]], (y == y[order]).astype("float32")
    return x, y


def compiled(model):
    steps = EPOCHS * -(-len(digits()[0]) // BATCH_SIZE)
    loss = keras.losses.BinaryCrossentropy if model.name == "siamese" else keras.losses.SparseCategoricalCrossentropy
    optimizer = keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.05, steps), momentum=0.9)
    model.compile(optimizer, loss(from_logits=True), metrics=["accuracy"])
    return model


def trained(make):
    keras.utils.set_random_seed(0)
    model = compiled(make())
    model.fit(*data_of(make), batch_size=BATCH_SIZE, epochs=EPOCHS, verbose=0)
    return model
