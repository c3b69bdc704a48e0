"""Programs of every kind that `compile` and `fit` train: with and without callbacks the same bits, and numbers equal to a slow oracle."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import trainings

import keras_bn
from keras_bn import callbacks

EXAMPLES, BATCH = 12, 6
NODES = 5


def normal(rng, *shape):
    return rng.normal(1, 2, (EXAMPLES, *shape)).astype("float32")


def autoencoder(rng):
    """Variational: a layer draws, and adds a divergence to the loss."""

    class Sampling(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.seed = keras.random.SeedGenerator(1)

        def call(self, codes):
            mean, log_variance = tf.split(codes, 2, axis=-1)
            self.add_loss(0.05 * tf.reduce_mean(tf.exp(log_variance) + mean**2 - 1 - log_variance))
            return mean + tf.exp(log_variance / 2) * keras.random.normal(tf.shape(mean), seed=self.seed)

    layers = [keras.layers.Dense(6), keras_bn.BatchNormalization(), keras.layers.Dense(4), Sampling(), keras.layers.Dense(6), keras_bn.BatchNormalization()]
    layers += [keras.layers.Dense(5)]
    x = normal(rng, 5)
    return keras.Sequential([keras.Input((5,)), *layers]), layers, "mse", x, x


def segmentation(rng):
    """A small U-Net."""
    outer, inner, last = (keras.layers.Conv2D(channels, 3, padding="same") for channels in (4, 6, 2))
    between = keras_bn.BatchNormalization(), keras_bn.BatchNormalization()
    entry = keras.Input((8, 8, 3))
    above = keras.layers.ReLU()(between[0](outer(entry)))
    below = keras.layers.ReLU()(between[1](inner(keras.layers.MaxPooling2D()(above))))
    outputs = last(keras.layers.Concatenate()([keras.layers.UpSampling2D()(below), above]))
    labels = rng.integers(0, 2, (EXAMPLES, 8, 8))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return keras.Model(entry, outputs), [outer, between[0], inner, between[1], last], loss, normal(rng, 8, 8, 3), labels


def graph_net(rng):
    """Two rounds of messages along the edges of a graph, and a sum over its nodes."""

    class Graph(keras.Model):
        def __init__(self):
            super().__init__()
            self.parts = [keras.layers.Dense(6), keras_bn.BatchNormalization(), keras.layers.Dense(6), keras_bn.BatchNormalization(), keras.layers.Dense(1)]

        def call(self, inputs, training=None):
            nodes, edges = inputs["nodes"], inputs["edges"]
            for update, normalise in zip(self.parts[:4:2], self.parts[1:4:2]):
                nodes = tf.nn.relu(normalise(update(tf.matmul(edges, nodes)), training=training))
            return self.parts[4](tf.reduce_sum(nodes, 1))

    model, x = Graph(), {"nodes": normal(rng, NODES, 3), "edges": rng.integers(0, 2, (EXAMPLES, NODES, NODES)).astype("float32")}
    model(x)
    return model, model.parts, "mse", x, normal(rng, 1)


def several_inputs_and_outputs(rng):
    left, right, near, far = (keras.layers.Dense(units, name=name) for units, name in ((6, "left"), (6, "right"), (2, "near"), (1, "far")))
    normalise = keras_bn.BatchNormalization()
    entries = {"one": keras.Input((4,), name="one"), "two": keras.Input((3,), name="two")}
    h = normalise(left(entries["one"]) * right(entries["two"]))
    outputs = {"near": near(h), "far": far(keras.layers.ReLU()(h))}
    x, y = {"one": normal(rng, 4), "two": normal(rng, 3)}, {"near": normal(rng, 2), "far": normal(rng, 1)}
    return keras.Model(entries, outputs), [left, right, normalise, near, far], {"near": "mse", "far": "mae"}, x, y


def masked_sequence(rng):
    """Words of which the last are padding in some examples."""
    layers = [keras.layers.Embedding(9, 4, mask_zero=True), keras.layers.GRU(5, return_sequences=True), keras_bn.BatchNormalization(), keras.layers.Dense(2)]
    words = rng.integers(1, 9, (EXAMPLES, 6))
    words[4:, 3:] = 0
    return keras.Sequential([keras.Input((6,), dtype="int32"), *layers]), layers, "mse", words, normal(rng, 6, 2)


def siamese(rng):
    """One encoder, called with each of two inputs."""
    layers = [keras.layers.Dense(4), keras_bn.BatchNormalization(), keras.layers.Dense(3)]
    encoder, distance = keras.Sequential([keras.Input((5,)), *layers[:2], keras.layers.ReLU(), layers[2]]), keras.layers.Dense(1)
    one, other = keras.Input((5,)), keras.Input((5,))
    model = keras.Model([one, other], distance(keras.layers.Subtract()([encoder(one), encoder(other)])))
    return model, [*layers, distance], "mse", [normal(rng, 5), normal(rng, 5)], normal(rng, 1)


PROGRAMS = [autoencoder, segmentation, graph_net, several_inputs_and_outputs, masked_sequence, siamese]


def trained(program, measured):
    keras.utils.clear_session(free_memory=False)  # Equal names, by which TensorFlow orders some of its sums.
    keras.utils.set_random_seed(0)
    model, layers, loss, x, y = program(np.random.default_rng(6))
    model.compile(keras.optimizers.SGD(0.05), loss, jit_compile=False)
    part = tf.nest.map_structure(lambda value: value[:BATCH], (x, y))
    options = dict(every=1, strict=True)
    kinds = [callbacks.InternalCovariateShift, callbacks.LossLandscape]
    instruments = [*(kind(**options) for kind in kinds), callbacks.VarianceShift(part[0], **options), callbacks.ActivationStatistics(part, **options)]
    snapshots = trainings.Snapshots()
    model.fit(x, y, batch_size=BATCH, epochs=1, shuffle=False, verbose=0, callbacks=[*(instruments if measured else []), snapshots])
    return model, layers, x, y, instruments, snapshots


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_is_measured_and_not_changed(program):
    model, layers, x, y, instruments, snapshots = trained(program, measured=True)
    plain = trained(program, measured=False)[0]
    for expected, value in zip(plain.variables, model.variables, strict=True):
        np.testing.assert_array_equal(value, expected)
    assert [len(instrument.history) for instrument in instruments] == [2, 2, 2, 2]
    assert all(len(instrument.summary().split("\n")) == 3 for instrument in instruments)
    part = slice(BATCH, 2 * BATCH)
    x, y = (tf.nest.map_structure(lambda value: tf.constant(value[part]), each) for each in (x, y))

    def gradient(kernels, earlier):
        snapshots.put_back(1, after=earlier)
        with tf.GradientTape() as tape:
            loss = model.compute_loss(x, y, model(x, training=True))
        return np.concatenate([np.ravel(tf.convert_to_tensor(value)) for value in tape.gradient(loss, [kernel.value for kernel in kernels])])

    shifts, earlier = [], []
    for layer in layers:
        kernels = [variable for variable in layer.trainable_variables if variable.name in ("kernel", "recurrent_kernel", "embeddings")]
        if kernels:
            shifts.append(np.linalg.norm(gradient(kernels, []) - gradient(kernels, earlier)))
        earlier += layer.trainable_variables
    got = [value for tag, value in instruments[0].history[1].items() if "/l2/" in tag]
    np.testing.assert_allclose(got, shifts, rtol=5e-4, atol=5e-5)
    snapshots.put_back(1)
    expected = float(model.compute_loss(x, y, model(x, training=True)))
    for instrument in instruments[:2]:
        np.testing.assert_allclose(instrument.history[1][f"{instrument.name}/loss"], expected, rtol=1e-5)
