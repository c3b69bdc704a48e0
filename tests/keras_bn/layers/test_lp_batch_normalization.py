"""The layer: its three measures against the oracle in every execution, and that p = 2 is batch normalisation."""

import functools
import json
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import built_layer
import keras_bn
import reference
from keras_bn.functional import lp_norm_training

# Rounding of sums of up to about 120 float32 values of size 10, relative to results of size 1.
TOLERANCE = dict(rtol=2e-5, atol=2e-5)

built = functools.partial(built_layer.built, kind=keras_bn.LpBatchNormalization)


def assert_follows(layer, weights, mean, measure):
    np.testing.assert_allclose(layer.moving_mean, reference.moving_average(weights["moving_mean"], mean, 0.7), **TOLERANCE)
    np.testing.assert_allclose(layer.moving_variance, reference.moving_average(weights["moving_variance"], measure**2, 0.7), **TOLERANCE)


@pytest.mark.parametrize("axis", [-1, 0])
def test_oracle_by_hand(axis):
    x = np.array([[1.0, 2.0, 9.0, 12.0]])  # Mean 6, deviations 5, 4, 3, 6.
    x = x.T if axis == -1 else x
    for p, expected in {1: 4.5, 2: math.sqrt(86 / 4), math.inf: 6.0}.items():
        np.testing.assert_allclose(reference.lp_measure(x, p, axis), [expected])
    np.testing.assert_allclose(reference.lp_norm_training(x, 10.0, 7.0, math.inf, axis, 28.0).ravel(), 7 + 10 * np.array([-5, -4, 3, 6]) / 8)
    mask = np.array([True, True, True, False])  # Mean 4, deviations 3, 2, 5.
    mask = mask if axis == -1 else mask[np.newaxis]
    np.testing.assert_allclose(reference.lp_measure(x, 1, axis, mask.reshape(np.delete(x.shape, axis))), [10 / 3])


# Every norm, rank, axis, center and scale comes up; all of their combinations would take minutes to compile.
@pytest.mark.parametrize(
    ("shape", "axis", "p", "center", "scale"),
    [((16, 5), -1, 1, True, True), ((4, 3, 6, 5), 1, 1, False, False), ((4, 6, 5, 3), -1, 2, True, False), ((4, 3, 6, 5), 1, math.inf, True, True)],
)
def test_training_equals_the_oracle(shape, axis, p, center, scale, inputs, rng, execution):
    layer, weights = built(shape, axis, rng, p=p, center=center, scale=scale)
    x, dy = inputs(shape, axis), rng.normal(0.5, 1, shape).astype("float32")

    def step(x, dy):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        return y, tape.gradient(y, [x, *layer.trainable_variables], dy)

    def loss(x=x, gamma=weights["gamma"], beta=weights["beta"]):
        return (dy * reference.lp_norm_training(x, gamma, beta, p, axis, 0.1)).sum()

    y, gradients = execution(step)(tf.constant(x), tf.constant(dy))
    np.testing.assert_allclose(y, reference.lp_norm_training(x, weights["gamma"], weights["beta"], p, axis, 0.1), **TOLERANCE)
    expected = [reference.numerical_gradient(loss, x)]
    expected += [reference.numerical_gradient(lambda gamma: loss(gamma=gamma), weights["gamma"])] * scale
    expected += [reference.numerical_gradient(lambda beta: loss(beta=beta), weights["beta"])] * center
    # dgamma sums up to 120 products of size 10, and dx one of them; the differences themselves are right to 1e-8.
    for gradient, value in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(gradient, value, rtol=2e-5, atol=1e-4)
    assert_follows(layer, weights, reference.moments(x, axis)[0], reference.lp_measure(x, p, axis))


@pytest.mark.parametrize(("arguments", "trainable"), [({}, True), ({"training": True}, False)])
def test_inference_equals_the_oracle_and_updates_nothing(arguments, trainable, inputs, rng, execution):
    layer, weights = built((4, 3, 6, 5), 1, rng, p=1)
    layer.trainable = trainable
    x = inputs((4, 3, 6, 5), 1)
    before = [variable.numpy() for variable in layer.variables]
    y = execution(lambda x: layer(x, **arguments))(tf.constant(x))
    expected = reference.batch_norm_inference(x, weights["gamma"], weights["beta"], weights["moving_mean"], weights["moving_variance"], 1, 0.1)
    np.testing.assert_allclose(y, expected, **TOLERANCE)
    for variable, value in zip(layer.variables, before):
        np.testing.assert_array_equal(variable, value)


