"""The oracle against numbers worked out by hand and against finite differences."""

import numpy as np

import reference

X = np.array([[1.0, 10.0], [3.0, 50.0], [8.0, 30.0]])


def test_moments_by_hand():
    mean, variance = reference.moments(X)
    np.testing.assert_allclose(mean, [4.0, 30.0])
    np.testing.assert_allclose(variance, [26 / 3, 800 / 3])


def test_moments_of_axis_0_by_hand():
    mean, variance = reference.moments(X, axis=0)
    np.testing.assert_allclose(mean, [5.5, 26.5, 19.0])
    np.testing.assert_allclose(variance, [4.5**2, 23.5**2, 11.0**2])


def test_moments_leave_masked_rows_out():
    mean, variance = reference.moments(X, mask=np.array([True, False, True]))
    np.testing.assert_allclose(mean, [4.5, 20.0])
    np.testing.assert_allclose(variance, [3.5**2, 100.0])


def test_training_form_by_hand():
    x = np.array([[1.0], [3.0]])  # mean 2, variance 1; with epsilon 3 the root is 2.
    y = reference.batch_norm_training(x, gamma=np.array([10.0]), beta=np.array([7.0]), axis=-1, epsilon=3.0)
    np.testing.assert_allclose(y, [[2.0], [12.0]])


def test_inference_form_by_hand():
    y = reference.batch_norm_inference(np.array([[5.0]]), np.array([10.0]), np.array([7.0]), np.array([1.0]), np.array([13.0]), axis=-1, epsilon=3.0)
    np.testing.assert_allclose(y, [[17.0]])


def test_gradient_equals_finite_differences():
    rng = np.random.default_rng(0)
    x, dy = rng.normal(3, 2, (4, 3, 2)), rng.normal(size=(4, 3, 2))
    gamma, beta = rng.normal(1, 0.5, 3), rng.normal(size=3)

    def loss(x, gamma, beta):
        return (reference.batch_norm_training(x, gamma, beta, axis=1, epsilon=0.1) * dy).sum()

    for number, (given, gradient) in enumerate(zip((x, gamma, beta), reference.batch_norm_training_gradient(x, gamma, dy, axis=1, epsilon=0.1))):
        numeric = np.zeros_like(given)
        for index in np.ndindex(given.shape):
            nudged = [[value.copy() for value in (x, gamma, beta)] for _ in range(2)]
            nudged[0][number][index] += 1e-6
            nudged[1][number][index] -= 1e-6
            numeric[index] = (loss(*nudged[0]) - loss(*nudged[1])) / 2e-6
        np.testing.assert_allclose(gradient, numeric, atol=1e-8)  # The difference quotient's own error: 1e-12 in h, 1e-10 in rounding.


def test_moving_average_by_hand():
    np.testing.assert_allclose(reference.moving_average([10.0], [20.0], momentum=0.9), [11.0])
