"""What the routes answer, in a process without TensorFlow; and what they refuse."""

import importlib
import itertools
import json
import os
import pathlib
import subprocess
import sys
import urllib.parse

import pytest

from tensorboard_plugin_keras_bn import overview, plugin, series
from tests.tensorboard_plugin_keras_bn.known_logs import HOSTILE, STEPS, WORST, ratios

PROGRAM = pathlib.Path(__file__).with_name("requests_without_tensorflow.py")
PREFIX = "/data/plugin/keras_bn"
QUANTITIES = json.loads((plugin.STATIC / "quantities.json").read_text())


def answers(logs, *requests):
    """(status, headers, body) of each; a request is a path, or (method, path)."""
    pairs = [("GET", one) if isinstance(one, str) else one for one in requests]
    given = json.dumps([[method, path if path.startswith("/data") else PREFIX + path] for method, path in pairs])
    ended = subprocess.run(
        [sys.executable, PROGRAM, logs], input=given, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(PROGRAM.parents[2])}
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


def query(**parameters):
    return urllib.parse.urlencode(parameters, doseq=True)


def test_routes_answer_what_the_runs_hold(logs):
    asked = answers(
        logs,
        "/runs",
        f"/series?{query(run=['a', 'b'], quantity='variance_shift/ratio')}",
        f"/overview?{query(run='a')}",
        f"/series?{query(run='x' * 200, quantity='variance_shift/ratio')}",
        "/data/plugins_listing",
    )
    assert [status for status, _, _ in asked] == [200] * 5
    assert all(headers["X-Content-Type-Options"] == "nosniff" for _, headers, _ in asked)
    runs, found, summary, odd, listing = [json.loads(body) for _, _, body in asked]
    by_name = {run["name"]: run["measures"] for run in runs["runs"]}
    assert by_name["a"]["variance_shift"] == {"ratio": 90, "lag": 90}
    assert by_name["b"]["loss_landscape"] == {"effective_smoothness": 80}
    assert by_name["ä語 'quoted' \"twice\" & more"].keys() == {"variance_shift"}
    a, b = found["variance_shift/ratio"]["a"], found["variance_shift/ratio"]["b"]
    assert a["steps"] == list(STEPS)
    assert b["steps"] == list(STEPS[::2])
    assert a["layers"] == list(ratios(0))
    assert a["names"] == [None, None, HOSTILE, None]
    assert not a["is_thinned"]
    assert a["values"] == [[ratios(step)[layer] for step in STEPS] for layer in ratios(0)]
    worst = {one["quantity"]: one for one in summary["a"]["worst"]}
    expected = {"quantity": "variance_shift/ratio", "layer": WORST, "name": HOSTILE, "value": 8.0, "step": 90, "since": 50, "layers": 4}
    assert worst["variance_shift/ratio"] == expected
    assert worst["variance_shift/lag"]["layer"] == WORST  # 1 / 8 is further from 1 than 1 / 2.
    assert summary["a"]["diagnoses"] == [{"step": 90, "text": f"# one finding {HOSTILE}"}]
    assert odd["variance_shift/ratio"]["x" * 200]["values"] == [["NaN"]]
    assert listing["keras_bn"]["enabled"]


REFUSED = {
    "/series": "received 0 runs; expected 1 to 8: run=NAME for each.",
    f"/series?{query(run='nosuch', quantity='variance_shift/ratio')}": "there is no run 'nosuch'; expected one of those that /runs lists.",
    f"/series?{query(run=[str(one) for one in range(9)])}": "received 9 runs; expected 1 to 8: run=NAME for each.",
    "/series?run=a": "received 0 quantities; expected 1 to 3: quantity=measure/quantity for each.",
    f"/series?{query(run='a', quantity='../secret')}": (
        "received quantity='../secret'; expected one such as variance_shift/ratio: quantities.json lists them."
    ),
    f"/series?{query(run='a', quantity='variance_shift/ratio', steps='-1')}": "received steps='-1'; expected a whole number from 50 on.",
    f"/series?{query(run='a', quantity='variance_shift/ratio', steps='٣٣٣')}": "received steps='٣٣٣'; expected a whole number from 50 on.",
    f"/overview?{query(run='x' * 5000)}": f"there is no run '{'x' * 100}'; expected one of those that /runs lists.",
}


def test_wrong_requests_are_refused_in_a_sentence(logs):
    for (path, sentence), (status, _, body) in zip(REFUSED.items(), answers(logs, *REFUSED)):
        assert (status, json.loads(body)) == (400, {"error": sentence}), path


