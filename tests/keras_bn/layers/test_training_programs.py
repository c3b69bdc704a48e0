"""Programs as people write them, once with Keras's layer and once with ours: both end with the same weights and moving statistics."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bn
import reference


def everything(*models):
    return [keras.ops.convert_to_numpy(variable) for model in models for variable in model.variables]


def gan(normalization, rng):
    """The discriminator trains alone, then is frozen inside the model that trains the generator; two rounds."""
    noise, real = rng.normal(1, 2, (2, 16, 3)).astype("float32"), rng.normal(3, 2, (2, 16, 5)).astype("float32")
    generator = keras.Sequential([keras.Input((3,)), keras.layers.Dense(6), normalization(), keras.layers.ReLU(), keras.layers.Dense(5)])
    discriminator = keras.Sequential([keras.Input((5,)), keras.layers.Dense(6), normalization(), keras.layers.LeakyReLU(), keras.layers.Dense(1)])
    discriminator.compile(keras.optimizers.SGD(0.1), "mse")
    discriminator.trainable = False
    both = keras.Sequential([keras.Input((3,)), generator, discriminator])
    both.compile(keras.optimizers.SGD(0.1), "mse")
    for some_noise, some_real in zip(noise, real):
        discriminator.trainable = True
        examples = np.concatenate([some_real, generator.predict_on_batch(some_noise)])
        discriminator.train_on_batch(examples, np.repeat([[1.0], [0.0]], 16, 0))
        discriminator.trainable = False
        trained = everything(discriminator)
        both.train_on_batch(some_noise, np.ones((16, 1)))
        for before, after in zip(trained, everything(discriminator), strict=True):
            np.testing.assert_array_equal(after, before)
    return everything(generator, discriminator)


def siamese(normalization, rng):
    """One net for both inputs, so that its layer is called twice a step."""
    branch = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5), normalization(momentum=0.8), keras.layers.ReLU()])
    one, other = keras.Input((4,)), keras.Input((4,))
    model = keras.Model([one, other], keras.layers.Dense(1)(keras.layers.Subtract()([branch(one), branch(other)])))
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit([rng.normal(1, 2, (40, 4)), rng.normal(-3, 1, (40, 4))], rng.normal(size=40), batch_size=8, shuffle=False, verbose=0)
    return everything(model)


def time_distributed(normalization, rng):
    """The normalisation is called once a time step."""
    layers = [keras.layers.Dense(3), normalization(momentum=0.8), keras.layers.ReLU(), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((5, 4)), *(keras.layers.TimeDistributed(layer) for layer in layers)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(rng.normal(1, 2, (24, 5, 4)), rng.normal(size=(24, 5, 1)), batch_size=8, shuffle=False, verbose=0)
    return everything(model)


def variable_lengths(normalization, rng):
    """Eagerly, a padded batch of another length each time."""
    model = keras.Sequential(
        [keras.layers.Embedding(20, 6, mask_zero=True), normalization(), keras.layers.Dense(4, "relu"), normalization(), keras.layers.GlobalAveragePooling1D()]
    )
    optimizer = keras.optimizers.SGD(0.1)
    for length in (3, 9, 5, 2, 7):
        words = rng.integers(1, 20, (8, length)) * (np.arange(length) < rng.integers(1, length + 1, (8, 1)))
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(words, training=True) - 1.0))
        optimizer.apply(tape.gradient(loss, [variable.value for variable in model.trainable_variables]), model.trainable_variables)
    return everything(model)


class Unfreeze(keras.callbacks.Callback):
    """One layer more trains from each epoch on, the last one first."""

    def on_epoch_begin(self, epoch, logs=None):
        layers = self.model.layers
        for index, layer in enumerate(layers):
            layer.trainable = index >= len(layers) - 2 * (epoch + 1)
        self.model.compile(keras.optimizers.SGD(0.1), "mse")
        self.model.train_function = None
        self.model.make_train_function()


def gradual_unfreezing(normalization, rng):
    """A frozen normalisation uses its moving statistics and keeps them, until it is unfrozen in the middle of `fit`."""
    blocks = [layer for _ in range(2) for layer in (keras.layers.Dense(4), normalization(momentum=0.8))]
    model = keras.Sequential([keras.Input((4,)), *blocks, keras.layers.ReLU(), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(rng.normal(1, 2, (24, 4)), rng.normal(size=(24, 1)), batch_size=8, epochs=3, shuffle=False, verbose=0, callbacks=[Unfreeze()])
    return everything(model)


@pytest.mark.parametrize("program", [gan, siamese, time_distributed, variable_lengths, gradual_unfreezing], ids=lambda program: program.__name__)
def test_ends_as_with_keras_layer(program):
    results = []
    for normalization in (keras.layers.BatchNormalization, keras_bn.BatchNormalization):
        keras.utils.set_random_seed(7)
        results.append(program(normalization, np.random.default_rng(7)))
    for theirs, ours in zip(*results, strict=True):
        assert np.isfinite(ours).all()
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_stochastic_weight_averaging_without_momentum(rng):
    """The weights are averaged over epochs; then one pass over the data, at fixed weights, replaces the moving statistics by those of the averaged net.

    Source: Izmailov et al. 2018, Alg. 1, whose last step is that pass.
    """
    x, y = rng.normal(2, 3, (48, 4)).astype("float32"), rng.normal(size=(48, 1))
    layer = keras_bn.BatchNormalization(momentum=None)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5), layer, keras.layers.ReLU(), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.05), "mse")
    snapshots = []
    for _ in range(3):
        model.fit(x, y, batch_size=12, verbose=0)
        snapshots.append([variable.numpy() for variable in model.trainable_variables])
    for variable, values in zip(model.trainable_variables, zip(*snapshots)):
        variable.assign(np.mean(values, 0))
    layer.reset_statistics()
    batches = np.split(x, 4)
    for batch in batches:
        model(batch, training=True)
    kernel, bias = (np.mean([snapshot[index] for snapshot in snapshots], 0, dtype="float64") for index in (0, 1))
    moments = [reference.moments(batch.astype("float64") @ kernel + bias) for batch in batches]
    np.testing.assert_allclose(layer.moving_mean, np.mean([mean for mean, _ in moments], 0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, np.mean([variance for _, variance in moments], 0), rtol=1e-4)
