"""Two replicas of a MirroredStrategy, on two logical CPUs, against the oracle."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bn
import reference
from keras_bn.arithmetic import replicas

# (axis, shape of an example, examples on each replica)
CASES = [(-1, (4,), (6, 6)), (-1, (5, 4), (6, 6)), (1, (4, 5), (6, 6)), (-1, (5, 4), (9, 2)), (-1, (5, 4), (7, 0))]


@pytest.fixture(params=["table", "sums"])
def form(request, monkeypatch):
    """How replicas exchange their moments: as few of them do, and as many do."""
    if request.param == "sums":
        monkeypatch.setattr(replicas, "MOST_IN_A_TABLE", 1)
    return request.param


def per_replica(strategy, values, dtype=tf.float32):
    return strategy.experimental_distribute_values_from_function(lambda context: tf.constant(values[context.replica_id_in_sync_group], dtype))


def built(strategy, axis, shape, **arguments):
    with strategy.scope():
        layer = keras_bn.BatchNormalization(axis=axis, momentum=0.7, epsilon=0.1, **arguments)
        layer.build((None, *shape))
    return layer


def trained(strategy, layer, xs, dys, masks=None):
    """(y, gradients to x, gamma and beta) of each replica."""
    arguments = [per_replica(strategy, xs), per_replica(strategy, dys)]
    if masks is not None:
        arguments.append(per_replica(strategy, masks, tf.bool))

    @tf.function
    def step(*arguments):
        def replica(x, dy, mask=None):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = layer(x, training=True, mask=mask)
            return y, tape.gradient(y, [x, *(variable.value for variable in layer.trainable_variables)], dy)

        return strategy.run(replica, args=arguments)

    y, gradients = step(*arguments)
    local = strategy.experimental_local_results
    return local(y), [local(gradient) for gradient in gradients]


def data(inputs, rng, axis, shape, sizes):
    xs = [inputs((size, *shape), axis) + 3 * index for index, size in enumerate(sizes)]
    return [x.astype("float32") for x in xs], [rng.normal(0.5, 1, x.shape).astype("float32") for x in xs]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("axis", "shape", "sizes"), CASES)
def test_synchronized_statistics_are_those_of_the_whole_batch(axis, shape, sizes, masked, form, strategy, inputs, rng):
    layer = built(strategy, axis, shape, synchronized=True)
    xs, dys = data(inputs, rng, axis, shape, sizes)
    masks = [rng.random(np.delete(x.shape, axis)) < 0.7 for x in xs] if masked else None
    ys, (dxs, dgammas, dbetas) = trained(strategy, layer, xs, dys, masks)
    whole, mask = np.concatenate(xs), np.concatenate(masks) if masked else None
    np.testing.assert_allclose(np.concatenate(ys), reference.batch_norm_training(whole, 1, 0, axis, 0.1, mask), rtol=2e-5, atol=2e-5)
    mean, variance = reference.moments(whole, axis, mask)
    np.testing.assert_allclose(layer.moving_mean, 0.3 * mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.moving_variance, 0.7 + 0.3 * variance, rtol=1e-5)
    if not masked:
        dx, dgamma, dbeta = reference.batch_norm_training_gradient(whole, 1, np.concatenate(dys), axis, 0.1)
        np.testing.assert_allclose(np.concatenate(dxs), dx, rtol=2e-5, atol=5e-5)
        np.testing.assert_allclose(sum(dgammas), dgamma, rtol=2e-5, atol=2e-4)  # Each replica has its share; the optimizer adds them up.
        np.testing.assert_allclose(sum(dbetas), dbeta, rtol=2e-5, atol=2e-4)


@pytest.mark.parametrize("decision", [True, False])
def test_synchronized_when_a_tensor_decides(decision, strategy, inputs, rng):
    python_decided, tensor_decided = (built(strategy, -1, (5, 4), synchronized=True) for _ in range(2))
    xs, _ = data(inputs, rng, -1, (5, 4), (6, 3))

    @tf.function
    def outputs(layer, training, xs):
        return strategy.run(lambda x: layer(x, training=training), args=(xs,))

    pairs = [
        strategy.experimental_local_results(outputs(*each, per_replica(strategy, xs)))
        for each in ((python_decided, decision), (tensor_decided, tf.constant(decision)))
    ]
    for one, other in zip(*pairs):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)
    for one, other in zip(python_decided.variables, tensor_decided.variables):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-6)


def test_synchronized_statistics_are_right_far_from_zero(form, strategy, rng):
    layer = built(strategy, -1, (4,), synchronized=True)
    xs = [(rng.normal(size=(size, 4)) + 1e4).astype("float32") for size in (500, 300)]
    trained(strategy, layer, xs, xs)
    np.testing.assert_allclose((layer.moving_variance.numpy() - 0.7) / 0.3, reference.moments(np.concatenate(xs))[1], rtol=1e-3)


@pytest.mark.parametrize(("axis", "shape", "sizes"), CASES)
def test_unsynchronized_replicas_normalise_by_themselves_and_are_averaged_where_they_are_read(axis, shape, sizes, strategy, inputs, rng):
    layer = built(strategy, axis, shape)
    xs, dys = data(inputs, rng, axis, shape, sizes)
    ys, _ = trained(strategy, layer, xs, dys)
    means, variances = [], []
    for x, y in zip(xs, ys):
        mean, variance = (0.0, 1.0)
        if len(x):
            np.testing.assert_allclose(y, reference.batch_norm_training(x, 1, 0, axis, 0.1), rtol=2e-5, atol=2e-5)
            mean, variance = (0.3 * reference.moments(x, axis)[0], 0.7 + 0.3 * reference.moments(x, axis)[1])
        means.append(np.broadcast_to(mean, [4]))
        variances.append(np.broadcast_to(variance, [4]))
    np.testing.assert_allclose(layer.moving_mean.numpy(), np.mean(means, axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.moving_variance.numpy(), np.mean(variances, axis=0), rtol=1e-5)


def test_a_collective_a_layer(form, strategy, inputs):
    """One all-reduce forward of few replicas: count, mean and variance travel together; of many two, whose size does not grow with their number."""
    layer = built(strategy, -1, (4,), synchronized=True)
    xs = per_replica(strategy, [inputs((6, 4)), inputs((6, 4))])
    reduced = []
    original = tf.distribute.ReplicaContext.all_reduce

    def counting(self, operation, value):
        reduced.append(value)
        return original(self, operation, value)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf.distribute.ReplicaContext, "all_reduce", counting)
        tf.function(lambda xs: strategy.run(lambda x: layer(x, training=True), args=(xs,))).get_concrete_function(xs)
    if form == "table":
        assert [value.shape.num_elements() for value in reduced] == [2 * 3 * 4] * 2  # On each of the two replicas one.
    else:
        assert [value.shape.num_elements() for value in reduced] == [2 * 4] * 4


@pytest.mark.parametrize("synchronized", [False, True])
def test_fit_save_and_load(synchronized, strategy, inputs, tmp_path):
    x = inputs((32, 6))
    with strategy.scope():
        model = keras.Sequential(
            [keras.Input((6,)), keras.layers.Dense(4), keras_bn.BatchNormalization(momentum=0.5, synchronized=synchronized), keras.layers.Dense(1)]
        )
        model.compile("sgd", "mse")
    model.fit(x, np.ones((32, 1)), batch_size=8, epochs=2, verbose=0)
    model.evaluate(x, np.ones((32, 1)), verbose=0)
    layer = model.layers[1]
    assert np.abs(layer.moving_mean.numpy()).max() > 0
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.layers[1].moving_variance, layer.moving_variance.numpy(), rtol=1e-6)
    if synchronized:  # Else each replica predicts by its own statistics, and who loads the model by their mean.
        np.testing.assert_allclose(loaded.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)
    before = layer.moving_mean.numpy()
    layer.reset_statistics()
    np.testing.assert_array_equal(layer.moving_mean.numpy(), np.zeros(4))
    model.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_allclose(layer.moving_mean.numpy(), before, rtol=1e-6)


def test_finite_values_whose_squares_are_not_give_no_nan(form, strategy, inputs, rng):
    layer = built(strategy, -1, (4,), synchronized=True)
    xs, dys = data(inputs, rng, -1, (4,), (6, 6))
    y, gradients = trained(strategy, layer, [x * np.float32(1e20) for x in xs], dys)
    for values in (*y, *(value for gradient in gradients for value in gradient), layer.moving_mean, layer.moving_variance):
        assert not np.isnan(values).any()
