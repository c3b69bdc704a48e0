"""`python -m benchmarks.NAME` as a user runs it, on the smallest inputs: that it measures and reports, not how fast anything is."""

import json
import math
import pathlib
import subprocess
import sys
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl import flags

from benchmarks import exchange, folding, layer, networks, reading, recalibration, tensorboard_tab, train_step
from keras_bn import BatchNormalization
from recipes.datasets import sources
from recipes.frame import machine

ROOT = pathlib.Path(__file__).parents[2]
SMALL = {
    "layer": ["--shapes=64x4x4x8", "--dtypes=float32", "--compile=graph"],
    "train_step": ["--depth=11", "--width=0.02", "--batch_size=2"],
    "instruments": ["--net=vgg11", "--width=0.02", "--batch_size=2", "--images=4", "--instruments=VarianceShift,by_hand", "--intervals=4", "--seconds=0"],
}


def run(benchmark, *arguments):
    return subprocess.run([sys.executable, "-m", f"benchmarks.{benchmark}", *arguments], cwd=ROOT, capture_output=True, text=True)


def measured(benchmark, path):
    """(what the terminal shows, what the JSON file holds) of the smallest run."""
    process = run(benchmark, *SMALL[benchmark], "--repetitions=2", f"--json={path}")
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    assert process.stdout.endswith(f"\nAll numbers: {path}\n")
    record = json.loads(path.read_text())
    assert record["benchmark"] == benchmark
    assert record["command"].startswith(f"python -m benchmarks.{benchmark} --")
    assert record["settings"]["repetitions"] == 2
    assert {"cpu", "cores", "tensorflow", "keras", "keras_bn"} <= record["machine"].keys()
    assert all(math.isfinite(number) for number in numbers(record["comparisons"]))
    return process.stdout, record


def numbers(value):
    if isinstance(value, dict):
        value = value.values()
    if isinstance(value, (int, float)):
        yield value
    elif not isinstance(value, str) and value is not None:
        for item in value:
            yield from numbers(item)


def test_layer_tells_times_and_ratios_of_every_mode(tmp_path):
    output, record = measured("layer", tmp_path / "new" / "layer.json")
    assert "## float32, graph" in output
    assert [each["mode"] for each in record["comparisons"]] == ["forward", "forward_backward", "inference"]
    for each in record["comparisons"]:
        assert f"| {each['shape']} | {each['mode']} " in output
        assert {"keras_bn", "keras", "copy"} <= each["milliseconds"].keys()
        assert {"keras/keras_bn", "keras_bn/copy"} <= each["ratios"].keys()
        assert all(
            0 < each["milliseconds"]["keras"][lower] <= each["milliseconds"]["keras"][upper] for lower, upper in [("lower", "median"), ("median", "upper")]
        )
    assert record["geometric_means"] == []


ABOUT = {"cpu": "CPU", "cores": 2, "tensorflow": tf.__version__, "keras": keras.__version__, "devices": []}


def conducted(benchmark, settings, monkeypatch, capsys):
    """(what is shown, what is saved last) of a benchmark in this process."""
    monkeypatch.setattr(machine, "device", lambda about: "here")
    saved = []
    benchmark.conduct({"repetitions": 2, "seconds": 0, **settings}, ABOUT, saved.append)
    return capsys.readouterr().out, saved[-1]["comparisons"]


def test_folding_tells_what_is_gone_and_what_it_gains(monkeypatch, capsys):
    settings = {"nets": ["MobileNetV3Small"], "ways": ["graph", "onnxruntime"], "batch_sizes": ["1"]}
    output, [net] = conducted(folding, settings, monkeypatch, capsys)
    assert (net["gone"], net["layers"], net["reasons"]) == (34, 34, {})
    assert 0 < net["accuracy"]["difference"] < 1e-5
    assert net["ratios"].keys() == {"graph 1", "onnxruntime 1"}
    assert "| MobileNetV3Small | 34 of 34 |" in output


def test_recalibration_tells_errors_before_and_after(monkeypatch, capsys):
    settings = {"dataset": "digits", "data_dir": None, "epochs": 1, "seeds": [0], "batch_size": 128, "nets": ["a"]}
    output, [net] = conducted(recalibration, settings, monkeypatch, capsys)
    assert net["errors"].keys() == {"as trained", "recalibrated", "recalibrated with Dropout", "by batches"}
    assert all(0 <= error <= 100 for error in net["errors"].values())
    assert "| a: Dropout in front of the last BN of each block |" in output


