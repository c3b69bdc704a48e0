"""The ledger follows from the results of runs by today's rules, and refuses what does not fit."""

import json

import pytest

from recipes import deep_vgg, ledger

FLAGS = {flag.name: flag.default for flag in deep_vgg.FLAGS}
MACHINE = {"cpu": "a CPU", "cores": 2, "tensorflow": "2.21.0", "keras": "3.15.1"}
EVIDENCE = {"batch_norm": [0.9, 0.8, 0.85], "plain": [0.1, 0.1, 0.1]}


@pytest.fixture
def run(tmp_path):
    """A maker of folders with results."""

    def run(name="run", **differing):
        claim = {"name": "bn_trains_deep", "verdict": "of an earlier rule", "measured": "", "why": "", "evidence": EVIDENCE}
        results = {"recipe": "deep_vgg", "flags": {**FLAGS, "seeds": [0, 1, 2]}, "machine": MACHINE, "results": [{"seconds": 90.0}] * 2, "claims": [claim]}
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.json").write_text(json.dumps({**results, **differing}))
        return str(tmp_path / name)

    return run


def test_a_row_holds_claim_source_measurement_verdict_and_run(run, tmp_path):
    output = tmp_path / "ledger.md"
    assert ledger.main([run()], output) == 0
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in output.read_text().splitlines() if line.startswith("|")]
    assert rows[2] == [
        "With batch normalisation a deep net trains from random weights",
        "Ioffe & Szegedy, sec. 1",
        "1",
        "test accuracy batch_norm 0.850 ± 0.050, plain 0.100 ± 0.000, 3 seeds",
        "holds",
        "the difference is 0.750, at 95% between 0.626 and 0.874",
    ]
    assert rows[5] == ["1", "`python -m recipes.deep_vgg --seeds=0,1,2`", "digits", "2", "3.0", "a CPU, 2 cores; TensorFlow 2.21.0, Keras 3.15.1"]


def test_check_fails_where_the_file_does_not_follow(run, tmp_path, capsys):
    output, folder = tmp_path / "ledger.md", run()
    assert ledger.main(["--check", folder], output) == 1
    assert ledger.main([folder], output) == 0
    assert ledger.main(["--check", folder], output) == 0
    output.write_text(output.read_text().replace("holds", "does not hold here"))
    assert ledger.main(["--check", folder], output) == 1
    assert capsys.readouterr().err.endswith(
        f"error: {output} does not follow from these results; expected what `python -m recipes.ledger` makes of them: run it without --check.\n"
    )


@pytest.mark.parametrize(
    ("differing", "complaint"),
    [
        ({"recipe": "nosuch"}, "/results.json is of the recipe nosuch, which is not there; expected one of "),
        ({"flags": {"seeds": [0]}}, "/results.json has other flags or claims than recipes.deep_vgg now; run it again in a new folder."),
        ({"claims": [{"name": "nosuch", "evidence": {}}]}, "/results.json has other flags or claims than recipes.deep_vgg now; run it again in a new folder."),
        ({"claims": [{}]}, "/results.json is not what a finished run leaves (KeyError('name')); run its recipe with --workdir="),
    ],
)
def test_results_that_do_not_fit_are_refused_and_nothing_is_written(differing, complaint, run, tmp_path, capsys):
    assert ledger.main([run(), run("other", **differing)], tmp_path / "ledger.md") == 1
    assert f"error: {tmp_path}/other{complaint}" in capsys.readouterr().err
    assert not (tmp_path / "ledger.md").exists()


def test_folders_are_needed(tmp_path, capsys):
    assert ledger.main([], tmp_path / "ledger.md") == 1
    assert ledger.main([str(tmp_path / "nosuch")], tmp_path / "ledger.md") == 1
    assert "nosuch/results.json is not what a finished run leaves (FileNotFoundError(" in capsys.readouterr().err
