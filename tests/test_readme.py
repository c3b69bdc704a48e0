"""What the README and the docs show runs, and every tag is in the docs."""

import pathlib
import re
import shlex

import keras
import pytest

import keras_bn
from recipes import deep_vgg
from recipes.frame import flags

ROOT = pathlib.Path(__file__).parents[1]
README, MEASUREMENTS, SURGERY = ((ROOT / name).read_text() for name in ("README.md", "docs/measurements.md", "docs/surgery.md"))


def blocks(language, text=README):
    return [block for kind, block in re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL) if kind == language]


def test_the_lines_with_the_layer_and_its_instruments_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for code in blocks("python"):
        exec(code, names)
    assert [type(layer) for layer in names["model"].layers].count(keras_bn.BatchNormalization) == 2
    assert type(names["ours"].layers[-1]) is keras_bn.BatchNormalization


def test_the_measurements_run_and_each_tag_is_listed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for code in blocks("python", MEASUREMENTS):
        exec(code, names)
    tags = {tag for instrument in names["instruments"] for record in instrument.history for tag in record} - {"step"}
    assert len({tag.split("/")[0] for tag in tags}) == 4
    for measure, quantity, *_ in (tag.split("/") for tag in tags):
        section = MEASUREMENTS.split(f"\n## {measure.replace('_', ' ').capitalize()}\n")[1].split("\n## ")[0]
        assert re.search(rf"[`/]{quantity}[`/]", section), f"{measure}/{quantity}"


def test_surgery_runs_and_each_tool_is_there():
    names = {}
    for code in blocks("python", SURGERY):
        exec(code, names)
    assert type(names["theirs"].layers[2]) is keras.layers.BatchNormalization
    assert all(f"`{tool}`" in SURGERY for tool in keras_bn.surgery.__all__)


def test_there_are_two_set_up_lines_that_start_from_nothing():
    (lines,) = blocks("")
    main_job, suite = lines.strip().splitlines()
    for line, extra, last in ((main_job, "recipes", "recipes.deep_vgg"), (suite, "test", "pytest")):
        assert line == f"python3 -m venv .venv && .venv/bin/pip install -e '.[{extra}]' && .venv/bin/python -m {last}"


@pytest.mark.parametrize("options", re.findall(r"`(--\w+=[^`]*)`", README))
def test_flags_that_are_shown_exist(options):
    flags.parsed(deep_vgg.RECIPE, shlex.split(options))
