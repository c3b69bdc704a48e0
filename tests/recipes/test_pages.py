"""Every recipe is a page that can be read, whose commands parse, and that runs two steps to a report with pictures."""

import dataclasses
import importlib
import json
import pathlib
import signal
import subprocess
import sys
import types

import numpy as np
import pandas as pd
import pytest

import recipes.__main__
from recipes.frame import claims, evidence, experiment, flags, pictures, program

ROOT = pathlib.Path(__file__).parents[2]
PAGES = recipes.__main__.questions()
LONGEST_PAGE = 180
SMALL = {  # So that two steps take seconds.
    "deep_vgg": ["--contestants=plain,batch_norm", "--depth=11", "--width=0.03", "--batch_size=100", "--measure_every=0"],
    "covariate_shift": [
        "--contestants=noisy,batch_norm",
        "--nets=vgg",
        "--depth=11",
        "--width=0.03",
        "--batch_size=100",
        "--linear_steps=2",
        "--measure_every=1",
    ],
    "loss_landscape": ["--contestants=batch_norm", "--depth=11", "--width=0.03", "--batch_size=100", "--linear_steps=2", "--measure_every=1"],
    "batch_statistics": ["--contestants=batch_norm,plain", "--batch_sizes=32", "--units=4"],
    "gradient_growth": ["--depth=12", "--batch_sizes=32"],
    "variance_shift": ["--contestants=before_norm", "--rates=0.5", "--width=2", "--batch_size=1200"],
    "replicas": ["--replicas=1,2", "--width=2"],
    "saturating_sigmoid": ["--depth=3", "--activations=sigmoid", "--measure_every=1"],
}


@pytest.fixture(params=PAGES)
def recipe(request):
    return importlib.import_module(f"recipes.{request.param}").RECIPE


def test_each_page_is_short_and_named_as_its_file(recipe):
    lines = (ROOT / "recipes" / f"{recipe.name}.py").read_text().splitlines()
    assert len(lines) <= LONGEST_PAGE
    assert recipe.question == PAGES[recipe.name]
    assert recipe.question.endswith("?")
    assert "Source: " in recipe.text


def commands(recipe):
    """Arguments of each command of the page."""
    lines = [line.strip().split("  ")[0] for line in recipe.text.splitlines() if line.startswith("    python -m ")]
    return [line.split()[3:] for line in lines]


def test_each_command_of_a_page_parses(recipe):
    assert commands(recipe)
    for arguments in commands(recipe):
        flags.parsed(recipe, arguments)


def test_each_claim_is_judged_by_a_command_of_the_page(recipe, monkeypatch):
    """Its evidence picks trainings that the command has; what they measure is left to the two steps below."""

    def of_group(experiment, chosen, quantities, settled):
        rows = experiment.table
        for name, value in chosen.items():
            rows = rows[rows[name] == value]
        return {seed: [np.arange(2.0) + place for place, _ in enumerate(quantities)] for seed in rows["seed"]}

    monkeypatch.setattr(evidence, "of_group", of_group)
    judged = set()
    for arguments in commands(recipe):
        settings = flags.parsed(recipe, arguments)
        if settings.dataset == "digits":
            trainings = experiment.named(recipe, recipe.trainings(settings, recipe.data(settings)))
            table = pd.DataFrame([one.hyperparameters for one in trainings.values()])
            judged |= {claim.name for claim in recipe.claims if claim.evidence(types.SimpleNamespace(table=table)) is not None}
    assert judged == {claim.name for claim in recipe.claims}


def test_presets_name_flags_that_are_there(recipe):
    names = {flag.name for flag in recipe.flags}
    assert "paper" in recipe.presets
    assert all(preset.keys() <= names for preset in recipe.presets.values())


def test_claims_and_pictures_have_names_of_their_own(recipe):
    names = [one.name for one in (*recipe.claims, *recipe.pictures)]
    assert len(set(names)) == len(names)


