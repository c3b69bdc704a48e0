"""Models of many kinds with Keras's batch normalisation, every weight of which is random."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from keras_bn import keras_internals


def randomised(model, seed=0):
    """The model, with random gamma, beta and biases, and moving statistics that are none of an ordinary net."""
    rng = np.random.default_rng(seed)
    for layer in keras_internals.layers_within(model):
        for variable in layer.weights:
            if isinstance(layer, keras.layers.BatchNormalization) and variable.name in ("gamma", "moving_variance"):
                variable.assign(rng.uniform(0.5, 1.5, variable.shape))
            elif isinstance(layer, keras.layers.BatchNormalization) or variable.name == "bias":
                variable.assign(rng.normal(0, 0.3, variable.shape))
    return model


class Block(keras.Layer):
    """Holds layers as an attribute, in a list and in a dict, and makes one when it is built."""

    def __init__(self, units, **options):
        super().__init__(**options)
        self.units, self.dense, self.first = units, layers.Dense(units), layers.BatchNormalization()
        self.listed, self.named = [layers.Dense(units), layers.BatchNormalization()], {"one": layers.BatchNormalization()}

    def build(self, shape):
        self.dense.build(shape)
        self.late = layers.BatchNormalization()
        for layer in (self.first, *self.listed, *self.named.values(), self.late):
            layer.build((*shape[:-1], self.units))

    def call(self, x):
        for layer in (self.dense, self.first, *self.listed, self.named["one"], self.late):
            x = layer(x)
        return x

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class Subclassed(keras.Model):
    """Its `__init__` takes nothing of what Keras puts into configurations; a layer is shared with a block of its own."""

    def __init__(self, units=3):
        super().__init__()
        self.dense, self.normalization, self.block = layers.Dense(units), layers.BatchNormalization(), Block(4)
        self.blocks = [[layers.Dense(2), layers.BatchNormalization()], [layers.Dense(3)]]
        self.backbone = keras.Sequential([keras.Input((3,)), layers.Dense(2), layers.BatchNormalization()])

    def call(self, x):
        x = self.block(self.normalization(self.dense(x)))
        for block in self.blocks:
            for layer in block:
                x = layer(x)
        return self.backbone(x)


class WithTrainStep(keras.Model):
    def train_step(self, data):
        return super().train_step(data)


def cubed_relu(x):
    return tf.nn.relu(x) ** 3


def with_functions():
    """Activations and a Lambda that refer to what this module imports."""
    return keras.Sequential(
        [
            keras.Input((8,)),
            layers.Dense(5, activation=cubed_relu),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dense(4, activation=lambda x: tf.nn.relu(x)),
            layers.Lambda(lambda x: tf.abs(x) + 1),
            layers.BatchNormalization(),
        ]
    )


def towers():
    """Two inputs through one nested model, which is frozen, and one layer that is shared, operations that are no layers, and outputs by name."""
    one, other = keras.Input((8,), name="one"), keras.Input((8,), name="other")
    tower = keras.Sequential([keras.Input((8,)), layers.Dense(4), layers.BatchNormalization(name="inner")], name="tower")
    tower.trainable = False
    tower.get_layer("inner").trainable = True  # By itself, which the tower overrules.
    shared = layers.BatchNormalization(name="shared")
    both = keras.ops.concatenate([shared(tower(one)), shared(tower(other))]) * 2
    dense = layers.Dense(3, name="dense")(both)
    return keras.Model({"one": one, "other": other}, {"sum": layers.Dense(1, name="sum")(both), "normal": layers.BatchNormalization(name="normal")(dense)})


def wrapped():
    """TimeDistributed around a layer, and around a functional model; a Bidirectional."""
    inputs, inner = keras.Input((6, 8)), keras.Input((8,))
    x = layers.TimeDistributed(keras.Model(inner, layers.BatchNormalization()(layers.Dense(3)(inner))))(inputs)
    x = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(layers.TimeDistributed(layers.BatchNormalization())(x))
    return keras.Model(inputs, layers.BatchNormalization()(x))


def masked():
    inputs = keras.Input((6,), dtype="int32")
    x = layers.BatchNormalization()(layers.Embedding(10, 4, mask_zero=True)(inputs))
    return keras.Model(inputs, layers.BatchNormalization()(layers.LSTM(3)(x)))


def holding():
    inputs = keras.Input((8,))
    return WithTrainStep(inputs, Block(4, name="block")(inputs))


def subclassed():
    model = Subclassed()
    model(np.zeros((2, 8), "float32"))
    return model


def fine_tuned():
    """A frozen backbone within a Sequential, and a frozen layer."""
    backbone = keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3), include_top=False, alpha=0.35)
    model = keras.Sequential([keras.Input((32, 32, 3)), backbone, layers.GlobalAveragePooling2D(), layers.BatchNormalization(), layers.Dense(2)])
    backbone.trainable = model.layers[2].trainable = False
    return model


def mixed():
    half, single = "mixed_float16", "float32"
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, dtype=half),
            layers.BatchNormalization(dtype=half),
            layers.BatchNormalization(dtype=single),
            layers.Flatten(dtype=single),
        ]
    )


ALL = with_functions, towers, wrapped, masked, holding, subclassed, fine_tuned, mixed


def inputs_of(model, rng):
    graph = keras_internals.functional_graph(model)
    if graph is None:
        return rng.normal(1, 2, (3, 8)).astype("float32")

    def drawn(tensor):
        shape = [3, *tensor.shape[1:]]
        return rng.integers(0, 10, shape) if tensor.dtype == "int32" else rng.normal(1, 2, shape).astype("float32")

    return keras.tree.map_structure(drawn, keras_internals.structures_of(graph)[0])


def largest_difference(model, other, x):
    """Of what two models return, relative to the largest output."""
    pairs = zip(*(keras.tree.flatten(each(x, training=False)) for each in (model, other)), strict=True)
    pairs = [[np.asarray(keras.ops.convert_to_numpy(value), "float64") for value in pair] for pair in pairs]
    return max(abs(one - two).max() / abs(one).max() for one, two in pairs)
