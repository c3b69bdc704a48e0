"""The layer: its forms against the oracle in every execution, its state, and that it is a drop-in for Keras's."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_bn
import reference
from built_layer import built
from keras_bn.arithmetic import shared_functions

SHAPES = [((16, 5), -1), ((6, 7, 4), -1), ((4, 6, 5, 3), -1), ((4, 3, 6, 5), 1), ((3, 4, 5, 2, 3), -1)]
# Rounding of sums of up to about 400 float32 values of size 10, relative to results of size 1.
TOLERANCE = dict(rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(
    ("shape", "axis", "center", "scale"),
    [*((*each, True, True) for each in SHAPES), *((*SHAPES[2], *each) for each in [(True, False), (False, True), (False, False)])],
)
def test_training_equals_the_oracle(shape, axis, center, scale, inputs, rng, execution):
    layer, weights = built(shape, axis, rng, center=center, scale=scale)
    x, dy = inputs(shape, axis), rng.normal(0.5, 1, shape).astype("float32")

    def step(x, dy):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        return y, tape.gradient(y, [x, *layer.trainable_variables], dy)

    y, gradients = execution(step)(tf.constant(x), tf.constant(dy))
    np.testing.assert_allclose(y, reference.batch_norm_training(x, weights["gamma"], weights["beta"], axis, 0.1), **TOLERANCE)
    dx, dgamma, dbeta = reference.batch_norm_training_gradient(x, weights["gamma"], dy, axis, 0.1)
    for gradient, expected in zip(gradients, [dx] + [dgamma] * scale + [dbeta] * center):
        np.testing.assert_allclose(gradient, expected, rtol=2e-5, atol=1e-4)  # dgamma sums up to 120 products of size 10.
    mean, variance = reference.moments(x, axis)
    np.testing.assert_allclose(layer.moving_mean, reference.moving_average(weights["moving_mean"], mean, 0.7), **TOLERANCE)
    np.testing.assert_allclose(layer.moving_variance, reference.moving_average(weights["moving_variance"], variance, 0.7), **TOLERANCE)


@pytest.mark.parametrize(
    ("shape", "axis", "arguments"), [*((*each, {"training": False}) for each in SHAPES), *((*SHAPES[2], each) for each in ({"training": None}, {}))]
)
def test_inference_equals_the_oracle_and_updates_nothing(shape, axis, arguments, inputs, rng, execution):
    layer, weights = built(shape, axis, rng)
    x = inputs(shape, axis)
    before = [variable.numpy() for variable in layer.variables]
    y = execution(lambda x: layer(x, **arguments))(tf.constant(x))
    expected = reference.batch_norm_inference(x, weights["gamma"], weights["beta"], weights["moving_mean"], weights["moving_variance"], axis, 0.1)
    np.testing.assert_allclose(y, expected, **TOLERANCE)
    for variable, value in zip(layer.variables, before):
        np.testing.assert_array_equal(variable, value)


def test_not_trainable_is_inference(inputs, rng, execution):
    layer, weights = built((8, 4), -1, rng)
    layer.trainable = False
    x = inputs((8, 4))
    y = execution(lambda x: layer(x, training=True))(tf.constant(x))
    expected = reference.batch_norm_inference(x, weights["gamma"], weights["beta"], weights["moving_mean"], weights["moving_variance"], -1, 0.1)
    np.testing.assert_allclose(y, expected, **TOLERANCE)
    np.testing.assert_allclose(layer.moving_mean, weights["moving_mean"], rtol=1e-6)


@pytest.mark.parametrize("decision", [True, False])
def test_training_may_be_a_tensor(decision, inputs, rng, execution):
    told, _ = built((8, 4), -1, np.random.default_rng(1))
    asked, _ = built((8, 4), -1, np.random.default_rng(1))
    x = tf.constant(inputs((8, 4)))
    y = execution(lambda x, training: asked(x, training=training))(x, tf.constant(decision))
    np.testing.assert_allclose(y, told(x, training=decision), rtol=1e-6, atol=1e-6)
    for variable, expected in zip(asked.variables, told.variables):
        np.testing.assert_allclose(variable, expected, rtol=1e-6)


@pytest.mark.parametrize(("shape", "axis"), [((8, 6, 4), -1), ((8, 4, 6), 1), ((8, 6, 5, 1), -1)])
def test_masked_positions_do_not_count(shape, axis, inputs, rng, execution):
    layer, weights = built(shape, axis, rng)
    x, mask = inputs(shape, axis), rng.random(np.delete(shape, axis)) < 0.6
    y = execution(lambda x, mask: layer(x, training=True, mask=mask))(tf.constant(x), tf.constant(mask))
    np.testing.assert_allclose(y, reference.batch_norm_training(x, weights["gamma"], weights["beta"], axis, 0.1, mask), **TOLERANCE)
    mean, variance = reference.moments(x, axis, mask)
    np.testing.assert_allclose(layer.moving_mean, reference.moving_average(weights["moving_mean"], mean, 0.7), **TOLERANCE)
    np.testing.assert_allclose(layer.moving_variance, reference.moving_average(weights["moving_variance"], variance, 0.7), **TOLERANCE)


@pytest.mark.parametrize("kind", ["empty", "masked"])
def test_a_batch_without_values_leaves_the_moving_statistics(kind, inputs, rng, execution):
    layer, _ = built((8, 6, 4), -1, rng)
    before = layer.moving_mean.numpy(), layer.moving_variance.numpy()
    x = tf.constant(inputs((0, 6, 4) if kind == "empty" else (8, 6, 4)))
    mask = tf.zeros(x.shape[:-1], bool) if kind == "masked" else None
    y = execution(lambda x: layer(x, training=True, mask=mask))(x)
    assert np.isfinite(y).all()
    np.testing.assert_array_equal(layer.moving_mean, before[0])
    np.testing.assert_array_equal(layer.moving_variance, before[1])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "mixed_float16", "mixed_bfloat16", "float64"])
def test_dtype_policies(dtype, inputs, rng, execution):
    shape = (8, 6, 4)
    layer, weights = built(shape, -1, rng, dtype=dtype)
    x = tf.constant(inputs(shape), layer.compute_dtype)
    y = execution(lambda x: layer(x, training=True))(x)
    assert y.dtype == layer.compute_dtype
    assert layer.moving_mean.dtype == ("float64" if dtype == "float64" else "float32")
    x = tf.cast(x, tf.float64).numpy()
    # Outputs of size up to 12 in 11, 8 and 53 bits.
    tolerance = {"float16": 1e-2, "bfloat16": 8e-2, "float64": 1e-12}[layer.compute_dtype]
    expected = reference.batch_norm_training(x, weights["gamma"], weights["beta"], -1, 0.1)
    np.testing.assert_allclose(tf.cast(y, tf.float64), expected, atol=tolerance, rtol=1e-12)
    moving = reference.moving_average(weights["moving_variance"], reference.moments(x)[1], 0.7)
    np.testing.assert_allclose(layer.moving_variance, moving, rtol=1e-12 if dtype == "float64" else 1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_jit_compile_compiles_by_xla_wherever_it_is_called(training, inputs):
    x = tf.constant(inputs((8, 4)))

    def xla_functions(layer):
        graph = tf.function(lambda x: layer(x, training=training)).get_concrete_function(x).graph.as_graph_def()
        return [function for function in graph.library.function if function.attr["_XlaMustCompile"].b]

    assert xla_functions(keras_bn.BatchNormalization(jit_compile=True))
    assert not xla_functions(keras_bn.BatchNormalization())


def test_jit_compile_changes_no_number(inputs, rng, execution):
    layers = [built((8, 4), -1, np.random.default_rng(1), jit_compile=jit_compile)[0] for jit_compile in (None, True)]
    x = tf.constant(inputs((8, 4)))
    plain, compiled = (execution(lambda x, layer=layer: layer(x, training=True))(x) for layer in layers)
    np.testing.assert_allclose(plain, compiled, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(layers[0].moving_variance, layers[1].moving_variance, rtol=1e-6)


@pytest.mark.parametrize("arguments", [{}, {"jit_compile": True}, {"virtual_batch_size": 2}])
def test_one_trace_serves_all_layers_and_shapes(arguments, inputs):
    def train(layer, examples):
        x = tf.constant(inputs((examples, 3, 4)))
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(layer(x, training=True) ** 2) + tf.reduce_sum(layer(x, training=False))
        tape.gradient(loss, x)

    train(keras_bn.BatchNormalization(**arguments), 8)
    traced = shared_functions._traced.cache_info().currsize
    for examples in (9, 10, 11):
        train(keras_bn.BatchNormalization(**arguments), examples)
    assert shared_functions._traced.cache_info().currsize == traced


def test_jit_compile_false_is_refused():
    expected = (
        "`jit_compile` of BatchNormalization is False; expected None (as the function around the layer is compiled) or True (always by XLA): "
        "leave it out to follow the model's."
    )
    with pytest.raises(ValueError, match="jit_compile") as caught:
        keras_bn.BatchNormalization(jit_compile=False)
    assert str(caught.value) == expected


@pytest.mark.parametrize("jit_compile", [False, True])
def test_moving_statistics_after_a_fit(jit_compile, inputs):
    x = inputs((40, 3))
    layer = keras_bn.BatchNormalization(momentum=0.8)
    model = keras.Sequential([keras.Input((3,)), layer, keras.layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=jit_compile)
    model.fit(x, np.zeros((40, 1)), batch_size=10, epochs=2, shuffle=False, verbose=0)
    mean, variance = np.zeros(3), np.ones(3)
    for batch in 2 * np.split(x, 4):
        batch_mean, batch_variance = reference.moments(batch)
        mean, variance = reference.moving_average(mean, batch_mean, 0.8), reference.moving_average(variance, batch_variance, 0.8)
    np.testing.assert_allclose(layer.moving_mean, mean, rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, variance, rtol=1e-5)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_equals_keras(shape, axis, training, inputs, rng, execution):
    ours, _ = built(shape, axis, rng)
    theirs = keras.layers.BatchNormalization(axis=axis, momentum=0.7, epsilon=0.1)
    theirs.build(shape)
    theirs.set_weights(ours.get_weights())
    x = tf.constant(inputs(shape, axis))
    np.testing.assert_allclose(execution(lambda x: ours(x, training=training))(x), theirs(x, training=training), **TOLERANCE)
    for our, their in zip(ours.variables, theirs.variables):
        np.testing.assert_allclose(our, their, **TOLERANCE)


def test_synchronized_is_left_to_keras(inputs, rng, execution):
    layer, weights = built((8, 4), -1, rng, synchronized=True)
    x = inputs((8, 4))
    y = execution(lambda x: layer(x, training=True))(tf.constant(x))
    np.testing.assert_allclose(y, reference.batch_norm_training(x, weights["gamma"], weights["beta"], -1, 0.1), **TOLERANCE)


def test_saved_and_loaded(tmp_path, inputs):
    x = inputs((16, 6, 6, 3))
    model = keras.Sequential([keras.Input((6, 6, 3)), keras.layers.Conv2D(4, 3), keras_bn.BatchNormalization(jit_compile=True, momentum=0.6)])
    model.compile("sgd", "mse")
    model.fit(x, np.zeros((16, 4, 4, 4)), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    assert type(loaded.layers[-1]) is keras_bn.BatchNormalization
    assert loaded.layers[-1].jit_compile is True
    assert loaded.layers[-1].momentum == 0.6
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))


def test_config_and_weights_go_from_keras_to_ours_and_back(inputs):
    theirs = keras.layers.BatchNormalization(axis=1, momentum=0.9, epsilon=0.02, scale=False, name="norm", gamma_regularizer="l2")
    theirs(inputs((8, 4)), training=True)
    ours = keras_bn.BatchNormalization.from_config(theirs.get_config())
    ours.build((8, 4))
    ours.set_weights(theirs.get_weights())
    for variable, expected in zip(ours.variables, theirs.variables):
        assert variable.name == expected.name
        np.testing.assert_array_equal(variable, expected)
    back = keras.layers.BatchNormalization.from_config(ours.get_config())
    assert back.get_config() == theirs.get_config()
    back.build((8, 4))
    back.set_weights(ours.get_weights())


@pytest.mark.parametrize(
    ("arguments", "masked"), [({}, False), ({}, True), ({"virtual_batch_size": 4}, True), ({"jit_compile": True}, False), ({"axis": 1}, True)]
)
def test_hessian_vector_product_through_the_layer(arguments, masked, inputs, rng, execution):
    """The layer's own `tf.function` stands between the two derivatives."""
    layer = keras_bn.BatchNormalization(epsilon=0.1, **arguments)
    shape, axis = (10, 5, 3), layer.axis
    x, w, direction = inputs(shape, axis), rng.normal(size=shape), rng.normal(size=shape)
    layer.build(shape)
    mask = rng.random(np.delete(shape, axis)) < 0.7 if masked else None
    groups = [slice(begin, begin + 4) for begin in (0, 4, 8)] if layer.virtual_batch_size else [slice(None)]

    def product(x, w, direction):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                loss = tf.reduce_sum(w * layer(x, training=True, mask=mask) ** 3)
            dx = inner.gradient(loss, x)
        return outer.gradient(dx, x, direction)

    def loss(x):
        parts = [reference.batch_norm_training(x[group], 1, 0, axis, 0.1, None if mask is None else mask[group]) for group in groups]
        return (w * np.concatenate(parts) ** 3).sum()

    def along(x, step=1e-4):
        return (loss(x + step * direction) - loss(x - step * direction)) / (2 * step)

    got = execution(product)(*(tf.constant(value, tf.float32) for value in (x, w, direction)))
    expected = reference.numerical_gradient(along, x.astype("float64"), step=1e-4)
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())