def test_two_steps_leave_a_report_with_pictures_and_claims(recipe, tmp_path, monkeypatch):
    """And also where every number of the table is one that trainings leave which diverge, or do not move."""
    conduct, conducted = experiment.conduct, []
    monkeypatch.setattr(experiment, "conduct", lambda *arguments: conducted.append(conduct(*arguments)) or conducted[0])
    two_steps = ["--steps=2"] if any(flag.name == "steps" for flag in recipe.flags) else []
    settings = flags.parsed(recipe, [*SMALL[recipe.name], *two_steps, f"--workdir={tmp_path}"])
    program.conduct(recipe, settings)
    report = (tmp_path / "report.md").read_text()
    assert report.startswith(f"# {recipe.question}\n\n`python -m recipes.{recipe.name} ")
    drawn = {path.stem for path in tmp_path.glob("*.png")}
    assert drawn
    assert all(f"]({name}.png)" in report for name in drawn)
    results = json.loads((tmp_path / "results.json").read_text())
    exact = {claim.name for claim in recipe.claims if isinstance(claim.rule, claims.Exact)}
    assert all((claim["verdict"] == claims.NOT_TESTABLE) == (claim["name"] not in exact) for claim in results["claims"])
    assert all(claim["measured"] in report for claim in results["claims"])
    for number in (np.nan, np.inf, 0.0, -1.0):
        failed = dataclasses.replace(conducted[0], table=conducted[0].table.assign(value=number))
        judged = claims.judged(recipe.claims, failed)
        for picture in (*program.summary(judged), *recipe.pictures):
            pictures.save(picture, failed, judged, tmp_path)


SIZES = "width", "batch_size", "units", "depth", "measure_every"


@pytest.mark.slow
def test_each_command_of_a_page_runs_two_steps(recipe, tmp_path):
    """With small nets, and on digits: what the data of presets are, is not here."""
    given = {"steps": "--steps=2", "linear_steps": "--linear_steps=2"}
    small = [one for one in SMALL[recipe.name] if one.strip("-").split("=")[0] in SIZES and recipe.name != "saturating_sigmoid"]
    for number, arguments in enumerate(commands(recipe)):
        fixed = {flag.name for flag in recipe.flags if any(one.startswith(f"--{flag.name}=") for one in arguments)}
        sizes = [one for one in (*small, *(given[flag.name] for flag in recipe.flags if flag.name in given)) if one.strip("-").split("=")[0] not in fixed]
        path = tmp_path / str(number)
        own = [one for one in arguments if not one.startswith(("--data_dir=", "--dataset=", "--width=", "--batch_size="))]
        settings = flags.parsed(recipe, [*own, *sizes, "--dataset=digits", f"--workdir={path}"])
        program.conduct(recipe, settings)
        assert (path / "report.md").exists()
        assert json.loads((path / "results.json").read_text())["results"]


KILLED_BEHIND_ITS_SECOND_CHECKPOINT = """
import os, runpy, signal, sys
from recipes.frame import checkpoint
save, saved = checkpoint.save, []
def save_and_die(*arguments):
    save(*arguments)
    saved.append(0)
    if len(saved) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
checkpoint.save = save_and_die
runpy.run_module(sys.argv.pop(1), run_name="__main__")
"""


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_to_the_same_results(recipe, tmp_path):
    steps = ["--steps=30"] if any(flag.name == "steps" for flag in recipe.flags) else []
    arguments = [*SMALL[recipe.name], *steps, "--seeds=0,1"]

    def run(*command, workdir):
        return subprocess.run([sys.executable, *command, *arguments, f"--workdir={tmp_path / workdir}"], cwd=ROOT, capture_output=True, text=True)

    def results(workdir):
        found = json.loads((tmp_path / workdir / "results.json").read_text())
        found["results"] = [{name: value for name, value in one.items() if name != "seconds"} for one in found["results"]]
        return found

    whole = run("-m", f"recipes.{recipe.name}", workdir="whole")
    assert whole.returncode == 0, whole.stderr
    killed = run("-c", KILLED_BEHIND_ITS_SECOND_CHECKPOINT, f"recipes.{recipe.name}", workdir="killed")
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "results.json").exists()
    resumed = run("-m", f"recipes.{recipe.name}", workdir="killed")
    assert resumed.returncode == 0, resumed.stderr
    assert results("killed") == results("whole")


def test_recipes_are_listed_with_their_questions():
    process = subprocess.run([sys.executable, "-m", "recipes"], cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 0
    for name, question in PAGES.items():
        assert f"\n{name} " in process.stdout
        assert f"  {question}\n" in process.stdout
