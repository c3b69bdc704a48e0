"""`python -m recipes.deep_vgg` as a user runs it: in a process of its own, that is killed, interrupted, starved of disk, and started again."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from keras_bn import summaries
from recipes import deep_vgg
from recipes.frame import commands, flags, program
from recipes.frame.refusal import Refusal

ROOT = pathlib.Path(__file__).parents[2]
SMALL = ["--contestants=plain,batch_norm", "--depth=11", "--width=0.03", "--batch_size=400", "--epochs=2", "--dropout=0.3", "--measure_every=0"]


def run(*arguments, prelude="", check=True):
    """Runs the recipe; `prelude` is Python that stands before it in the same process."""
    code = f"import sys, runpy\nsys.argv = ['deep_vgg', *{list(arguments)!r}]\n{prelude}\nrunpy.run_module('recipes.deep_vgg', run_name='__main__')"
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    if check:
        assert process.returncode == 0, process.stderr
    return process


# Stands in for a moment: right behind the second checkpoint of the process, whatever follows it not done yet.
AT_SECOND_CHECKPOINT = """
from recipes.frame import checkpoint
save, saved = checkpoint.save, []
def save_and_strike(*arguments):
    save(*arguments)
    saved.append(0)
    if len(saved) == 2:
        strike()
checkpoint.save = save_and_strike
"""
KILL = AT_SECOND_CHECKPOINT + "import os, signal\ndef strike():\n    os.kill(os.getpid(), signal.SIGKILL)\n"
# A shell starts what it puts into the background with SIGINT ignored, and the suite may run there.
HEEDED = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
INTERRUPT = HEEDED + AT_SECOND_CHECKPOINT + "import os\ndef strike():\n    os.kill(os.getpid(), signal.SIGINT)\n"
FULL_DISK = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (40_000, resource.RLIM_INFINITY))"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole")
    return path, run(*SMALL, f"--workdir={path}")


def results(path):
    return [{name: value for name, value in result.items() if name != "seconds"} for result in json.loads((path / "results.json").read_text())["results"]]


def test_the_terminal_shows_the_table_and_where_things_are(whole):
    path, process = whole
    first, *_ = process.stdout.splitlines()
    assert first.startswith("2 trainings on digits, 1,437 training and 360 test images of 32x32x3, 10 classes, with CPU, ")
    assert first.endswith(f" cores, into {path}")
    assert "| contestant   | depth   | initializer    | learning rate   |" in process.stdout
    assert process.stdout.endswith(
        f"Report and pictures: {path}/report.md {path}/curves.png\nTensorBoard: {commands.typed('tensorboard')} --logdir {path}/tensorboard\n"
        'Its page "Batch Norm" says which layer is worst, and since when, and compares trainings.\n'
    )
    assert process.stderr == ""


def test_results_have_what_they_promise(whole):
    for result in json.loads((whole[0] / "results.json").read_text())["results"]:
        assert {"contestant", "seed", "depth", "initializer", "learning_rate", "test_accuracy", "best_test_accuracy", "verdict", "seconds"} <= result.keys()


def test_the_same_command_goes_on_after_every_disaster(whole, tmp_path):
    """One experiment that meets them all: a full disk, a kill and an interrupt, each where the one before has left it."""
    command = [*SMALL, f"--workdir={tmp_path}"]
    go_on = f"{commands.typed('python')} -m recipes.deep_vgg --flagfile={tmp_path}/flagfile --workdir={tmp_path}"

    starved = run(*command, prelude=FULL_DISK, check=False)
    assert starved.returncode == 1
    assert starved.stderr == f"error: {tmp_path} could not be read or written ([Errno 27] File too large); make room or repair it, then go on with: {go_on}\n"
    assert not list(tmp_path.rglob("*.tmp"))

    assert run(*command, prelude=KILL, check=False).returncode == -9

    interrupted = run(*command, prelude=INTERRUPT, check=False)
    assert interrupted.returncode == 130
    assert interrupted.stdout.endswith(f"Interrupted; nothing up to the last record is lost. Go on with:\n    {go_on}\n")
    assert interrupted.stderr == ""

    run(f"--flagfile={tmp_path}/flagfile", f"--workdir={tmp_path}")
    assert results(tmp_path) == results(whole[0])
    for checkpoint in tmp_path.rglob("checkpoint.npz"):
        with np.load(checkpoint) as resumed, np.load(whole[0] / checkpoint.relative_to(tmp_path)) as expected:
            for name in set(expected.files) - {"records"}:
                np.testing.assert_allclose(resumed[name], expected[name], rtol=0, atol=1e-6)


def test_measuring_changes_no_result_and_is_in_tensorboard(whole, tmp_path):
    measured = run(*SMALL, "--measure_every=4", f"--workdir={tmp_path}")
    assert measured.stderr == ""
    assert results(tmp_path) == results(whole[0])
    for contestant, measures in {
        "plain": {"internal_covariate_shift", "loss_landscape"},
        "batch_norm": {"internal_covariate_shift", "loss_landscape", "variance_shift", "activation_statistics"},
    }.items():
        records = summaries.read_scalars(tmp_path / "tensorboard" / f"{contestant}-depth11-seed0")
        measured = [record for record in records if any("/" in tag for tag in record)]
        assert [record["step"] for record in measured] == [0, 4]
        assert {tag.split("/")[0] for record in measured for tag in record if "/" in tag} == {"0_summary", *measures}
        assert {f"internal_covariate_shift/cosine/{number:02d}_conv2d" for number in range(1, 9)} < set(measured[0])


def conduct(*arguments):
    """What the command does, in this process."""
    program.conduct(deep_vgg.RECIPE, flags.parsed(deep_vgg.RECIPE, arguments))


def test_flags_that_cannot_be_extended_are_refused(whole):
    with pytest.raises(Refusal, match=r"^--workdir=\S+ was begun with other flags: --width \(there 0.03, now 0.05\); only --contestants, "):
        conduct(*SMALL, "--width=0.05", f"--workdir={whole[0]}")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            ["--contestants=grown", "--depth=11"],
            "these flags leave nothing to train; python -m recipes.deep_vgg --help says which contestants there are of what.",
        ),
        (["--batch_size=1438"], "a batch of 1438 is more than the 1437 training examples; choose a smaller one."),
        (
            ["--workdir=gs://bucket/run"],
            "--workdir=gs://bucket/run is not on this machine; expected a local path: mount that storage, or copy what is written afterwards.",
        ),
    ],
)
def test_what_cannot_be_done_is_refused(arguments, complaint, tmp_path):
    with pytest.raises(Refusal) as caught:
        conduct(f"--workdir={tmp_path / 'new'}", *arguments)
    assert str(caught.value) == complaint
    assert not (tmp_path / "new").exists()


def test_a_refusal_is_one_line_of_the_terminal(tmp_path):
    process = run("--dataset=nowhere", f"--workdir={tmp_path / 'new'}", check=False)
    assert process.returncode == 1
    assert process.stderr.startswith("error: flag --dataset=nowhere: 'nowhere' is not digits, ")
    assert process.stderr.count("\n") == 1
    assert not (tmp_path / "new").exists()
