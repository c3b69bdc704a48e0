"""Train steps of one's own and loops by hand: with and without callbacks the same bits, and numbers equal to a slow oracle."""

import contextlib
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
import trainings

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


def slow_shifts(snapshots, batch, net, loss, x, y):
    """||G - G'|| of each kernel of a sequential net, by assigning weights and differentiating eagerly, one after the other."""

    def gradient(index, mixed):
        snapshots.put_back(batch, after=net.trainable_variables[:index] if mixed else ())
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
        snapshots = trainings.Snapshots(one)
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
        slow = slow_shifts(snapshots, index, one, loss, x, targets)
        np.testing.assert_allclose(shifts_of(shift.history[index]), slow, rtol=2e-4, atol=2e-5)
        snapshots.put_back(index)
        np.testing.assert_allclose(landscape.history[index]["loss_landscape/loss"], loss(one, x, targets, None), rtol=1e-5)


def squared(model, x, y, sample_weight):
    return CROSS_ENTROPY(y, model(x, training=True), sample_weight)


def batches():
    for start in range(0, len(X), BATCH):
        yield tf.constant(X[start : start + BATCH]), tf.constant(Y[start : start + BATCH])


def compiled():
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    model = net(6, 4, 3, dropout=0.3)
    model.compile(keras.optimizers.SGD(0.05), CROSS_ENTROPY, jit_compile=False)
    return model


def by_tape(model, context):
    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            value = squared(model, x, y, None)
        model.optimizer.apply(tape.gradient(value, model.trainable_variables), model.trainable_variables)

    for x, y in batches():
        with context(model, x, y):
            step(x, y)


def by_train_on_batch(model, context):
    for x, y in batches():
        with context(model, x, y):
            model.train_on_batch(x, y)


def nothing(*_):
    return contextlib.nullcontext()


def within_all(instruments):
    @contextlib.contextmanager
    def context(*batch):
        with contextlib.ExitStack() as stack:
            for instrument in instruments:
                stack.enter_context(instrument.watching(*batch))
            yield

    return context


def made(every=1, **options):
    return [
        callbacks.InternalCovariateShift(every=every, strict=True, **options),
        callbacks.LossLandscape(every=every, strict=True, **options),
        callbacks.ActivationStatistics((X, Y), every=every, strict=True, **options),
        callbacks.VarianceShift(X, every=every, strict=True),
    ]


@pytest.mark.parametrize(("loop", "options"), [(by_tape, {"loss": squared}), (by_tape, {}), (by_train_on_batch, {})])
def test_a_loop_by_hand_is_measured_as_fit_is(loop, options):
    by_fit, model = made(), compiled()
    model.fit(X, Y, batch_size=BATCH, shuffle=False, verbose=0, callbacks=by_fit)
    model, plain, by_hand = compiled(), compiled(), made(**options)
    loop(plain, nothing)
    model = compiled()
    loop(model, within_all(by_hand))
    for expected, value in zip(plain.variables, model.variables, strict=True):
        np.testing.assert_array_equal(value, expected)
    for expected, instrument in zip(by_fit, by_hand):
        assert [record["step"] for record in instrument.history] == [record["step"] for record in expected.history]
        for one, other in zip(instrument.history, expected.history):
            assert one.keys() == other.keys()
            np.testing.assert_allclose(list(one.values()), list(other.values()), rtol=1e-4, atol=1e-5)


def test_a_loop_without_an_optimizer_of_keras_counts_its_contexts(tmp_path):
    model, instrument = net(6, 3), callbacks.InternalCovariateShift(str(tmp_path), every=2, loss=squared, strict=True)
    for x, y in [*batches(), *batches()]:
        with instrument.watching(model, x, y):
            with tf.GradientTape() as tape:
                value = squared(model, x, y, None)
            for weight, gradient in zip(model.trainable_variables, tape.gradient(value, model.trainable_variables)):
                weight.assign_sub(0.1 * gradient)
    instrument.on_train_end()
    assert [record["step"] for record in instrument.history] == [0, 2, 4]
    assert [record["step"] for record in keras_bn.summaries.read_scalars(tmp_path)] == [0, 2, 4]


