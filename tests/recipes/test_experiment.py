"""An experiment: what it leaves in its folder, what it refuses, and its verdicts."""

import json
import os
import statistics

import keras
import numpy as np
import pytest

from recipes import experiment, files, machine, plots, report, workdir


@pytest.fixture
def runs(phases):
    def make(contestants=("plain", "batch_norm"), learning_rates=(0.01,), seeds=(0,), depth=11):
        chosen = [
            {"contestant": contestant, "depth": depth, "initializer": "he_normal", "learning_rate": rate, "seed": seed}
            for rate in learning_rates
            for seed in seeds
            for contestant in contestants
        ]
        return [experiment.Run(name, run, phases(run["contestant"], depth)) for name, run in zip(experiment.named(chosen), chosen)]

    return make


def opened(path, recipe="deep_vgg", data="digits", **flags):
    flagfile = "".join(f"--{name}={value}\n" for name, value in flags.items())
    return workdir.Workdir(path, recipe=recipe, flags=flags, flagfile=flagfile, data=data, machine={})


def test_a_sweep_goes_on_behind_a_run_that_diverges(runs, dataset, settings, tmp_path, capsys):
    with opened(tmp_path, epochs=3) as folder:
        results, curves = experiment.conduct(runs(["plain"], [1e9, 0.01]), dataset, settings, folder, {"contestant": ["plain"]})
    assert [result["verdict"] == "diverged" for result in results] == [True, False]
    assert results[0]["test_accuracy"] is None
    assert results[1]["test_accuracy"] == curves[1][-1]["test_accuracy"]
    assert results[1]["best_test_accuracy"] == max(record["test_accuracy"] for record in curves[1])
    assert results == files.read_json(tmp_path / "results.json")
    shown = capsys.readouterr().out
    assert "run 1/2: plain-learning_rate1000000000.0: diverged, " in shown
    assert "run 2/2: plain-learning_rate0.01: " in shown


def test_what_a_run_leaves(runs, dataset, settings, tmp_path):
    with opened(tmp_path, epochs=3) as folder:
        results, curves = experiment.conduct(runs(["batch_norm"]), dataset, settings, folder, {"contestant": ["batch_norm"]})
    name = "batch_norm"
    run_folder = tmp_path / "runs" / name
    assert {path.name for path in run_folder.iterdir()} == {"config.json", "checkpoint.npz", "metrics.jsonl", "result.json"}
    assert files.read_json(run_folder / "config.json")["contestant"] == "batch_norm"
    assert [json.loads(line) for line in (run_folder / "metrics.jsonl").read_text().splitlines()] == curves[0]
    assert results[0]["steps"] == 9
    assert results[0]["seconds"] == pytest.approx(sum(record["seconds"] for record in curves[0]), abs=0.06)
    assert {path.name for path in (tmp_path / "tensorboard" / name).iterdir()} >= {"train", "validation"}
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "flagfile", "lock", "results.json", "runs", "tensorboard"}


def test_the_best_accuracy_is_of_the_last_phase(runs, dataset, settings, tmp_path, monkeypatch):
    accuracies = {"shallow": [0.5, 0.9], "deep": [0.7, 0.6]}
    records = [{"phase": phase, "test_accuracy": value, "loss": 1.0, "step": 9, "seconds": 2.0} for phase, values in accuracies.items() for value in values]
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    monkeypatch.setattr(experiment.training, "train", lambda *arguments, **named: (records, model))
    [grown] = runs(["grown"], depth=13)
    result, _ = experiment._train(grown, dataset, settings, tmp_path, tmp_path / "tensorboard", None)
    assert {name: result[name] for name in ("test_accuracy", "best_test_accuracy", "steps", "seconds", "parameters")} == {
        "test_accuracy": 0.6,
        "best_test_accuracy": 0.7,
        "steps": 9,
        "seconds": 8.0,
        "parameters": 9,
    }


def test_names_say_what_differs():
    chosen = [{"contestant": contestant, "depth": 19, "initializer": "he_normal", "seed": seed} for contestant in ("plain", "grown") for seed in (0, 1)]
    assert experiment.named(chosen) == ["plain-seed0", "plain-seed1", "grown-seed0", "grown-seed1"]
    assert experiment.named(chosen[:1]) == ["plain"]
    assert experiment.named([chosen[0], {**chosen[1], "initializer": "normal_0.1"}]) == ["plain-he_normal-seed0", "plain-normal_0.1-seed1"]


def test_finished_runs_are_not_run_again(runs, dataset, settings, tmp_path, capsys):
    def conduct():
        with opened(tmp_path, epochs=3) as folder:
            return experiment.conduct(runs(), dataset, settings, folder, {})

    first = conduct()
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("checkpoint.npz")}
    assert conduct() == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("checkpoint.npz")} == times
    assert capsys.readouterr().out.count("(finished earlier)") == 2


def test_a_runs_numbers_do_not_depend_on_its_place_in_the_sweep(runs, dataset, settings, tmp_path):
    both, alone = runs(["plain", "batch_norm"]), runs(["batch_norm"])
    with opened(tmp_path / "both") as folder:
        results, _ = experiment.conduct(both, dataset, settings, folder, {})
    with opened(tmp_path / "alone") as folder:
        expected, _ = experiment.conduct(alone, dataset, settings, folder, {})
    assert {**results[1], "seconds": 0} == {**expected[0], "seconds": 0}


