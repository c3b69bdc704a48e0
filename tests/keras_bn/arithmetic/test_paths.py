"""Both paths against the oracle and each other: far from 0, in half precision, in every derivative."""

import numpy as np
import pytest
import tensorflow as tf

import reference
from keras_bn import functional
from keras_bn.arithmetic import fused

PATHS = ["fused", "shifted"]
SHAPES = [((16, 5), -1), ((6, 7, 4), -1), ((6, 4, 7), 1), ((4, 6, 5, 3), -1), ((4, 3, 6, 5), 1), ((3, 4, 5, 2, 3), -1), ((5, 16), 0)]


@pytest.fixture(params=[("fused", "function"), ("kernel", "eager"), ("kernel", "function"), ("shifted", "eager"), ("shifted", "xla")], ids="-".join)
def computed(request, monkeypatch):
    """(path, wrapper of a function), in the executions that take this path. `fused` computes these small inputs by single operations; `kernel` is the same
    path with TensorFlow's kernel for all sizes."""
    path, execution = request.param
    if path == "kernel":
        path = "fused"
        monkeypatch.setattr(fused, "SMALL", -1)
    return path, (lambda function: function) if execution == "eager" else lambda function: tf.function(function, jit_compile=execution == "xla")


def forward_and_backward(path, axis, epsilon, mask=None, size=None):
    def run(x, gamma, beta, dy):
        with tf.GradientTape() as tape:
            tape.watch((x, gamma, beta))
            y, batch = functional.batch_norm_training(x, gamma, beta, mask, axis=axis, epsilon=epsilon, virtual_batch_size=size, path=path)
        return y, batch, tape.gradient(y, (x, gamma, beta), dy)

    return run


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_both_paths_equal_the_oracle(shape, axis, computed, inputs, rng):
    path, execution = computed
    x, dy = inputs(shape, axis), rng.normal(0.5, 1, shape)
    gamma, beta = rng.normal(2, 1, shape[axis]), rng.normal(3, 1, shape[axis])
    y, batch, gradients = execution(forward_and_backward(path, axis, 0.1))(*(tf.constant(value, tf.float32) for value in (x, gamma, beta, dy)))
    mean, variance = reference.moments(x, axis)
    assert batch.count == x.size // shape[axis]
    np.testing.assert_allclose(batch.mean, mean, rtol=1e-5)
    np.testing.assert_allclose(batch.variance, variance, rtol=1e-5)
    # Outputs of size 10, of which float32 knows 7 digits; dgamma sums up to 120 products of that size.
    np.testing.assert_allclose(y, reference.batch_norm_training(x, gamma, beta, axis, 0.1), rtol=2e-5, atol=2e-5)
    for gradient, expected in zip(gradients, reference.batch_norm_training_gradient(x, gamma, dy, axis, 0.1)):
        np.testing.assert_allclose(gradient, expected, rtol=2e-5, atol=1e-4)


# What float32 can hold of inputs around 1e6 has steps of 0.06, and the oracle sees those; at 1e8 they are 8, and all that can be asked is no negative variance.
@pytest.mark.parametrize(("offset", "tolerance"), [(1e2, 1e-4), (1e4, 1e-3), (1e6, 1e-2)])
@pytest.mark.parametrize("shape", [(64, 32, 32, 4), (512, 8, 8, 4), (8192, 16), (16, 7, 7, 3)])
def test_variance_stays_right_far_from_zero(shape, offset, tolerance, computed, rng):
    path, execution = computed
    x = (rng.normal(size=shape) + offset).astype("float32")
    y, batch = execution(lambda x: functional.batch_norm_training(x, None, None, axis=-1, epsilon=1e-3, path=path))(tf.constant(x))
    mean, variance = reference.moments(x)
    np.testing.assert_allclose(batch.variance, variance, rtol=tolerance)
    np.testing.assert_allclose(batch.mean, mean, rtol=1e-6)
    # y is as good as the difference of the inputs and the mean: half a step of float32 at `offset`.
    np.testing.assert_allclose(y, reference.batch_norm_training(x, 1, 0, -1, 1e-3), atol=1e-4 + offset * 2e-7)