def test_a_loop_over_replicas(strategy):
    """The caller's step runs in the strategy; what is measured is the batch of all replicas."""

    def train(context):
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(0)
        with strategy.scope():
            model, optimizer = net(6, 3), keras.optimizers.SGD(0.05)
            optimizer.build(model.trainable_variables)

        @tf.function
        def step(x, y):
            def replica(x, y):
                with tf.GradientTape() as tape:
                    value = squared(model, x, y, None) / 2
                optimizer.apply(tape.gradient(value, model.trainable_variables), model.trainable_variables)

            strategy.run(replica, args=(x, y))

        dataset = strategy.experimental_distribute_dataset(tf.data.Dataset.from_tensor_slices((X, Y)).batch(BATCH))
        seen = []
        for x, y in dataset:
            seen.append([[value.numpy() for value in each] for each in (model.trainable_variables, model.non_trainable_variables)])
            with context(model, x, y):
                step(x, y)
        return model, seen

    instrument = callbacks.LossLandscape(every=1, loss=squared, step_sizes=[0.1], strict=True)
    model, seen = train(instrument.watching)
    plain = train(nothing)[0]
    for expected, value in zip(plain.variables, model.variables, strict=True):
        np.testing.assert_array_equal(value, expected)
    alone = net(6, 3)
    for (weights, state), record, (x, y) in zip(seen, instrument.history, batches(), strict=True):
        for variable, value in zip((*alone.trainable_variables, *alone.non_trainable_variables), (*weights, *state)):
            variable.assign(value)
        np.testing.assert_allclose(record["loss_landscape/loss"], squared(alone, x, y, None), rtol=1e-5)


@pytest.mark.parametrize("loop", [by_tape, by_train_on_batch])
def test_callbacks_that_cannot_see_the_batch_say_so_once(loop):
    model = compiled()
    instruments = made()
    for instrument in instruments:
        instrument.strict = False
    driver = keras.callbacks.CallbackList(instruments, model=model)

    @contextlib.contextmanager
    def driven(*_):
        driver.on_train_batch_begin(0)
        yield
        driver.on_train_batch_end(0)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        driver.on_train_begin()
        driver.on_epoch_begin(0)
        loop(model, driven)
        driver.on_train_end()
    told = [str(warning.message) for warning in caught if "cannot be seen" in str(warning.message)]
    assert len(told) == 3  # Each that needs the batch, once.
    assert "`with callback.watching(model, x, y):`" in told[0]
    for instrument in instruments[:3]:
        assert [("error" in record, record["step"]) for record in instrument.history] == [(True, 0), (True, 1), (True, 2)]
    assert [record["step"] for record in instruments[3].history] == [1, 2, 3]  # It needs none.
    # The remedy, with the callbacks driven as before.
    again = made()
    driver = keras.callbacks.CallbackList(again, model=model)
    driver.on_train_begin()
    driver.on_epoch_begin(0)

    @contextlib.contextmanager
    def both(*batch):
        with driven(), within_all(again)(*batch):
            yield

    loop(model, both)
    driver.on_train_end()
    for instrument in again[:3]:
        assert [record["step"] for record in instrument.history] == [3, 4, 5]


def test_every_epoch_by_hand():
    model, instrument = compiled(), callbacks.InternalCovariateShift(every="epoch", strict=True)
    x, y = next(batches())
    with pytest.raises(
        ValueError, match='measures every "epoch", and none has begun; expected a call of its `on_epoch_begin` before each epoch: add it, or give'
    ):
        instrument.watching(model, x, y)
    for epoch in range(2):
        instrument.on_epoch_begin(epoch)
        by_tape(model, instrument.watching)
    assert [record["step"] for record in instrument.history] == [0, 3]


