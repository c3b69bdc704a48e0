"""Moments of parts and wholes against the oracle."""

import numpy as np
import pytest
import tensorflow as tf

import reference
from keras_bn import functional


@pytest.fixture
def parts(rng):
    """Five parts of unequal size, the third without any value, as arrays and as Moments."""
    arrays = [rng.normal(5 * index, 1 + index, (size, 4)) for index, size in enumerate([7, 1, 0, 30, 12])]
    each = [reference.moments(array) if len(array) else (np.zeros(4), np.zeros(4)) for array in arrays]
    counts, means, variances = [len(array) for array in arrays], [mean for mean, _ in each], [variance for _, variance in each]
    return arrays, functional.Moments(*(tf.constant(np.array(value), tf.float32) for value in (counts, means, variances)))


def test_merged_moments_of_unequal_parts_are_those_of_the_whole(parts, execution):
    arrays, moments = parts
    count, mean, variance = execution(functional.merge_moments)(moments)
    expected_mean, expected_variance = reference.moments(np.concatenate(arrays))
    assert count == 50
    np.testing.assert_allclose(mean, expected_mean, rtol=1e-5)
    np.testing.assert_allclose(variance, expected_variance, rtol=1e-5)


def test_counts_may_differ_between_channels(parts):
    _, moments = parts
    by_channel = moments._replace(count=tf.stack([moments.count] * 4, axis=1))
    for one, other in zip(functional.merge_moments(by_channel), functional.merge_moments(moments)):
        np.testing.assert_allclose(one, np.broadcast_to(other, one.shape), rtol=1e-6)


def test_merging_is_stable_far_from_zero(rng):
    arrays = [(rng.normal(size=(size, 4)) + 1e6).astype("float32") for size in (100, 3000)]
    each = [functional.moments(tf.constant(array)) for array in arrays]
    merged = functional.merge_moments(functional.Moments(*(tf.stack(values) for values in zip(*each))))
    # The parts' means are rounded to 0.06, and so is what is between them.
    np.testing.assert_allclose(merged.variance, reference.moments(np.concatenate(arrays))[1], rtol=2e-2)


def test_averaged_moments_leave_out_what_differs_between_the_parts(parts, execution):
    arrays, moments = parts
    count, mean, variance = execution(functional.average_moments)(moments)
    sizes = np.array([len(array) for array in arrays if len(array)])
    variances = np.array([reference.moments(array)[1] for array in arrays if len(array)])
    assert count == 50
    np.testing.assert_allclose(mean, reference.moments(np.concatenate(arrays))[0], rtol=1e-5)
    np.testing.assert_allclose(variance, (sizes[:, np.newaxis] * variances).sum(0) / 50, rtol=1e-5)


def test_sample_variance_has_divisor_one_less(parts, execution):
    arrays, moments = parts
    got = execution(functional.sample_variance)(moments)
    for index in (0, 3, 4):
        np.testing.assert_allclose(got[index], np.var(arrays[index], axis=0, ddof=1), rtol=1e-5)
    np.testing.assert_array_equal(got[1], np.zeros(4))  # One value: no variance, and no division by 0.
    whole = functional.moments(tf.constant(arrays[3], tf.float32))
    np.testing.assert_allclose(functional.sample_variance(whole), np.var(arrays[3], axis=0, ddof=1), rtol=1e-5)


def test_nothing_has_moments_of_zero():
    for value in functional.merge_moments(functional.Moments(tf.zeros([2]), tf.zeros([2, 3]), tf.zeros([2, 3]))):
        np.testing.assert_array_equal(value, np.zeros_like(value))
