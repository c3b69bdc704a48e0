"""Equations of one normalised layer are exact where they are claimed to be, and the check sees where they are not."""

import numpy as np
import pytest

from recipes.nets import identities


@pytest.mark.parametrize("seed", [0, 1])
def test_scale_and_bias_cancel_without_epsilon_only(seed):
    found = identities.of_weights(seed)
    assert all(value < 1e-12 for name, value in found.items() if "without" in name or "bias" in name)
    assert all(1e-3 < value < 1 for name, value in found.items() if "with epsilon" in name and "scale" in name)


@pytest.mark.parametrize("seed", [0, 1])
def test_theorems_are_equalities_with_one_over_m(seed):
    found = identities.theorems(seed)
    assert found["theorem/4.1"] < 1e-12
    assert found["theorem/4.2"] < 1e-12
    assert found["theorem/4.1 as printed"] > 0.1


@pytest.mark.parametrize("seed", [0, 1])
def test_a_step_of_the_bias_is_in_vain_where_the_gradient_ignores_the_mean(seed):
    assert all(value < 1e-12 for value in identities.of_a_bias(seed).values())


def test_differences_are_relative_to_the_largest_entry():
    assert identities._differ(np.array([1.0, -8.0]), np.array([1.5, -10.0])) == pytest.approx(0.2)