@pytest.mark.parametrize("offset", [0, 1e4, 1e6])
def test_variance_of_many_values(offset, computed, rng):
    """Sums of one float32 after the other are off by 1e-3 of themselves here, and where the mean is far, so is all."""
    path, execution = computed
    x = (rng.standard_normal((32, 256, 256, 1), "float32") + np.float32(offset)).astype("float32")
    _, batch = execution(lambda x: functional.batch_norm_training(x, None, None, axis=-1, epsilon=1e-3, path=path))(tf.constant(x))
    np.testing.assert_allclose(batch.variance, reference.moments(x)[1], rtol=1e-4)


@pytest.mark.parametrize(("path", "shape"), [("fused", (2**21, 3)), ("plain", (32, 256, 256, 1))])
def test_variance_of_many_values_in_single_operations(path, shape, rng):
    """Of examples so tiny that single operations take them all, and where no tape records."""
    x = rng.standard_normal(shape, "float32") + np.float32(2)
    run = tf.function(lambda x: functional.batch_norm_training(x, None, None, axis=-1, epsilon=1e-3, path=path)[1])
    batch = run.get_concrete_function(tf.TensorSpec([None, *shape[1:]]))(tf.constant(x))
    np.testing.assert_allclose(batch.variance, reference.moments(x)[1], rtol=1e-4)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_variance_stays_right_far_from_zero_in_half_precision(dtype, computed, rng):
    path, execution = computed
    x = tf.cast(rng.normal(size=(64, 8, 8, 4)) * 8 + 1000, dtype)
    y, batch = execution(lambda x: functional.batch_norm_training(x, None, None, axis=-1, epsilon=1e-3, path=path))(x)
    mean, variance = reference.moments(tf.cast(x, tf.float64).numpy())
    assert y.dtype == x.dtype
    np.testing.assert_allclose(batch.variance, variance, rtol=1e-4)
    np.testing.assert_allclose(batch.mean, mean, rtol=1e-5)


def test_variance_is_never_negative(computed, rng):
    path, execution = computed
    x = (rng.normal(size=(512, 8, 8, 4)) + 1e8).astype("float32")
    y, batch = execution(lambda x: functional.batch_norm_training(x, None, None, axis=-1, epsilon=1e-3, path=path))(tf.constant(x))
    assert (batch.variance.numpy() >= 0).all()
    assert np.isfinite(y).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_equals_the_oracle(dtype, computed, inputs, rng):
    path, execution = computed
    x, dy = tf.cast(inputs((8, 6, 5, 4)), dtype), tf.cast(rng.normal(0.5, 1, (8, 6, 5, 4)), dtype)
    gamma, beta = (tf.constant(rng.normal(2, 1, 4), tf.float32) for _ in range(2))
    y, batch, (dx, dgamma, dbeta) = execution(forward_and_backward(path, -1, 0.1))(x, gamma, beta, dy)
    assert (y.dtype, dx.dtype, dgamma.dtype, dbeta.dtype, batch.variance.dtype) == (x.dtype, x.dtype, tf.float32, tf.float32, tf.float32)
    exact, exact_dy = (tf.cast(value, tf.float64).numpy() for value in (x, dy))
    step = {"float16": 2.0**-11, "bfloat16": 2.0**-8}[dtype]  # Half a step of the outputs relative to their size; statistics are float32's.
    np.testing.assert_allclose(batch.variance, reference.moments(exact)[1], rtol=1e-5)
    expected = reference.batch_norm_training(exact, gamma.numpy(), beta.numpy(), -1, 0.1)
    np.testing.assert_allclose(tf.cast(y, tf.float64), expected, rtol=2 * step, atol=2 * step)
    for gradient, expected in zip((dx, dgamma, dbeta), reference.batch_norm_training_gradient(exact, gamma.numpy(), exact_dy, -1, 0.1)):
        np.testing.assert_allclose(tf.cast(gradient, tf.float64), expected, rtol=2 * step, atol=4 * step)


