"""Numbers that claims are judged by are those of the right trainings, seed by seed."""

import math
import re
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
    results = [{"run": run, "verdict": "learned"} for run in dict.fromkeys(row["run"] for row in rows)]
    return types.SimpleNamespace(table=pd.DataFrame(rows), results=results, hyperparameters=["contestant", "rate", "seed"], usual={})


def of(contestant, rate=0.0):
    return {"contestant": contestant, "rate": rate}


def test_groups_keep_the_seeds_that_all_have_in_order(experiment):
    found = evidence.by_seed({"plain": of("plain"), "batch_norm": of("batch_norm", 0.5)}, ["accuracy"])(experiment)
    assert found == {"plain": [20.0, 30.0], "batch_norm": [120.5, 130.5]}


def test_a_quantity_that_ends_in_a_slash_is_all_that_begin_so(experiment):
    found = evidence.by_seed({"plain": of("plain")}, ["shift/ratio/"], evidence.mean)(experiment)
    assert found == {"plain": [2.0, 3.0, 4.0]}


def test_of_several_values_the_usual_one_counts_or_the_first(experiment):
    plain = evidence.by_seed({"plain": {"contestant": "plain"}}, ["accuracy"])
    assert plain(experiment) == {"plain": [20.0, 30.0, 40.0]}
    experiment.usual = {"rate": 0.5}
    assert plain(experiment) == {"plain": [20.5, 30.5, 40.5]}
    experiment.usual = {"rate": 0.7}
    assert plain(experiment) == {"plain": [20.0, 30.0, 40.0]}


def test_the_first_of_several_quantities_that_a_training_has_counts(experiment):
    rows = experiment.table
    rows.loc[(rows["quantity"] == "accuracy") & (rows["contestant"] == "plain") & (rows["seed"] == 0), "quantity"] = "moving"
    found = evidence.by_seed({"plain": of("plain")}, ["accuracy or moving"])(experiment)
    assert found == {"plain": [20.0, 30.0, 40.0]}


def test_a_pattern_picks_layers(experiment):
    behind = evidence.by_seed({"plain": of("plain")}, [re.compile(r"shift/ratio/(?!01)")], evidence.mean)
    assert behind(experiment) == {"plain": [3.0, 4.0, 5.0]}


def test_trainings_that_were_too_short_or_diverged_have_no_number(experiment):
    said = {result["run"]: result for result in experiment.results}
    said["plain0.00"]["verdict"] = "above chance (too short to judge)"
    said["plain0.01"]["verdict"] = "diverged"
    experiment.table = experiment.table[~((experiment.table["run"] == "plain0.01") & (experiment.table["quantity"] == "accuracy"))]
    at_end = evidence.by_seed({"plain": of("plain")}, ["accuracy"], evidence.last_accuracy, settled=True)(experiment)["plain"]
    assert math.isnan(at_end[0])
    assert at_end[1:] == [0.0, 40.0]
    assert evidence.by_seed({"plain": of("plain")}, ["accuracy"])(experiment)["plain"][0] == 20.0
    assert math.isnan(evidence.by_seed({"plain": of("plain")}, ["accuracy"])(experiment)["plain"][1])


def test_groups_that_are_not_there_give_nothing(experiment):
    assert evidence.by_seed({"plain": of("plain"), "other": of("other")}, ["accuracy"])(experiment) is None
    assert evidence.by_seed({"plain": {"nosuch": 1}}, ["accuracy"])(experiment) is None
    assert evidence.by_seed({"plain": of("plain")}, ["nosuch"])(experiment) is None


def test_differences_are_the_first_less_the_second(experiment):
    def case(contestant, rate):
        return of(contestant, rate), ["accuracy"], evidence.last

    parts = {one: (case(one, 0.0), case(one, 0.5)) for one in ("plain", "batch_norm")}
    assert evidence.Differences(parts)(experiment) == {"plain": [-0.5, -0.5], "batch_norm": [-0.5, -0.5]}
    assert evidence.Differences(parts, absolute=True)(experiment) == {"plain": [0.5, 0.5], "batch_norm": [0.5, 0.5]}
    assert evidence.Differences({"other": (case("other", 0.5), case("plain", 0.5))})(experiment) is None
    assert evidence.Differences(parts).groups == [of("plain"), of("plain", 0.5), of("batch_norm"), of("batch_norm", 0.5)]


def test_summaries():
    assert evidence.middle_logarithm(np.array([1.0, 1e6, 100.0])) == pytest.approx(2.0)
    assert evidence.middle_logarithm(np.array([1.0, 0.0, math.inf, 100.0])) == pytest.approx(1.0)
    assert evidence.middle_logarithm(np.array([math.nan, math.inf, 1.0])) == pytest.approx(38.0)
    assert evidence.middle_logarithm(np.array([0.0, 0.0, 1.0])) == pytest.approx(-38.0)
    assert math.isnan(evidence.middle_logarithm(np.array([])))
    assert evidence.mean(np.array([1.0, math.nan, 3.0])) == 2.0
    assert math.isnan(evidence.mean(np.array([math.nan])))
    assert evidence.last_accuracy(np.array([0.9, math.nan])) == 0.0
    assert evidence.mean_accuracy(np.array([0.9, math.nan])) == 0.0
    assert evidence.mean_accuracy(np.array([0.9, 0.8])) == pytest.approx(0.85)
