"""Trainings that are not by a compiled loss: train steps of one's own, loops by hand. With and without callbacks the same bits, and numbers equal to a slow oracle."""

import contextlib
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bn
from keras_bn import callbacks, measures

RNG = np.random.default_rng(5)
X = RNG.normal(1, 2, (24, 5)).astype("float32")
Y = RNG.integers(0, 3, 24)
BATCH = 8
CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def net(*units, inputs=5, dropout=0.0):
    layers = [keras.Input((inputs,))]
    for number in units[:-1]:
        layers += [keras.layers.Dense(number), keras_bn.BatchNormalization(momentum=0.9), keras.layers.ReLU()]
        layers += [keras.layers.Dropout(dropout)] if dropout else []
    return keras.Sequential([*layers, keras.layers.Dense(units[-1])])


def drawn(like, seed):
    return keras.random.normal(keras.ops.shape(like), seed=seed)


class Critic(keras.Model):
    """WGAN-GP: two nets, two optimizers, and no `call`."""

    def __init__(self):
        super().__init__()
        self.critic, self.generator = net(6, 4, 1), net(6, 5, inputs=3)
        self.seed = keras.random.SeedGenerator(3)

    def compile(self):
        super().compile()
        self.critic_optimizer, self.generator_optimizer = keras.optimizers.Adam(0.01), keras.optimizers.SGD(0.05)

    def critic_loss(self, critic, real, _, __):
        fake = self.generator(drawn(real[:, :3], self.seed), training=True)
        share = keras.random.uniform((keras.ops.shape(real)[0], 1), seed=self.seed)
        between = share * real + (1 - share) * fake
        with tf.GradientTape() as tape:
            tape.watch(between)
            score = critic(between, training=True)
        slope = tf.norm(tape.gradient(score, between), axis=1)
        difference = tf.reduce_mean(critic(fake, training=True)) - tf.reduce_mean(critic(real, training=True))
        return difference + 10 * tf.reduce_mean((slope - 1) ** 2)

    def generator_loss(self, generator, real, _, __):
        return -tf.reduce_mean(self.critic(generator(drawn(real[:, :3], self.seed), training=True), training=True))

    def train_step(self, real):
        for loss, one, optimizer in [(self.critic_loss, self.critic, self.critic_optimizer)] * 2 + [
            (self.generator_loss, self.generator, self.generator_optimizer)
        ]:
            with tf.GradientTape() as tape:
                value = loss(one, real, None, None)
            optimizer.apply(tape.gradient(value, one.trainable_variables), one.trainable_variables)
        return {"loss": value}


class OwnStep(keras.Model):
    """Trains `self.trained` by `self.loss_of`, and then does what `after` says."""

    def __init__(self):
        super().__init__()
        self.seed = keras.random.SeedGenerator(3)

    def train_step(self, data):
        x, y = data if isinstance(data, tuple) else (data, None)
        with tf.GradientTape() as tape:
            value = self.loss_of(self.trained, x, y, None)
        self.optimizer.apply(tape.gradient(value, self.trained.trainable_variables), self.trained.trainable_variables)
        self.after()
        return {"loss": value}

    def after(self):
        pass


class Contrastive(OwnStep):
    """Two views of each example in one step."""

    def __init__(self):
        super().__init__()
        self.trained = net(6, 4)

    def loss_of(self, trained, x, _, __):
        one, other = (tf.math.l2_normalize(trained(x + 0.1 * drawn(x, self.seed), training=True), 1) for _ in range(2))
        logits = one @ tf.transpose(other) / 0.5
        labels = tf.range(tf.shape(x)[0])
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))


class Distillation(OwnStep):
    """With a teacher that stays as it is."""

    def __init__(self):
        super().__init__()
        self.trained, self.teacher = net(6, 4, 3, dropout=0.3), net(8, 3)
        self.teacher.trainable = False

    def loss_of(self, trained, x, y, _):
        wanted = tf.nn.softmax(self.teacher(x, training=False) / 2)
        outputs = trained(x, training=True)
        return CROSS_ENTROPY(y, outputs) + tf.reduce_mean(keras.losses.kl_divergence(wanted, tf.nn.softmax(outputs / 2)))


class Diffusion(OwnStep):
    """Predicts the noise in its inputs; a copy of the net follows it."""

    def __init__(self):
        super().__init__()
        self.trained, self.averaged = net(8, 5, inputs=6), net(8, 5, inputs=6)
        self.averaged.set_weights(self.trained.get_weights())
        self.averaged.trainable = False

    def loss_of(self, trained, x, _, __):
        noise, time = drawn(x, self.seed), keras.random.uniform((keras.ops.shape(x)[0], 1), seed=self.seed)
        noisy = tf.sqrt(1 - time) * x + tf.sqrt(time) * noise
        return tf.reduce_mean((trained(tf.concat([noisy, time], 1), training=True) - noise) ** 2)

    def after(self):
        for averaged, weight in zip(self.averaged.weights, self.trained.weights):
            averaged.assign(0.9 * averaged + 0.1 * weight)