def test_without_any_loss_it_is_said_what_is_missing():
    model, (x, y) = net(6, 3), next(batches())
    sentence = "which is not compiled with a loss of its own; expected to be told what is minimised: give `loss`, a function of "
    for instrument in made()[:3]:
        with pytest.raises(ValueError, match=sentence):
            instrument.watching(model, x, y)
    for instrument in [*made(loss=squared)[::2], callbacks.LossLandscape(every=1, loss=squared, step_sizes=[0.1])]:  # The remedy.
        with instrument.watching(model, x, y):
            pass


@pytest.mark.parametrize(
    ("loss", "sentence"),
    [
        (
            lambda model, x, y, _: model(x, training=True),
            "`loss` returned a tensor of shape (8, 3) and dtype float32; expected a scalar floating tensor: reduce it",
        ),
        (lambda model, x, y, _: 3.0, "`loss` returned a float; expected a scalar floating tensor"),
        (
            lambda model, x, y, _: tf.reduce_mean(model(x + tf.random.normal(tf.shape(x)), training=True)),
            "`loss` draws numbers by RandomStandardNormal, which are others at each evaluation; expected the same ones for the same state: draw",
        ),
    ],
)
def test_a_loss_that_is_none_is_refused(loss, sentence):
    model, (x, y) = net(6, 3), next(batches())
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        measures.loss_landscape(model, x, y, [0.1], loss=loss)
    assert str(caught.value).startswith(sentence)


def test_a_net_within_a_model_without_call_is_to_be_named():
    model = Critic()
    model.compile()
    instrument = callbacks.VarianceShift(X[:, :3])
    sentence = "critic has no `call`, so that there is nothing to evaluate; expected one of the nets in it: give it as `net`."
    with pytest.raises(ValueError, match=sentence.replace("critic", model.name)):
        model.fit(X, batch_size=BATCH, verbose=0, callbacks=[instrument])
    instrument = callbacks.VarianceShift(X[:, :3], net=model.generator, every=1, strict=True)
    model.fit(X, batch_size=BATCH, verbose=0, callbacks=[instrument])
    assert [record["step"] for record in instrument.history] == [1, 2, 3]  # Batches: the optimizer that was compiled updates nothing.


def test_step_sizes_are_not_taken_from_an_optimizer_that_updates_nothing():
    model = Critic()
    model.compile()
    instrument = callbacks.LossLandscape(net=model.generator, loss=model.generator_loss, every=2)
    with pytest.warns(UserWarning, match="LossLandscape has no `step_sizes`, and the .* that the model was compiled with updates nothing"):
        model.fit(X, batch_size=BATCH, verbose=0, callbacks=[instrument])
    remedy = callbacks.LossLandscape(net=model.generator, loss=model.generator_loss, every=2, optimizer=model.generator_optimizer, strict=True)
    model.fit(X, batch_size=BATCH, verbose=0, callbacks=[remedy])
    assert [record["step"] for record in remedy.history] == [4]


class Losses:
    """A loss that is a `tf.function`, with control flow of Python's, and a method."""

    @tf.function
    def squared(self, model, x, y, sample_weight):
        total = tf.constant(0.0)
        for _ in tf.range(2):
            total += squared(model, x, y, sample_weight) / 2
        return total


def test_a_loss_that_is_a_tf_function_is_the_same():
    records = []
    for loss in (squared, tf.function(squared), Losses().squared):
        keras.utils.set_random_seed(0)
        model = net(6, 3)
        model.compile("sgd", CROSS_ENTROPY)
        instruments = [callbacks.InternalCovariateShift(loss=loss, every=1, strict=True), callbacks.LossLandscape(loss=loss, every=1, strict=True)]
        for x, y in list(batches())[:2]:
            with instruments[0].watching(model, x, y), instruments[1].watching(model, x, y):
                model.train_on_batch(x, y)
        records.append([record for instrument in instruments for record in instrument.history])
    assert len(records[0]) == 4
    for other in records[1:]:
        for one, same in zip(records[0], other):
            assert same == pytest.approx(one, rel=1e-4, abs=1e-6)