def test_training_may_be_a_tensor(inputs):
    told, asked = (built((8, 4), -1, np.random.default_rng(1), p=math.inf)[0] for _ in range(2))
    x, ask = tf.constant(inputs((8, 4))), tf.function(lambda x, training: asked(x, training=training), jit_compile=True)
    for decision in (True, False):
        np.testing.assert_allclose(ask(x, tf.constant(decision)), told(x, training=decision), rtol=1e-6, atol=1e-6)
        for variable, expected in zip(asked.variables, told.variables):
            np.testing.assert_allclose(variable, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("shape", "axis", "mask_shape", "p"),
    [((8, 4, 6), 1, (8, 6), 1), ((8, 6, 4), -1, (1, 6), math.inf), ((8, 3, 4, 5), 1, (8, 3, 4), math.inf)],
)
def test_masked_positions_do_not_count(shape, axis, mask_shape, p, inputs, rng, execution):
    layer, weights = built(shape, axis, rng, p=p)
    x, mask = inputs(shape, axis), rng.random(mask_shape) < 0.6
    full = np.broadcast_to(mask[..., np.newaxis] if mask_shape == shape[:-1] and axis != -1 and len(shape) == 4 else np.expand_dims(mask, axis), shape)
    y = execution(lambda x, mask: layer(x, training=True, mask=mask))(tf.constant(np.where(full, x, 1e6)), tf.constant(mask))
    mean, measure = np.empty(shape[axis]), np.empty(shape[axis])
    for channel in range(shape[axis]):  # Which values count may differ from channel to channel.
        values = np.take(x, channel, axis)[np.take(full, channel, axis)][:, np.newaxis]
        mean[channel], measure[channel] = reference.moments(values)[0][0], reference.lp_measure(values, p)[0]
    expected = reference.batch_norm_inference(x, weights["gamma"], weights["beta"], mean, measure**2, axis, 0.1)
    np.testing.assert_allclose(y.numpy()[full], expected[full], **TOLERANCE)
    assert_follows(layer, weights, mean, measure)


@pytest.mark.parametrize(("kind", "p"), [("empty", math.inf), ("masked", math.inf), ("constant", 1), ("constant", 2), ("constant", math.inf)])
def test_a_batch_without_deviations_gives_finite_outputs_and_gradients(kind, p, inputs, rng):
    layer, _ = built((8, 6, 4), -1, rng, p=p)
    before = layer.moving_mean.numpy(), layer.moving_variance.numpy()
    x = {"empty": tf.zeros((0, 6, 4)), "masked": tf.constant(inputs((8, 6, 4))), "constant": tf.fill((8, 6, 4), 3.0)}[kind]
    mask = tf.zeros(x.shape[:-1], bool) if kind == "masked" else None
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True, mask=mask)
    assert np.isfinite(y).all()
    assert np.isfinite(tape.gradient(y, x)).all()
    if kind == "constant":
        np.testing.assert_allclose(layer.moving_variance, 0.7 * before[1], rtol=1e-6)
    else:
        np.testing.assert_array_equal(layer.moving_mean, before[0])
        np.testing.assert_array_equal(layer.moving_variance, before[1])


