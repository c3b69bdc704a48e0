"""Numbers that claims are judged by are those of the right trainings, seed by seed."""

import math
import types

import numpy as np
import pandas as pd
import pytest

from recipes.frame import evidence


@pytest.fixture
def experiment():
    """Two contestants under two rates with three seeds, of which one has no batch_norm; values tell where they are from."""
    rows = [
        {"run": f"{contestant}{rate}{seed}", "step": step, "quantity": quantity, "value": value, "contestant": contestant, "rate": rate, "seed": seed}
        for contestant, offset in (("plain", 0), ("batch_norm", 100))
        for rate in (0.0, 0.5)
        for seed in (2, 0, 1)
        for step in (10, 20)
        for quantity, value in (("accuracy", offset + 10 * seed + step + rate), ("shift/ratio/01", 1.0 + seed), ("shift/ratio/02", 3.0 + seed))
        if not (contestant == "batch_norm" and seed == 2)
    ]
    return types.SimpleNamespace(table=pd.DataFrame(rows))


def of(contestant, rate=0.0):
    return {"contestant": contestant, "rate": rate}


def test_groups_keep_the_seeds_that_all_have_in_order(experiment):
    found = evidence.by_seed({"plain": of("plain"), "batch_norm": of("batch_norm", 0.5)}, ["accuracy"])(experiment)
    assert found == {"plain": [20.0, 30.0], "batch_norm": [120.5, 130.5]}


def test_a_quantity_that_ends_in_a_slash_is_all_that_begin_so(experiment):
    found = evidence.by_seed({"plain": of("plain")}, ["shift/ratio/"], evidence.mean)(experiment)
    assert found == {"plain": [2.0, 3.0, 4.0]}


def test_groups_that_are_not_there_give_nothing(experiment):
    assert evidence.by_seed({"plain": of("plain"), "other": of("other")}, ["accuracy"])(experiment) is None
    assert evidence.by_seed({"plain": {"nosuch": 1}}, ["accuracy"])(experiment) is None
    assert evidence.by_seed({"plain": of("plain")}, ["nosuch"])(experiment) is None


def test_differences_are_the_first_less_the_second(experiment):
    parts = {one: (of(one, 0.5), of(one), ["accuracy"], evidence.last) for one in ("plain", "batch_norm")}
    assert evidence.differences(parts)(experiment) == {"plain": [0.5, 0.5], "batch_norm": [0.5, 0.5]}
    assert evidence.differences({"other": (of("other", 0.5), of("plain"), ["accuracy"], evidence.last)})(experiment) is None


def test_summaries():
    values = np.array([1.0, 100.0, -3.0, 0.0])
    assert evidence.mean_logarithm(values) == pytest.approx(1.0)
    assert math.isnan(evidence.mean_logarithm(values[2:]))
    assert evidence.last_accuracy(np.array([0.9, math.nan])) == 0.0
    assert evidence.mean_accuracy(np.array([0.9, math.nan])) == pytest.approx(0.45)