def test_one_value_a_channel(computed):
    path, execution = computed
    x, one = tf.constant([[3.0, -2.0]]), tf.ones([2])
    y, batch, gradients = execution(forward_and_backward(path, -1, 0.1))(x, one, 5 * one, tf.constant([[2.0, 7.0]]))
    np.testing.assert_array_equal(batch.variance, [0, 0])
    np.testing.assert_array_equal(y, [[5, 5]])
    for gradient, expected in zip(gradients, ([[0, 0]], [0, 0], [2, 7])):
        np.testing.assert_allclose(gradient, expected, atol=1e-6)


def test_no_value(computed):
    path, execution = computed
    x, one = tf.zeros([0, 3]), tf.ones([3])
    y, batch, gradients = execution(forward_and_backward(path, -1, 0.1))(x, one, one, x)
    assert y.shape == (0, 3)
    for value in (batch.count, batch.mean, batch.variance, *gradients[1:]):
        np.testing.assert_array_equal(value, np.zeros_like(value))


def directional(x, gamma, dy, direction, axis, step=1e-5):
    """The oracle's gradients' derivatives along `direction`, by central differences in float64: exact to about 1e-9."""
    ahead = reference.batch_norm_training_gradient(x + step * direction, gamma, dy, axis, 0.1)
    behind = reference.batch_norm_training_gradient(x - step * direction, gamma, dy, axis, 0.1)
    return [(a - b) / (2 * step) for a, b in zip(ahead, behind)]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("shape", "axis"), [((16, 5), -1), ((4, 6, 5, 3), -1), ((4, 3, 6, 5), 1)])
def test_second_derivatives_equal_the_oracle(shape, axis, masked, computed, inputs, rng):
    path, execution = computed
    if masked and path == "fused":
        pytest.skip("the kernel takes no mask")
    x, dy, direction = inputs(shape, axis), rng.normal(0.5, 1, shape), rng.normal(size=shape)
    gamma, beta = rng.normal(2, 1, shape[axis]), rng.normal(3, 1, shape[axis])
    mask = np.ones(np.delete(shape, axis), bool) if masked else None

    def second(x, gamma, beta, dy, direction):
        with tf.GradientTape(persistent=True) as outer:
            outer.watch((x, gamma, dy))
            gradients = forward_and_backward(path, axis, 0.1, mask)(x, gamma, beta, dy)[2]
            # <dx, direction>: its gradient to x is the Hessian along the direction, by symmetry; to dy the derivative of y along it.
            along = tf.reduce_sum(gradients[0] * direction)
        return outer.gradient(along, (x, gamma, dy))

    got = execution(second)(*(tf.constant(value, tf.float32) for value in (x, gamma, beta, dy, direction)))
    by_x = directional(x.astype("float64"), gamma, dy, direction, axis)
    ahead, behind = (reference.batch_norm_training(x + sign * 1e-5 * direction, gamma, beta, axis, 0.1) for sign in (1, -1))
    for value, expected in zip(got, (by_x[0], by_x[1], (ahead - behind) / 2e-5)):
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_hessian_vector_product_of_a_loss(computed, inputs, rng):
    """The gradient that arrives depends on the inputs, too, as it does in every net."""
    path, execution = computed
    x, w, direction = inputs((6, 5, 3)), rng.normal(size=(6, 5, 3)), rng.normal(size=(6, 5, 3))

    def product(x, w, direction):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y, _ = functional.batch_norm_training(x, None, None, axis=-1, epsilon=0.1, path=path)
                loss = tf.reduce_sum(w * y**3)
            dx = inner.gradient(loss, x)
        return outer.gradient(dx, x, direction)

    def gradient(x):
        dy = 3 * w * reference.batch_norm_training(x, 1, 0, -1, 0.1) ** 2
        return reference.batch_norm_training_gradient(x, 1, dy, -1, 0.1)[0]

    expected = (gradient(x + 1e-5 * direction) - gradient(x - 1e-5 * direction)) / 2e-5
    got = execution(product)(*(tf.constant(value, tf.float32) for value in (x, w, direction)))
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_third_derivatives_of_both_paths_agree(inputs, rng):
    x, w = tf.constant(inputs((6, 3))), tf.constant(rng.normal(size=(6, 3)), tf.float32)

    @tf.function
    def third(path):
        with tf.GradientTape() as a:
            a.watch(x)
            with tf.GradientTape() as b:
                b.watch(x)
                with tf.GradientTape() as c:
                    c.watch(x)
                    y, _ = functional.batch_norm_training(x, None, None, axis=-1, epsilon=0.1, path=path)
                    loss = tf.reduce_sum(w * y**3)
                first = tf.reduce_sum(tf.square(c.gradient(loss, x)))
            second = tf.reduce_sum(w * b.gradient(first, x))
        return a.gradient(second, x)

    one, other = third("fused").numpy(), third("shifted").numpy()
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4 * np.abs(other).max())


