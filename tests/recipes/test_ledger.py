"""The ledger follows from the results of runs by today's rules, and refuses what does not fit."""

import json
import pathlib
import shutil

import numpy as np
import pytest
from PIL import Image

from recipes import deep_vgg, ledger

FLAGS = {flag.name: flag.default for flag in deep_vgg.RECIPE.flags}
HYPERPARAMETERS = {"depth": 19, "initializer": "glorot_uniform", "learning_rate": 0.01}
MACHINE = {"cpu": "a CPU", "cores": 2, "tensorflow": "2.21.0", "keras": "3.15.1"}
EVIDENCE = {"batch_norm": [0.9, 0.8, 0.85], "plain": [0.1, 0.1, 0.1]}
SHALLOW = {"shallow": [11.0, 11.0, 11.0]}


def claim(name, evidence):
    return {"name": name, "verdict": "of an earlier rule", "measured": "", "why": "", "evidence": evidence}


@pytest.fixture
def run(tmp_path):
    """A maker of work folders with results."""

    def run(name="digits", **differing):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        results = {
            "recipe": "deep_vgg",
            "flags": {**FLAGS, "seeds": [0, 1, 2], "data_dir": "/somewhere"},
            "machines": [MACHINE],
            "results": [
                {"contestant": contestant, **HYPERPARAMETERS, "seed": seed, "seconds": 30.0}
                for contestant in ("plain", "batch_norm", "shallow")
                for seed in (0, 1, 2)
            ],
            "claims": [claim("bn_trains_deep", EVIDENCE)],
        }
        (folder / "results.json").write_text(json.dumps({**results, **differing}))
        (folder / "report.md").write_text("# Report\n")
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)).save(folder / "summary.png")
        return str(folder)

    return run


@pytest.fixture
def docs(tmp_path):
    (tmp_path / "docs").mkdir()
    return tmp_path / "docs"


