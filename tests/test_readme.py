"""What the README shows runs."""

import pathlib
import re
import shlex

import pytest
from absl import flags
from absl.testing import flagsaver

import keras_bn
from recipes import deep_vgg  # noqa: F401  (defines the flags)

README = (pathlib.Path(__file__).parents[1] / "README.md").read_text()


def blocks(language):
    return [text for kind, text in re.findall(r"^```(\w*)\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL) if kind == language]


def test_the_lines_with_the_layer_run():
    names = {}
    for code in blocks("python"):
        exec(code, names)
    assert [type(layer) for layer in names["model"].layers].count(keras_bn.BatchNormalization) == 2
    assert type(names["ours"].layers[-1]) is keras_bn.BatchNormalization


def test_there_are_two_set_up_lines_that_start_from_nothing():
    (lines,) = blocks("")
    main_job, suite = lines.strip().splitlines()
    for line, extra, last in ((main_job, "recipes", "recipes.deep_vgg"), (suite, "test", "pytest")):
        assert line == f"python3 -m venv .venv && .venv/bin/pip install -e '.[{extra}]' && .venv/bin/python -m {last}"


@pytest.mark.parametrize("options", re.findall(r"`(--\w+=[^`]*)`", README))
def test_flags_that_are_shown_exist(options):
    with flagsaver.flagsaver():
        flags.FLAGS(["deep_vgg", *shlex.split(options)])