@pytest.mark.parametrize("path", PATHS)
def test_forward_mode_over_the_gradient(path, inputs, rng):
    x, direction, dy = inputs((6, 5, 3)), rng.normal(size=(6, 5, 3)), rng.normal(size=(6, 5, 3))
    ones, zeros = tf.ones([3]), tf.zeros([3])
    x_ = tf.constant(x)
    with tf.autodiff.ForwardAccumulator(x_, tf.constant(direction, tf.float32)) as forward:
        _, _, (dx, *_) = forward_and_backward(path, -1, 0.1)(x_, ones, zeros, tf.constant(dy, tf.float32))
    expected = directional(x.astype("float64"), np.ones(3), dy, direction, -1)[0]
    np.testing.assert_allclose(forward.jvp(dx), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("path", PATHS)
def test_moments_carry_no_gradient(path, inputs):
    x = tf.constant(inputs((8, 3)))
    with tf.GradientTape() as tape:
        tape.watch(x)
        _, batch = functional.batch_norm_training(x, None, None, axis=-1, epsilon=0.1, path=path)
        loss = tf.reduce_sum(batch.mean + batch.variance)
    assert tape.gradient(loss, x) is None


@pytest.mark.parametrize(
    ("shape", "axis", "path"), [((16, 5), -1, "plain"), ((4, 6, 5, 3), -1, "fused"), ((4, 6, 5, 3), -1, "plain"), ((4, 3, 6, 5), 1, "plain")]
)
def test_inference_has_gradients_of_two_orders(shape, axis, path, inputs, rng):
    x, dy, direction = (tf.constant(value, tf.float32) for value in (inputs(shape, axis), rng.normal(size=shape), rng.normal(size=shape)))
    gamma, beta, mean = (tf.constant(rng.normal(2, 1, shape[axis]), tf.float32) for _ in range(3))
    variance = tf.constant(rng.uniform(0.5, 4, shape[axis]), tf.float32)
    arguments = (x, gamma, beta, mean, variance)

    @tf.function
    def run(path):
        with tf.GradientTape(persistent=True) as outer:
            outer.watch(arguments)
            with tf.GradientTape() as inner:
                inner.watch(arguments)
                y = functional.batch_norm_inference(*arguments, axis=axis, epsilon=0.1, path=path)
            first = inner.gradient(y, arguments, dy)
            along = tf.reduce_sum(first[0] * direction) + tf.reduce_sum(first[1] ** 2)
        return first, outer.gradient(along, arguments, unconnected_gradients="zero")

    vector = [1] * len(shape)
    vector[axis] = -1
    g, m, v = (np.reshape(value.numpy().astype("float64"), vector) for value in (gamma, mean, variance))
    axes = tuple(np.delete(range(len(shape)), axis))
    normalised = (x.numpy() - m) / np.sqrt(v + 0.1)
    expected = [dy * g / np.sqrt(v + 0.1), (dy * normalised).numpy().sum(axes), dy.numpy().sum(axes)]
    first, second = run(path)
    for value, wanted in zip(first, expected):
        np.testing.assert_allclose(value, wanted, rtol=1e-4, atol=1e-4)
    # To x: <dx, direction> is linear in gamma and dy alone; dgamma**2 leaves 2 dgamma dy / sqrt(v + epsilon).
    np.testing.assert_allclose(second[0], 2 * np.reshape(expected[1], vector) * dy / np.sqrt(v + 0.1), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("examples", [3, 700])
def test_the_running_graph_decides_by_the_size_of_the_batch(examples, rng):
    """700 examples are too many for single operations, 3 are not."""
    x, dy = rng.normal(2, 1, (examples, 5, 6, 4)), rng.normal(size=(examples, 5, 6, 4))
    gamma, beta = rng.normal(2, 1, 4), rng.normal(3, 1, 4)
    run = tf.function(forward_and_backward(None, -1, 0.1), input_signature=[tf.TensorSpec([None, 5, 6, 4])] + [tf.TensorSpec([4])] * 2 + [tf.TensorSpec(None)])
    y, batch, gradients = run(*(tf.constant(value, tf.float32) for value in (x, gamma, beta, dy)))
    assert batch.count == examples * 30
    np.testing.assert_allclose(batch.variance, reference.moments(x)[1], rtol=1e-5)
    np.testing.assert_allclose(y, reference.batch_norm_training(x, gamma, beta, -1, 0.1), rtol=5e-5, atol=5e-5)
    # Sums of up to 21,000 products.
    for gradient, expected in zip(gradients, reference.batch_norm_training_gradient(x, gamma, dy, -1, 0.1)):
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=2e-3)


def test_operations_show_the_graph_optimiser_the_shape_of_what_a_function_of_its_own_returns(monkeypatch):
    """Without shapes it leaves in place what it could remove, as sums over no axis in gradients: a tenth of EfficientNetB0's step."""
    monkeypatch.setattr(fused, "SMALL", -1)
    run = tf.function(lambda x: functional.batch_norm_training(x, None, None, axis=-1, epsilon=0.1, path="fused")[0])
    definition = run.get_concrete_function(tf.TensorSpec([8, 6, 5, 4])).graph.as_graph_def()
    nodes = [node for body in (definition.node, *(function.node_def for function in definition.library.function)) for node in body]
    [shape] = [node.attr["shape"].shape for node in nodes if node.op == "EnsureShape" and "PartitionedCall" in node.input[0]]
    assert len(shape.dim) == 4


@pytest.mark.parametrize(
    ("dtype", "asked", "sentence"),
    [
        ("float32", dict(path="fast"), '`path` is \'fast\'; expected "fused", "shifted" or "plain": leave it out to have it chosen.'),
        ("float64", dict(path="fused"), "`path` is 'fused' with float64; expected"),
        ("float32", dict(path="fused", mask=tf.constant([True, False])), "`path` is 'fused' with a mask; expected"),
        ("float32", dict(path="fused", virtual_batch_size=1), "`path` is 'fused' with virtual batches; expected"),
        ("float32", dict(path="shifted", synchronized=True), "`path` is 'shifted' with synchronized=True; expected"),
    ],
)
def test_a_path_that_does_not_compute_what_is_asked_for_is_refused(dtype, asked, sentence):
    x = tf.constant([[1, 2], [3, 5]], dtype)
    with pytest.raises(ValueError, match="`path`") as caught:
        functional.batch_norm_training(x, None, None, axis=-1, epsilon=0.1, **asked)
    assert str(caught.value).startswith(sentence)
    functional.batch_norm_training(x, None, None, axis=-1, epsilon=0.1, **{**asked, "path": None})  # The remedy.


@pytest.mark.parametrize(("path", "shape", "axis"), [("shifted", (2, 3), -1), ("fused", (2, 3), -1), ("fused", (2, 3, 4, 5), 1)])
def test_a_path_that_inference_has_not_is_refused(path, shape, axis):
    arguments = tf.ones(shape), None, None, tf.ones(shape[axis]), tf.ones(shape[axis])
    with pytest.raises(ValueError, match="leave it out to have it chosen"):
        functional.batch_norm_inference(*arguments, axis=axis, epsilon=0.1, path=path)
    functional.batch_norm_inference(*arguments, axis=axis, epsilon=0.1)  # The remedy.