def test_only_listed_files_are_served_and_only_get(logs):
    listed = [f"/static/{name}" for name in plugin.FILES]
    paths = [*listed, "/static/../plugin.py", "/static/%2e%2e/plugin.py", "/static/plugin.py", "/static/", "/plugin.py"]
    posted = [(method, path) for method in ("POST", "PUT", "DELETE") for path in ("/runs", "/static/index.js")]
    asked = answers(logs, *paths, *posted)
    for path, (status, headers, body) in zip(paths, asked):
        assert status == (200 if path in listed else 404), path
        if path in listed:
            assert body == (plugin.STATIC / path.removeprefix("/static/")).read_text()
            assert headers["Content-Type"].split(";")[0] == plugin.TYPES[pathlib.Path(path).suffix]
    for status, _, body in asked[len(paths) :]:
        assert status == 405
        assert json.loads(body)["error"].endswith("this page is read only: expected GET.")
    assert set(plugin.FILES) == {path.name for path in plugin.STATIC.iterdir()}


def test_quantities_are_those_of_the_measures():
    for measure, of_measure in QUANTITIES.items():
        names = {"internal_covariate_shift": "covariate_shift", "activation_statistics": "activations"}
        table = importlib.import_module(f"keras_bn.measures.{names.get(measure, measure)}").QUANTITIES
        assert [row.name for row in table] == list(of_measure["quantities"])
        for row in table:
            here = of_measure["quantities"][row.name]
            assert (here["unit"], here["zero"], here["by_layer"]) == (row.unit, row.zero, row.by_layer)
            assert (here["scale"] == "logarithmic") or not (row.colours and row.colours.logarithmic)
            assert ("worse" in here) or not row.worst
            assert ("worse" in here) == ("says" in here)


class Datum:
    def __init__(self, step, value):
        self.step, self.value = step, value


def test_steps_are_thinned_evenly_and_the_newest_stays(rng):
    steps = sorted(rng.choice(10_000, 777, replace=False).tolist())
    numbers = rng.normal(3, 2, (2, len(steps)))
    points = {layer: [Datum(step, value) for step, value in zip(steps, of_layer)] for layer, of_layer in zip("ab", numbers.tolist())}
    points["b"] = points["b"][:-1]  # One layer was measured once less.
    table = series.by_step(points, [None, None], 100)
    assert table["is_thinned"]
    assert len(table["steps"]) == 100
    assert (table["steps"][0], table["steps"][-1]) == (steps[0], steps[-1])
    places = [steps.index(step) for step in table["steps"]]
    assert max(later - earlier for earlier, later in itertools.pairwise(places)) <= 8  # 777 / 99.
    assert table["values"][0] == [numbers[0, place] for place in places]
    assert table["values"][1] == [*(numbers[1, place] for place in places[:-1]), None]


@pytest.mark.parametrize(("value", "plain"), [(1.5, 1.5), (float("nan"), "NaN"), (float("inf"), "Infinity"), (float("-inf"), "-Infinity")])
def test_numbers_are_what_json_holds(value, plain):
    assert series.plain(value) == plain


@pytest.mark.parametrize(
    ("row", "ordered"),
    [
        ({"worse": "larger", "scale": "linear", "neutral": None}, [-2.0, 0.5, 3.0, "Infinity", "NaN"]),
        ({"worse": "further", "scale": "logarithmic", "neutral": 1}, [1.0, 1.5, 0.5, 3.0, 0.0]),
        ({"worse": "further", "scale": "linear", "neutral": 0}, [0.0, -1.0, 2.0, "-Infinity"]),
    ],
)
def test_what_is_worse(row, ordered):
    badness = [overview.badness(value, row) for value in ordered]
    assert badness == sorted(badness)
    assert badness[0] < badness[-1]


def test_a_run_is_judged_by_its_newest_step_and_missing_numbers_do_not_count():
    table = {"layers": ["1", "2", "3"], "names": [None] * 3, "steps": [0, 5, 9], "values": [[9.0, 1.0, 1.0], [2.0, 2.0, 2.0], [1.0, 1.0, None]]}
    row = {"worse": "larger", "scale": "linear", "neutral": None}
    [found] = overview.worst("run", {"q": {"run": table}}, {"q": row})
    assert (found["layer"], found["value"], found["since"]) == ("2", 2.0, 5)
    assert overview.worst("run", {"q": {"run": {**table, "steps": [], "values": [[], [], []]}}}, {"q": row}) == []