def test_a_file_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "file"
    files.write(path, "old")

    def fail(descriptor):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        files.write(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def record(accuracy):
    return {"loss": None if accuracy is None else 1.0, "test_accuracy": accuracy}


# 20 test images of two classes: guessing names 19 of them rightly once in 50,000 times, all of them once in 1,000,000 times.
@pytest.mark.parametrize(
    ("accuracies", "verdict"),
    [([0.5, 0.95], "stuck at chance"), ([1.0, 0.5], "stuck at chance"), ([0.5, 1.0], "learned"), ([1.0, None], "diverged")],
)
def test_verdicts(accuracies, verdict, dataset):
    assert dataset.chance_bound == 0.95
    assert experiment.verdict([record(accuracy) for accuracy in accuracies], dataset) == verdict


def result(contestant, seed, accuracy, best, verdict, learning_rate=0.01):
    return {
        "contestant": contestant,
        "depth": 19,
        "initializer": "he_normal",
        "learning_rate": learning_rate,
        "seed": seed,
        "test_accuracy": accuracy,
        "best_test_accuracy": best,
        "verdict": verdict,
        "steps": 9,
        "seconds": 10.0 + seed,
        "parameters": 12345,
    }


RESULTS = [
    result("plain", 0, 0.1, 0.2, "stuck at chance"),
    result("plain", 1, None, 0.4, "diverged"),
    result("plain", 2, 0.9, 0.9, "learned"),
    result("batch_norm", 0, 0.8, 0.9, "learned"),
    result("batch_norm", 1, 0.9, 0.9, "learned"),
]


def cells(row):
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_the_table_has_means_deviations_and_verdicts():
    header, _, plain, batch_norm = report.table(RESULTS).splitlines()
    assert "contestant" in cells(header)
    deviation = statistics.stdev([0.1, 0.9])
    verdicts = "learned 1/3, stuck at chance 1/3, diverged 1/3"
    assert cells(plain) == ["plain", "19", "he_normal", "0.01", f"0.500 ± {deviation:.3f} (2 of 3)", "0.500 ± 0.361", verdicts, "11", "12,345"]
    assert cells(batch_norm)[4:7] == ["0.850 ± 0.071", "0.900 ± 0.000", "learned 2/2"]


def test_findings_say_who_learned_under_what():
    lines = report.findings([*RESULTS, result("plain", 0, 0.1, 0.1, "stuck at chance", 0.1)]).splitlines()
    assert lines == [
        "* `plain` learned with some seeds under 1 of 2 (depth 19, he_normal, learning rate 0.01); "
        "with no seed under 1 of 2 (depth 19, he_normal, learning rate 0.1).",
        "* `batch_norm` learned with every seed under 1 of 1 (depth 19, he_normal, learning rate 0.01).",
    ]


def test_findings_without_a_sweep_count_seeds():
    assert report.findings(RESULTS).splitlines() == ["* `plain` learned with 1 of 3 seeds.", "* `batch_norm` learned with 2 of 2 seeds."]


def test_a_net_that_fell_back_is_named(dataset):
    config = {"recipe": "deep_vgg", "flags": {"seeds": [0, 1], "data_dir": None}, "machine": machine.described()}
    text = report.markdown(
        "Title",
        [result("plain", 1, 0.5, 1.0, "stuck at chance"), result("plain", 0, 0.5, 0.5, "stuck at chance")],
        dataset,
        config,
        [("a.png", "a picture")],
        ["A note."],
    )
    assert "`python -m recipes.deep_vgg --seeds=0,1`" in text
    named = "plain, depth 19, he_normal, learning rate 0.01, seed 1 (1.000)."
    assert f"At chance at the end, but above it in some epoch (best test accuracy): {named}\n" in text
    assert "A note.\n\n" in text
    assert text.endswith("![a picture](a.png)\n")


def test_pictures_show_every_contestant(dataset, tmp_path):
    steps = [[{"phase": "deep", "step": step, "test_accuracy": result["test_accuracy"]} for step in (3, 6)] for result in RESULTS]
    steps[0] = [{**steps[0][0], "phase": "shallow"}, steps[0][1]]
    figure = plots.accuracy_curves(RESULTS, steps, ("plain", "batch_norm"), dataset)
    (axis,) = figure.axes
    assert set(axis.get_legend_handles_labels()[1]) == {"plain", "plain, shallow net", "batch_norm"}
    (mean,) = (line for line in axis.get_lines() if line.get_label() == "batch_norm")
    np.testing.assert_allclose(mean.get_xydata(), [[3, 0.85], [6, 0.85]])
    plots.save(figure, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    figure = plots.sweep([*RESULTS, result("plain", 0, 0.1, 0.1, "stuck at chance", 0.1)], dataset)
    shown = [text.get_text() for text in figure.axes[0].texts]
    assert shown == ["0.500\nlearned 1/3\nstuck at chance 1/3\ndiverged 1/3", "0.850\nlearned 2/2", "0.100\nstuck at chance"]