def test_exchange_tells_messages_and_bytes(tmp_path):
    path = tmp_path / "exchange.json"
    process = run("exchange", f"--json={path}")
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    record = json.loads(path.read_text())
    assert record["counts"] == {
        exchange.KERAS: {"forward": [64, 64, 64], "backward": [64, 64]},
        exchange.FEW: {"forward": [384], "backward": [384]},  # Count, mean and variance of each of two replicas.
        exchange.MANY: {"forward": [128, 128], "backward": [128]},
    }
    rows = {(row["replicas"], row["layer"]): (row["messages"], row["MB"]) for row in record["model"]}
    # 53 layers of 26,560 channels: 24 numbers a channel forward and as many backward with 8 replicas, 6 in all with more; a ring sends 2 (R - 1) / R of them.
    assert rows[8, exchange.FEW] == (106, pytest.approx(26_560 * 48 * 4 * 2 * 7 / 8 / 1e6))
    assert rows[1024, exchange.MANY] == (159, pytest.approx(26_560 * 6 * 4 * 2 * 1023 / 1024 / 1e6))
    assert rows[1024, exchange.KERAS] == (265, pytest.approx(26_560 * 5 * 4 * 2 * 1023 / 1024 / 1e6))


def test_reading_tells_waiting_and_memory_and_makes_its_images_once(monkeypatch, capsys, tmp_path):
    size = {"images": 1000, "image_size": 32, "folder": str(tmp_path), "width": 1 / 16, "batch_size": 4}
    output, rows = conducted(reading, size, monkeypatch, capsys)
    assert "980 training images" in output
    assert rows.keys() == {reading.IN_MEMORY, reading.FOLDER, reading.RECORDS}
    for row in rows.values():
        assert 0 < row["waiting"] < 100
        assert len(row["turns"]) == 2
        assert row["ratio"]["median"] > 0
    assert [len(list((tmp_path / "jpegs" / split).rglob("*.jpg"))) for split in ("train", "test")] == [980, 20]
    kinds = [sources.load(types.SimpleNamespace(dataset=str(tmp_path / kind), data_dir=None, image_size=32)) for kind in ("jpegs", "tfrecords")]
    labels = [sorted(one.training.labels) for one in kinds]
    assert labels[0] == labels[1]
    assert kinds[0].mean == pytest.approx(kinds[1].mean)
    reading.made(tmp_path, 1000, 32)
    assert "making" not in capsys.readouterr().out


def test_the_tab_is_asked_in_both_ways_and_logs_are_written_once(capsys, tmp_path):
    settings = {"runs": 2, "layers": 3, "steps": 60, "folder": str(tmp_path), "repetitions": 2, "seconds": 0.1}
    saved = []
    tensorboard_tab.conduct(settings, machine.described(), saved.append)
    output, results = capsys.readouterr().out, saved[-1]
    assert "writing 2 runs of 3 layers by 60 steps" in output
    assert len(results["start"]) == 5
    for loading in tensorboard_tab.LOADINGS:
        assert f"{loading} loading: read after" in output
        assert results[loading]["times"].keys() == {"runs", "series", "overview"}
        assert all(size > 10 for size in results[loading]["megabytes"])
    assert [path.name for path in sorted((tmp_path / "logs").iterdir())] == ["run0", "run1"]
    tensorboard_tab.written(tmp_path, 2, 3, 60)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("benchmark", ["exchange", "folding", "reading", "recalibration", "tensorboard_tab"])
def test_help_shows_the_commands(benchmark):
    assert f"python -m benchmarks.{benchmark} --" in run(benchmark, "--help").stdout


def test_train_step_tells_times_and_overheads_of_every_net(tmp_path):
    output, record = measured("train_step", tmp_path / "train_step.json")
    assert [each["what"] for each in record["comparisons"]] == ["train step", "inference"]
    for each in record["comparisons"]:
        normalized = {"keras", "keras_bn", *(["kernel"] if each["what"] == "train step" else [])}
        assert each["milliseconds"].keys() == {"plain", *normalized}
        assert each["overhead_percent"].keys() == normalized
        assert f"\n{each['what']}: keras" in output
        for net in ("plain", *normalized):
            assert f"| {each['what']:10} | {net:8} |" in output


def test_instruments_tells_slowdowns_memory_and_what_comes_once(tmp_path):
    output, record = measured("instruments", tmp_path / "new" / "instruments.json")
    assert "| VarianceShift | " in output
    assert "Internal covariate shift by hand: " in output
    (comparison,) = record["comparisons"]
    assert comparison["interval"] == "4"
    assert set(comparison["slowdown"]) == set(comparison["steps_per_measurement"]) == set(record["first_seconds"]) == {"VarianceShift"}
    assert list(record["peak_mebibytes"]) == ["imported", "unmeasured", "VarianceShift"]
    assert record["by_hand_steps"]["median"] > 1


@pytest.mark.parametrize(
    ("benchmark", "arguments", "complaint"),
    [
        (
            "layer",
            ["--shapes=3x4@2"],
            "'3x4@2' is no shape; expected sizes such as 64x32x32x64, or with the channels' axis behind them 64x64x32x32@1.",
        ),
        ("layer", ["--modes=backward"], "flag --modes=['backward']: expected a comma separated list out of forward, forward_backward, inference."),
        ("train_step", [f"--json={ROOT}/setup.py/x.json"], f"error: --json={ROOT}/setup.py/x.json cannot be written ("),
    ],
)
def test_what_cannot_be_done_is_said_at_once(benchmark, arguments, complaint, tmp_path):
    process = run(benchmark, f"--json={tmp_path}/refused.json", *arguments)
    assert process.returncode == 1
    assert complaint in process.stderr


