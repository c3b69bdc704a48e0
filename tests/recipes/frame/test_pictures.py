"""Pictures show means as their axes have them, and say what was found."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from recipes.frame import Claim, Picture, claims, pictures


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def rows(values_by_panel):
    """One row a panel, step and seed."""
    return pd.DataFrame(
        [
            {"run": f"a{panel}{seed}", "step": step, "quantity": "q", "value": value, "contestant": "a", "depth": panel, "seed": seed}
            for panel, of_steps in values_by_panel.items()
            for step, of_seeds in enumerate(of_steps, start=1)
            for seed, value in enumerate(of_seeds)
        ]
    )


def mean_line(axis):
    return axis.get_lines()[0].get_ydata()


VALUES = {1: [[1.0, 100.0], [2.0, 8.0]], 2: [[1e-3, 1e-5], [4.0, 9.0]]}


def test_lines_are_means_in_every_panel():
    figure = pictures.curves(rows(VALUES), "label", "title", panels=["depth"])
    for axis, of_steps in zip(figure.axes, VALUES.values()):
        np.testing.assert_allclose(mean_line(axis), np.mean(of_steps, axis=1))


def test_lines_are_geometric_means_in_every_panel_where_the_axis_is_logarithmic():
    figure = pictures.curves(rows(VALUES), "label", "title", panels=["depth"], log="y")
    assert all(axis.get_yscale() == "log" for axis in figure.axes)
    for axis, of_steps in zip(figure.axes, VALUES.values()):
        np.testing.assert_allclose(mean_line(axis), np.exp(np.log(of_steps).mean(axis=1)))


def test_of_nothing_there_is_no_picture():
    assert pictures.curves(rows({1: [[np.nan]]}), "label", "title") is None
    assert pictures.agreement(pd.DataFrame(columns=["measured", "predicted", "contestant"]), "m", "p", "title") is None


def judged(evidence):
    claim = Claim("better", "One is better", "", None, claims.Better("one", "other", what="height"))
    return [(claim, claim.rule(evidence), evidence)]


@pytest.mark.parametrize(
    ("evidence", "title"),
    [
        ({"one": [3.0, 3.1], "other": [1.0, 1.0]}, "One is better: holds"),
        ({"one": [3.0], "other": [1.0]}, "One is better: height: one 3.000, other 1.000 (1 seed)"),
    ],
)
def test_a_title_is_what_was_found_of_the_picture_s_claims(evidence, title, tmp_path, monkeypatch):
    titles = []
    monkeypatch.setattr(plt.Figure, "savefig", lambda figure, *_, **__: titles.append(figure.get_suptitle()))
    draw = lambda _: pictures.curves(rows(VALUES), "label", "what is shown")  # noqa: E731
    for named in (["better"], []):
        pictures.save(Picture("picture", "shows", draw, named), None, judged(evidence), tmp_path)
    assert titles == [title, "what is shown"]


def test_a_summary_has_a_panel_with_the_numbers_of_each_claim():
    evidence = {"one": [3.0, 3.1, None], "other": [1.0, 1.0, 2.0]}
    figure = pictures.summary(judged(evidence) + judged({"one": [1.0], "other": [2.0]}))
    assert [axis.get_title().replace("\n", " ") for axis in figure.axes] == ["One is better: holds", "One is better: not testable at this scale"]
    assert figure.axes[0].get_ylabel() == "height"
    points = [len(np.ma.compressed(collection.get_offsets()[:, 1])) for collection in figure.axes[0].collections[:2]]
    assert points == [2, 3]


@pytest.mark.parametrize("number", [np.nan, np.inf, 0.0, -1.0])
def test_a_logarithmic_picture_without_a_positive_number_is_drawn(number, tmp_path):
    """As where all trainings diverged."""
    claim = Claim("exact", "One is exact", "", None, claims.Exact(("one",), 1e-10, "difference"))
    evidence = {"one": [number, number]}
    assert claim.rule.scale == "log"
    points = pd.DataFrame([{"measured": number, "predicted": 1.0, "contestant": "a"}, {"measured": 1.0, "predicted": 1.0, "contestant": "a"}])
    for draw in (
        lambda _: pictures.summary([(claim, claim.rule(evidence), evidence)]),
        lambda _: pictures.curves(rows({1: [[number], [1.0]], 2: [[number], [number]]}), "label", "title", panels=["depth"], log="y", share=False),
        lambda _: pictures.agreement(points, "measured", "predicted", "title"),
    ):
        assert pictures.save(Picture("picture", "shows", draw), None, [], tmp_path)