def own_step(kind, with_targets=False):
    def make():
        model = kind()
        model.compile(keras.optimizers.SGD(0.05), jit_compile=False)
        return model, model.trained, model.loss_of, dict(net=model.trained)

    return make, with_targets


def critic(which):
    def make():
        model = Critic()
        model.compile()
        one, loss, optimizer = (getattr(model, name) for name in (which, f"{which}_loss", f"{which}_optimizer"))
        return model, one, loss, dict(net=one, optimizer=optimizer)

    return make, False


# Name: (function that returns what trains, the net measured, its loss and the instruments' arguments; whether there are targets).
STEPS = {
    "wgan-gp, critic": critic("critic"),
    "wgan-gp, generator": critic("generator"),
    "contrastive": own_step(Contrastive),
    "distillation": own_step(Distillation, with_targets=True),
    "diffusion": own_step(Diffusion),
}


class Snapshots(keras.callbacks.Callback):
    """The values of all variables before each batch, and the net's trainable ones after it."""

    def __init__(self, net):
        super().__init__()
        self.net, self.before, self.after = net, [], []

    def on_train_batch_begin(self, batch, logs=None):
        self.before.append([value.numpy() for value in self.model.variables])

    def on_train_batch_end(self, batch, logs=None):
        self.after.append([value.numpy() for value in self.net.trainable_variables])


def slow_shifts(variables, before, net, after, loss, x, y):
    """||G - G'|| of each kernel of a sequential net, by assigning weights and differentiating eagerly, one after the other."""

    def gradient(index, mixed):
        for variable, value in zip(variables, before):
            variable.assign(value)
        for variable, value in zip(net.trainable_variables[:index], after if mixed else []):
            variable.assign(value)
        with tf.GradientTape() as tape:
            value = loss(net, x, y, None)
        return tape.gradient(value, net.trainable_variables[index]).numpy()

    kernels = [index for index, variable in enumerate(net.trainable_variables) if variable.name == "kernel"]
    return [np.linalg.norm(gradient(index, False) - gradient(index, True)) for index in kernels]


def shifts_of(record):
    return [value for tag, value in record.items() if "/l2/" in tag]


def instruments_of(trained, loss, x, y, every=1, **arguments):
    options = dict(every=every, strict=True, **arguments)
    batch = x if y is None else (x, y)
    statistics = [callbacks.ActivationStatistics(batch, loss=loss, **options)]
    variances = [callbacks.VarianceShift(np.resize(X, (24, trained.input_shape[1])), **options)]
    return [callbacks.InternalCovariateShift(loss=loss, **options), callbacks.LossLandscape(loss=loss, step_sizes=[0.1], **options), *statistics, *variances]


@pytest.mark.parametrize("name", STEPS)
def test_a_train_step_of_one_s_own(name):
    make, with_targets = STEPS[name]
    y = Y if with_targets else None

    def train(measured):
        keras.utils.clear_session(free_memory=False)  # Equal names, by which TensorFlow orders some of its sums.
        keras.utils.set_random_seed(0)
        model, one, loss, arguments = make()
        instruments = instruments_of(one, loss, X[:BATCH], None if y is None else Y[:BATCH], **arguments) if measured else []
        snapshots = Snapshots(one)
        model.fit(X, y, batch_size=BATCH, epochs=1, shuffle=False, verbose=0, callbacks=[*instruments, snapshots])
        return model, one, loss, instruments, snapshots

    model, one, loss, (shift, landscape, statistics, variances), snapshots = train(measured=True)
    plain = train(measured=False)[0]
    for expected, value in zip(plain.variables, model.variables, strict=True):
        np.testing.assert_array_equal(value, expected)
    steps = [record["step"] for record in shift.history]
    assert len(steps) == 3
    assert steps == [record["step"] for record in landscape.history] == [record["step"] for record in statistics.history]
    assert [record["step"] for record in variances.history][-1] > 0
    for index in (0, 2):
        part = slice(index * BATCH, (index + 1) * BATCH)
        x, targets = tf.constant(X[part]), None if y is None else tf.constant(Y[part])
        slow = slow_shifts(model.variables, snapshots.before[index], one, snapshots.after[index], loss, x, targets)
        np.testing.assert_allclose(shifts_of(shift.history[index]), slow, rtol=2e-4, atol=2e-5)
        for variable, value in zip(model.variables, snapshots.before[index]):
            variable.assign(value)
        np.testing.assert_allclose(landscape.history[index]["loss_landscape/loss"], loss(one, x, targets, None), rtol=1e-5)
