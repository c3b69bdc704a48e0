"""Replicas and processes: the same batches, the same numbers, one that writes; what is killed goes on, what does not come is named."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import types

import keras
import numpy as np
import pytest

from recipes import deep_vgg
from recipes.datasets.linear import LinearMap
from recipes.frame import Training, distribution, flags, launch, program, tasks, training
from recipes.frame.refusal import Refusal
from recipes.nets import linear

ROOT = pathlib.Path(__file__).parents[3]
# float64, since rounding decides where a net of float32 goes: by another order of sums its loss is another one by 0.2 % after eleven steps.
SMALL = [
    "--contestants=batch_norm",
    "--depth=11",
    "--width=0.03",
    "--batch_size=200",
    "--epochs=3",
    "--dropout=0",
    "--measure_every=0",
    "--dtype_policy=float64",
]


@pytest.mark.parametrize("first_step", [0, 4])
def test_parts_of_a_batch_are_the_batch(dataset, first_step):
    whole = [y.numpy() for _, y in dataset.training_batches(12, 1, first_step).take(6)]
    parts = [[y.numpy() for _, y in dataset.training_batches(12, 1, first_step, part).take(6 * part[2])] for part in ((3, 0, 1), (3, 1, 2))]
    for number, expected in enumerate(whole):
        read = [parts[0][number], parts[1][2 * number], parts[1][2 * number + 1]]
        assert [len(labels) for labels in read] == [4, 4, 4]
        np.testing.assert_array_equal(np.concatenate(read), expected)


def records(path):
    [file] = path.glob("runs/*/metrics.jsonl")
    return [{name: value for name, value in json.loads(line).items() if name != "seconds"} for line in file.read_text().splitlines()]


def state(path):
    [file] = path.glob("runs/*/checkpoint.npz")
    with np.load(file) as arrays:
        return {name: arrays[name] for name in arrays.files if name != "records"}


def assert_same(path, other):
    for record, expected in zip(records(path), records(other), strict=True):
        assert record == pytest.approx(expected, rel=1e-6)
    for name, value in state(other).items():
        np.testing.assert_allclose(state(path)[name], value, rtol=1e-9, atol=1e-9)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    path = tmp_path_factory.mktemp("alone")
    program.conduct(deep_vgg.RECIPE, flags.parsed(deep_vgg.RECIPE, [*SMALL, f"--workdir={path}"]))
    return path


def test_synchronized_replicas_train_as_one_device_does(alone, strategy, tmp_path, monkeypatch):
    monkeypatch.setattr(distribution.tf.distribute, "MirroredStrategy", lambda devices: strategy)
    program.conduct(deep_vgg.RECIPE, flags.parsed(deep_vgg.RECIPE, [*SMALL, "--strategy=mirrored", "--synchronized", f"--workdir={tmp_path}"]))
    assert_same(tmp_path, alone)


def test_a_sum_over_replicas_is_that_of_one_device(strategy, tmp_path):
    """The loss of the linear network is a sum over the examples."""
    silent = types.SimpleNamespace(step=lambda: None, record=lambda _: None, skip=lambda _: None)
    numbers = LinearMap(size=20, features=3, seed=1)
    found = {}
    for name, where in (("one", distribution.Distribution()), ("two", distribution.Distribution(strategy, True))):
        one = Training(
            hyperparameters={"contestant": "plain", "seed": 0},
            build=lambda _: linear.deep_linear(3, 2),
            data=numbers,
            task=tasks.Regression(),
            optimizer=lambda: keras.optimizers.SGD(1e-3),
            batch_size=20,
            steps=4,
            record_every=2,
        )
        (tmp_path / name).mkdir()
        records, net = training.train(one, tmp_path / name, str(tmp_path / name / "log"), silent, lambda: None, where)
        found[name] = [record["loss"] for record in records], net.get_weights()
    assert found["two"][0] == pytest.approx(found["one"][0], rel=1e-5)
    for weight, expected in zip(found["two"][1], found["one"][1]):
        np.testing.assert_allclose(weight, expected, rtol=1e-5)


def test_unsynchronized_replicas_do_not(make, strategy, tmp_path):
    one, silent = make("batch_norm", depth=11, epochs=1, dropout=0.0), types.SimpleNamespace(step=lambda: None, record=lambda _: None, skip=lambda _: None)
    losses = {}
    for synchronized in (False, True):
        folder = tmp_path / str(synchronized)
        folder.mkdir()
        where = distribution.Distribution(strategy, synchronized)
        found, net = training.train(one, folder, str(folder / "log"), silent, lambda: None, where)
        losses[synchronized] = found[0]["loss"]
        assert {layer.synchronized for layer in net.layers if hasattr(layer, "moving_mean")} == {synchronized}
    assert abs(losses[True] - losses[False]) > 1e-3


def workers_of(process):
    return [int(child) for child in pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def test_workers_train_as_one_process_does_also_after_one_was_killed(alone, tmp_path, monkeypatch):
    folder, temporary = tmp_path / "run", tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    command = [sys.executable, "-m", "recipes.deep_vgg", *SMALL, "--workers=2", "--synchronized", f"--workdir={folder}"]
    first = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 240
    while not list(folder.glob("runs/*/checkpoint.npz")) and first.poll() is None and time.monotonic() < end:
        time.sleep(0.05)  # Nothing tells when a checkpoint is written but the file.
    workers = workers_of(first)
    os.kill(workers[1], signal.SIGKILL)
    _, errors = first.communicate(timeout=120)
    assert first.returncode == 1
    assert errors.splitlines()[-1].startswith("error: worker 1 ended with status -9: ")
    assert errors.splitlines()[-1].endswith("; the same command goes on where it was.")
    assert not any(pathlib.Path(f"/proc/{worker}").exists() for worker in workers)
    assert not list(temporary.iterdir())
    assert not (folder / "results.json").exists()

    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("1 training on digits") == 1
    assert_same(folder, alone)
    assert json.loads((folder / "results.json").read_text())["flags"]["workers"] == 2


def test_what_workers_refuse_is_refused_in_their_words(tmp_path):
    command = [sys.executable, "-m", "recipes.deep_vgg", "--workers=2", "--batch_size=51", f"--workdir={tmp_path / 'new'}"]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert process.returncode == 1
    assert process.stderr == "error: a batch of 51 is not divisible by 2 replicas; choose a multiple of 2, or another number of replicas.\n"


def test_processes_that_do_not_hold_the_same_are_refused(alone, tmp_path):
    shutil.copytree(alone, tmp_path / "0")
    (tmp_path / "0" / "results.json").unlink()
    for path in (tmp_path / "0").glob("runs/*/result.json"):
        path.unlink()
    config = json.loads((tmp_path / "0" / "config.json").read_text())
    config["flags"]["strategy"] = "multi_worker"
    (tmp_path / "0" / "config.json").write_text(json.dumps(config))
    command = [sys.executable, "-m", "recipes.deep_vgg", *SMALL, "--strategy=multi_worker"]
    processes = [
        subprocess.Popen(
            [*command, f"--workdir={tmp_path / str(index)}", f"--momentum={momentum}"],
            cwd=ROOT,
            env={**os.environ, "TF_CONFIG": config},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index, (config, momentum) in enumerate(zip(launch.configurations(2), (0.9, 0.8)))
    ]
    outcomes = [process.communicate(timeout=240)[1] for process in processes]
    expected = "error: the processes differ in their flags and earlier steps; give all the same flags and data, and a --workdir that each of them reads."
    assert [errors.splitlines()[-1] for errors in outcomes] == [expected] * 2


def test_a_worker_that_never_comes_is_named(tmp_path):
    code = (
        "import runpy, sys\nfrom recipes.frame import distribution\ndistribution.LONGEST_WAIT = 2\n"
        f"sys.argv = ['deep_vgg', '--strategy=multi_worker', '--workdir={tmp_path}']\nrunpy.run_module('recipes.deep_vgg', run_name='__main__')"
    )
    here, nobody = 45123, 1
    config = {"cluster": {"worker": [f"localhost:{here}", f"localhost:{nobody}"]}, "task": {"type": "worker", "index": 0}}
    environment = {**os.environ, "TF_CONFIG": json.dumps(config)}
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert process.returncode == -signal.SIGKILL
    assert f"error: no worker answers at localhost:{nobody} within 2 seconds; start it, or take it out of TF_CONFIG.\n" in process.stderr


def refusal(*arguments):
    with pytest.raises(Refusal) as caught:
        program.conduct(deep_vgg.RECIPE, flags.parsed(deep_vgg.RECIPE, arguments))
    return str(caught.value)


def test_what_cannot_be_distributed_is_refused(strategy, tmp_path, monkeypatch):
    monkeypatch.setattr(distribution.tf.distribute, "MirroredStrategy", lambda devices: strategy)
    folder = f"--workdir={tmp_path / 'new'}"
    assert (
        refusal(folder, "--strategy=mirrored", "--batch_size=51")
        == "a batch of 51 is not divisible by 2 replicas; choose a multiple of 2, or another number of replicas."
    )
    expected = "--jit_compile received with --strategy=mirrored, and XLA cannot compile what replicas exchange; leave one of them out."
    assert refusal(folder, "--strategy=mirrored", "--jit_compile") == expected
    assert refusal(folder, "--strategy=multi_worker").startswith("--strategy=multi_worker without TF_CONFIG; set it for each process ")
    assert refusal(folder, "--strategy=mirrored", "--workers=2") == "--workers=2 received with --strategy=mirrored; leave one of them out."
    assert not (tmp_path / "new").exists()


def test_a_process_that_does_not_write_has_a_copy_to_go_on_from(tmp_path):
    (tmp_path / "runs" / "plain").mkdir(parents=True)
    (tmp_path / "runs" / "plain" / "metrics.jsonl").write_text("{}\n")
    (tmp_path / "config.json").write_text("{}")

    class Other(distribution.Distribution):
        is_chief = False

    chief, other = distribution.Distribution(), Other()
    with chief.workdir(tmp_path) as place:
        assert place == tmp_path
    with other.workdir(tmp_path) as place:
        assert place != tmp_path
        assert (place / "runs" / "plain" / "metrics.jsonl").read_text() == "{}\n"
        (place / "config.json").write_text("other")
    assert (tmp_path / "config.json").read_text() == "{}"
    assert not place.exists()