def test_stays_right_far_from_zero(inputs, rng, execution):
    x = (inputs((64, 3)) + np.float32([1e4, -1e4, 1e5])).astype("float32")
    layer, weights = built((64, 3), -1, rng, p=1)
    y = execution(lambda x: layer(x, training=True))(tf.constant(x))
    # The inputs are exact; deviations of size 1 are right to some 1e-6, where a mean of 1e5 in float32 is off by up to 4e-3.
    np.testing.assert_allclose(y, reference.lp_norm_training(x, weights["gamma"], weights["beta"], 1, -1, 0.1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("dtype", "p"), [("mixed_float16", math.inf), ("mixed_float16", 1), ("mixed_bfloat16", math.inf), ("float64", 1)])
def test_dtype_policies(dtype, p, inputs, rng):
    layer, weights = built((8, 6, 4), -1, rng, p=p, dtype=dtype)
    x = tf.constant(inputs((8, 6, 4)), layer.compute_dtype)
    y = layer(x, training=True)
    assert y.dtype == layer.compute_dtype
    x = tf.cast(x, tf.float64).numpy()
    # Outputs of size up to 12 in 11, 8 and 53 bits.
    tolerance = {"mixed_float16": 1e-2, "mixed_bfloat16": 8e-2, "float64": 1e-12}[dtype]
    np.testing.assert_allclose(tf.cast(y, tf.float64), reference.lp_norm_training(x, weights["gamma"], weights["beta"], p, -1, 0.1), atol=tolerance, rtol=1e-12)
    moving = reference.moving_average(weights["moving_variance"], reference.lp_measure(x, p) ** 2, 0.7)
    np.testing.assert_allclose(layer.moving_variance, moving, rtol=1e-12 if dtype == "float64" else 1e-5)


def test_p_2_is_batch_normalization(inputs):
    ours, _ = built((4, 6, 5, 3), -1, np.random.default_rng(1), p=2)
    theirs, _ = built((4, 6, 5, 3), -1, np.random.default_rng(1), kind=keras.layers.BatchNormalization)
    x = tf.constant(inputs((4, 6, 5, 3)))
    np.testing.assert_allclose(ours(x, training=True), theirs(x, training=True), **TOLERANCE)
    for our, their in zip(ours.variables, theirs.variables, strict=True):
        assert our.name == their.name
        np.testing.assert_allclose(our, their, **TOLERANCE)


def test_variance_of_gaussian_inputs(rng):
    """E|d| = sigma * sqrt(2 / pi) for Gaussian d."""
    for p, variance in [(1, math.pi / 2), (2, 1.0)]:
        n = 200_000
        y = keras_bn.LpBatchNormalization(p, epsilon=1e-6)(rng.normal(3, 2, (n, 1)).astype("float32"), training=True)
        # The variance of a Gaussian sample has a relative standard error of sqrt(2 / n) = 0.3 %, less here where the measure goes along; 4 of them.
        np.testing.assert_allclose(np.var(y.numpy(), dtype=np.float64), variance, rtol=4 * math.sqrt(2 / n))


def test_shifting_and_scaling_the_inputs_changes_nothing(inputs):
    for p in [1, math.inf]:
        x = inputs((32, 4)).astype("float64")
        layer = keras_bn.LpBatchNormalization(p, epsilon=1e-12, dtype="float64")
        np.testing.assert_allclose(layer(4 * x + 7, training=True), layer(x, training=True), rtol=1e-9, atol=1e-9)


def test_the_measure_of_nothing_is_0(execution):
    form = execution(lambda x: lp_norm_training(x, None, None, p=math.inf, axis=-1, epsilon=0.1)[1])
    np.testing.assert_array_equal(form(tf.zeros((0, 3))).variance, np.zeros(3))


def test_the_plain_average_over_batches(inputs):
    layer = keras_bn.LpBatchNormalization(1, momentum=None)
    batches = [inputs((16, 3)) for _ in range(3)]
    for batch in batches:
        layer(batch, training=True)
    np.testing.assert_allclose(layer.moving_variance, np.mean([reference.lp_measure(batch, 1) ** 2 for batch in batches], axis=0), rtol=1e-5)


def test_jit_compile_compiles_by_xla_wherever_it_is_called(inputs):
    x = tf.constant(inputs((8, 4)))

    def xla_functions(layer):
        graph = tf.function(lambda x: layer(x, training=True)).get_concrete_function(x).graph.as_graph_def()
        return [function for function in graph.library.function if function.attr["_XlaMustCompile"].b]

    assert xla_functions(keras_bn.LpBatchNormalization(jit_compile=True))
    assert not xla_functions(keras_bn.LpBatchNormalization())


def test_saved_and_loaded(tmp_path, inputs):
    x = inputs((16, 5))
    model = keras.Sequential([keras.Input((5,)), keras_bn.LpBatchNormalization(math.inf, epsilon=0.02), keras.layers.Dense(1)])
    model(x, training=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    assert type(loaded.layers[0]) is keras_bn.LpBatchNormalization
    assert loaded.layers[0].p == math.inf
    assert loaded.layers[0].get_config() == model.layers[0].get_config()
    for training in (False, True):
        np.testing.assert_array_equal(loaded(x, training=training), model(x, training=training))


def test_config_round_trip():
    for p in [1, 2, math.inf, "inf"]:
        layer = keras_bn.LpBatchNormalization.from_config(json.loads(json.dumps(keras_bn.LpBatchNormalization(p, axis=1, scale=False).get_config())))
        assert (layer.p, layer.axis, layer.scale) == (float(p), 1, False)


def test_another_p_is_refused():
    for p in [3, 0, True, "2", None]:
        with pytest.raises(ValueError, match="`p` of") as caught:
            keras_bn.LpBatchNormalization(p)
        assert str(caught.value) == f"`p` of LpBatchNormalization is {p!r}; expected 1, 2 or math.inf: one of the paper's."


def test_what_is_about_a_variance_is_refused():
    for name, value in [("unbiased", True), ("virtual_batch_size", 4), ("synchronized", True), ("renorm", True)]:
        with pytest.raises(ValueError, match=name) as caught:
            keras_bn.LpBatchNormalization(1, **{name: value})
        assert str(caught.value) == (
            f"`{name}` of LpBatchNormalization is {value!r}; expected none, since it is about a variance: leave it out, or use keras_bn.BatchNormalization."
        )


def test_what_batch_normalization_refuses_is_refused():
    with pytest.raises(ValueError, match=r"`momentum` of LpBatchNormalization is 1\.5; expected "):
        keras_bn.LpBatchNormalization(momentum=1.5)