def rows(docs, heading):
    """The cells of the first table below a heading, without its head."""
    below = (docs / "results.md").read_text().split(f"## {heading}")[1]
    table = below[below.index("|") :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


def test_a_row_holds_claim_source_data_measurement_verdict_and_run(run, docs):
    assert ledger.main([run()], docs) == 0
    assert rows(docs, "Can a 19-layer VGG") == [
        [
            "With batch normalisation, a deep net trains from random weights",
            "Ioffe & Szegedy, sec. 1",
            "digits",
            "test accuracy: batch_norm 0.850 ± 0.050, plain 0.100 ± 0.000 (3 seeds)",
            "**holds**",
            "batch_norm - plain = 0.75 (95 % interval 0.626 to 0.874), claimed: above 0.1",
            "[digits](results/digits/report.md)",
        ]
    ]
    text = (docs / "results.md").read_text()
    nets = "VGG of 19 layers, 0.25 times the paper's width, Dropout 0.5"
    machine = "a CPU, 2 cores; TensorFlow 2.21.0, Keras 3.15.1"
    cells = ["[digits](results/digits/report.md)", "`python -m recipes.deep_vgg --seeds=0,1,2`", nets, "9", "4", machine]
    assert [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if "recipes.deep_vgg --seeds" in line] == [cells]


def test_report_results_and_smaller_pictures_are_taken(run, docs):
    folder = run()
    assert ledger.main([folder], docs) == 0
    taken = docs / "results" / "digits"
    assert sorted(path.name for path in taken.iterdir()) == ["report.md", "results.json", "summary.png"]
    assert Image.open(taken / "summary.png").size == (60, 40)
    assert "![what was found of each claim](results/digits/summary.png)" in (docs / "results.md").read_text()


def test_verdicts_that_differ_between_runs_and_popular_sentences_stand_together(run, docs):
    other = run("cifar10", flags={**FLAGS, "dataset": "cifar10"}, claims=[claim("bn_trains_deep", {"batch_norm": [0.1] * 3, "plain": [0.1] * 3})])
    popular = run("popular", claims=[claim("eight_layers", SHALLOW)])
    assert ledger.main([run(), other, popular], docs) == 0
    assert [(row[2], row[4]) for row in rows(docs, "Where runs differ")] == [("cifar10", "**does not hold here**"), ("digits", "**holds**")]
    assert [row[4] for row in rows(docs, "Often said")] == ["**does not hold here**"]


def test_check_fails_where_the_file_does_not_follow(run, docs, capsys):
    assert ledger.main(["--check"], docs) == 1
    assert ledger.main([run()], docs) == 0
    assert ledger.main(["--check"], docs) == 0
    path = docs / "results.md"
    path.write_text(path.read_text().replace("**holds**", "**does not hold here**"))
    assert ledger.main(["--check"], docs) == 1
    assert capsys.readouterr().err.endswith(f"error: {path} does not follow from the runs in {docs / 'results'}; write it again: python -m recipes.ledger\n")
    assert ledger.main([], docs) == 0
    assert ledger.main(["--check"], docs) == 0


def test_the_ledger_of_this_project_follows_from_its_runs():
    assert ledger.main(["--check"]) == 0


@pytest.mark.parametrize(
    ("differing", "complaint"),
    [
        ({"recipe": "nosuch"}, "/results.json is of the recipe nosuch, which is not there; expected one of "),
        ({"flags": {**FLAGS, "nosuch": 1}}, "/results.json has other flags or claims than recipes.deep_vgg now; run it again in a new folder."),
        ({"claims": [{"name": "nosuch", "evidence": {}}]}, "/results.json has other flags or claims than recipes.deep_vgg now; run it again in a new folder."),
        (
            {"claims": [claim("bn_trains_deep", {"batch_norm": [0.9] * 4, "plain": [0.1] * 4})]},
            "/results.json has 4 numbers for the claim bn_trains_deep, of 3 trainings with {'contestant': 'batch_norm', ",
        ),
        (
            {"claims": [claim("auxiliary_heads", {"auxiliary": [0.9] * 3, "plain": [0.1] * 3})]},
            "/results.json has 3 numbers for the claim auxiliary_heads, of 0 trainings with {'contestant': 'auxiliary', ",
        ),
        (
            {"claims": [claim("bn_trains_deep", {"plain": [0.1] * 3})]},
            "/results.json has other numbers for the claim bn_trains_deep than its rule takes (KeyError('batch_norm')); run it again in a new folder.",
        ),
        ({"claims": [{}]}, "/results.json is not what a finished run leaves (KeyError('name')); run its recipe with --workdir="),
    ],
)
def test_results_that_do_not_fit_are_refused_and_nothing_is_written(differing, complaint, run, docs, tmp_path, capsys):
    assert ledger.main([run(), run("other", **differing)], docs) == 1
    assert f"error: {tmp_path}/runs/other{complaint}" in capsys.readouterr().err
    assert not list(docs.iterdir())


def test_bad_calls_are_refused(run, docs, tmp_path, capsys):
    assert ledger.main([], docs) == 1
    assert ledger.main([str(tmp_path / "nosuch")], docs) == 1
    assert "nosuch/results.json is not what a finished run leaves (FileNotFoundError(" in capsys.readouterr().err
    assert ledger.main(["--check", run()], docs) == 1
    assert "expected it alone" in capsys.readouterr().err


def test_folders_of_one_name_are_refused_and_old_pictures_go(run, docs, tmp_path, capsys):
    first = pathlib.Path(run())
    assert ledger.main([str(first)], docs) == 0
    (docs / "results" / "digits" / "of_an_earlier_run.png").touch()
    assert ledger.main([str(first)], docs) == 0
    assert sorted(path.name for path in (docs / "results" / "digits").iterdir()) == ["report.md", "results.json", "summary.png"]
    second = tmp_path / "elsewhere" / "digits"
    shutil.copytree(first, second)
    assert ledger.main([str(first), str(second)], docs) == 1
    assert capsys.readouterr().err == "error: two of the folders are called digits; rename one.\n"
    (second / "report.md").unlink()
    assert ledger.main([str(second)], docs) == 1
    assert "/results.json is not what a finished run leaves (KeyError('report.md')); " in capsys.readouterr().err


def test_claims_without_a_run_are_listed(run, docs):
    assert ledger.main([run()], docs) == 0
    waiting = [row[0] for row in rows(docs, "No run yet")]
    assert "Auxiliary classifiers let a deep net train" in waiting
    assert "With batch normalisation, a deep net trains from random weights" not in waiting


def test_remarks_stand_below_the_runs_and_are_kept_and_named_when_results_change(run, docs, capsys):
    ledger.main([run()], docs)
    remarks = docs / "results" / "digits" / "remarks.md"
    remarks.write_text("The plain net does not learn, as its gradients vanish.\n")
    assert ledger.main(["--check"], docs) == 1
    assert ledger.main([str(docs.parent / "runs" / "digits")], docs) == 0
    assert "|\n\nThe plain net does not learn, as its gradients vanish.\n\n![" in (docs / "results.md").read_text()
    assert capsys.readouterr().out == ""
    shutil.rmtree(docs.parent / "runs")
    ledger.main([run(claims=[claim("bn_trains_deep", {**EVIDENCE, "plain": [0.2, 0.1, 0.1]})])], docs)
    assert capsys.readouterr().out == f"{remarks} is about other results than the new ones; see whether it is true of them.\n"
    assert remarks.exists()