@pytest.mark.parametrize("shape", ["8", "x", "3x", "0x4", "3x4@2", "3x4@-1", "3x4@"])
def test_what_is_no_shape_is_refused(shape):
    with pytest.raises(flags.ValidationError, match="is no shape; expected sizes such as"):
        layer.parsed(shape)


def test_shapes_are_read_with_their_axis():
    assert [layer.parsed(shape) for shape in ("3x4", "64x64x32x32@1")] == [((3, 4), -1), ((64, 64, 32, 32), 1)]


@pytest.mark.parametrize(("mode", "outputs"), [("forward", 1), ("forward_backward", 4), ("inference", 1)])
@pytest.mark.parametrize(
    ("shape", "axis", "compilation"), [((5, 4, 3, 2), -1, "graph"), ((5, 3, 4, 2), 1, "xla"), ((6, 3), -1, "eager"), ((6, 3), -1, "unknown_batch")]
)
def test_what_a_contestant_does_is_what_its_mode_says(mode, outputs, shape, axis, compilation):
    x, dy = layer.arrays(shape, axis)
    ours = BatchNormalization(axis=axis)
    ours.build(shape)
    results = layer.tensorflow_contestant(ours, mode, tf.constant(x), tf.constant(dy), compilation)()
    assert len(results) == outputs
    assert np.any(ours.moving_mean.numpy() != 0) == (mode != "inference")
    if mode == "forward_backward":
        _, dx, _, dbeta = results
        others = tuple(dimension for dimension in range(len(shape)) if dimension != range(len(shape))[axis])
        np.testing.assert_allclose(dbeta, dy.sum(others), atol=1e-5)
        np.testing.assert_allclose(np.sum(dx, others), 0, atol=1e-5)  # What shifts a whole channel does not change its outputs.


def test_the_net_of_keras_differs_in_the_class_of_its_layers_only():
    models = train_step.nets({"net": "vgg", "dtype_policy": "float32", "depth": "11", "width": 0.02, "jit_compile": False})
    kinds = [[type(each) for each in models[name].layers] for name in ("plain", "keras", "keras_bn")]
    assert all("BatchNormalization" not in kind.__name__ for kind in kinds[0])
    assert [kind.__name__ for kind in kinds[1]] == [kind.__name__ for kind in kinds[2]]
    assert BatchNormalization not in kinds[1]
    assert kinds[2].count(BatchNormalization) == 8
    x = np.random.default_rng(0).normal(size=(2, *networks.IMAGE_SHAPE)).astype("float32")
    np.testing.assert_allclose(models["keras"](x), models["keras_bn"](x), rtol=1e-3, atol=1e-5)


def test_train_step_measures_other_nets(tmp_path):
    path = tmp_path / "tabular.json"
    done = run("train_step", "--net=tabular", "--batch_size=8", "--repetitions=2", "--seconds=0", f"--json={path}")
    assert done.returncode == 0, done.stderr
    for comparison in json.loads(path.read_text())["comparisons"]:
        assert set(comparison["milliseconds"]) == {"plain", "keras", "keras_bn"}
        assert f"; time keras/keras_bn {comparison['ratios']['keras/keras_bn']['median']:.2f} (" in done.stdout


def test_a_plain_net_of_keras_applications_has_no_normalisation():
    theirs = networks.application("MobileNetV2", 32)
    plain = networks.plain(theirs)
    kinds = {type(one).__name__ for one, other in zip(plain.layers, theirs.layers) if type(one) is not type(other)}
    assert kinds == {"Unchanged"}
    assert plain.count_params() < theirs.count_params()
    x = np.ones((2, 32, 32, 3), "float32")
    assert plain(x, training=True).shape == theirs(x, training=False).shape


def test_the_bare_kernel_trains_as_keras_layer_does():
    keras.utils.set_random_seed(1)
    theirs = keras.Sequential([keras.Input((5, 4, 3)), keras.layers.BatchNormalization(momentum=0.7, scale=False)])
    kernel = networks.exchanged(theirs, keras.layers.BatchNormalization, networks.bare_kernel())
    x = np.random.default_rng(0).normal(2, 3, (8, 5, 4, 3)).astype("float32")
    np.testing.assert_allclose(kernel(x, training=True), theirs(x, training=True), rtol=1e-4, atol=1e-5)
    for one, other in zip(kernel.variables, theirs.variables):
        # The kernel's variance has the divisor N - 1.
        np.testing.assert_allclose(one, other, rtol=1.1 / x[..., 0].size)
