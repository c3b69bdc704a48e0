"""An experiment: what it leaves in its folder, how it is extended, what it refuses, and what its report and pictures say."""

import json
import os

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from recipes import deep_vgg
from recipes.frame import claims, evidence, experiment, files, flags, machine, pictures, report, tables, workdir
from recipes.frame.refusal import Refusal


@pytest.fixture
def conduct(make, tmp_path):
    """Trains what is made of keyword arguments, in a folder; returns what that came to."""

    def conduct(*trainings, folder=tmp_path):
        settings = flags.parsed(deep_vgg.RECIPE, [])
        with workdir.Workdir(folder, deep_vgg.RECIPE, workdir.merged(folder, deep_vgg.RECIPE, settings), "blobs", machine.described()) as opened:
            return experiment.conduct(deep_vgg.RECIPE, experiment.named(deep_vgg.RECIPE, trainings), opened)

    return conduct


def without_seconds(results):
    return [{name: value for name, value in result.items() if name != "seconds"} for result in results]


def test_a_sweep_goes_on_behind_a_training_that_diverges(conduct, make, capsys):
    conducted = conduct(make("plain", depth=11, learning_rate=1e9), make("plain", depth=11))
    assert [result["verdict"] == "diverged" for result in conducted.results] == [True, False]
    assert conducted.results[0]["test_accuracy"] is None
    accuracies = tables.of(conducted.table, "test_accuracy").groupby("run", sort=False)["value"]
    assert conducted.results[1]["test_accuracy"] == list(accuracies)[1][1].iloc[-1]
    assert conducted.results[1]["best_test_accuracy"] == list(accuracies)[1][1].max()
    shown = capsys.readouterr().out
    assert "training 1/2: plain-depth11-he_normal-lr1e+09-seed3: diverged, " in shown
    assert "training 2/2: plain-depth11-he_normal-seed3: test accuracy " in shown


def test_what_a_training_leaves(conduct, make, tmp_path):
    conducted = conduct(make("batch_norm", depth=11))
    name = "batch_norm-depth11-he_normal-seed3"
    folder = tmp_path / "runs" / name
    assert {path.name for path in folder.iterdir()} == {"config.json", "checkpoint.npz", "metrics.jsonl", "result.json"}
    assert files.read_json(folder / "config.json")["contestant"] == "batch_norm"
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert len(conducted.table) == sum(len(record) - 1 - ("is_end" in record) for record in records)
    [result] = conducted.results
    assert result["steps"] == 9
    assert result["seconds"] == pytest.approx(sum(record.get("seconds", 0) for record in records), abs=0.06)
    assert result["recalibrated_test_accuracy"] is not None
    # One TensorBoard run a training.
    assert [path.name for path in (tmp_path / "tensorboard").iterdir()] == [name]
    assert all(path.is_file() for path in (tmp_path / "tensorboard" / name).iterdir())


def test_a_grown_net_brings_the_shallow_one_that_it_starts_from_once(conduct, make):
    shallow = make("shallow", depth=11)
    conducted = conduct(make("grown", depth=13, start=shallow), make("grown", depth=16, start=shallow))
    assert [result["contestant"] for result in conducted.results] == ["shallow", "grown", "grown"]


def test_finished_trainings_are_not_trained_again_and_more_of_them_are_added(conduct, make, tmp_path, capsys):
    first = conduct(make("plain", depth=11))
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("checkpoint.npz")}
    more = conduct(make("plain", depth=11), make("plain", depth=11, seed=4))
    assert more.results[0] == first.results[0]
    assert len(more.results) == 2
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert capsys.readouterr().out.count("(finished earlier)") == 1


def test_longer_trainings_go_on(conduct, make, tmp_path, capsys):
    conduct(make("plain", depth=11, epochs=2))
    extended = conduct(make("plain", depth=11, epochs=3))
    assert extended.results[0]["steps"] == 9
    assert "(finished earlier)" not in capsys.readouterr().out
    with pytest.raises(Refusal) as caught:
        conduct(make("plain", depth=11, epochs=1))
    name = "plain-depth11-he_normal-seed3"
    expected = f"{tmp_path} holds {name} with 9 steps, more than the 3 asked for; expected as many or more: name another folder for fewer."
    assert str(caught.value) == expected


def test_a_grown_net_is_not_trained_on(conduct, make, tmp_path):
    def grown(epochs):
        return make("grown", start=make("shallow", depth=11, epochs=epochs), epochs=epochs)

    conduct(grown(1))
    with pytest.raises(Refusal) as caught:
        conduct(grown(2))
    assert str(caught.value) == (
        f"{tmp_path} holds shallow-depth11-he_normal-seed3 with 3 steps, 6 are asked for, and a net that grows from another one's end cannot be trained on; "
        "expected the same number of steps: name another folder for more."
    )


@pytest.mark.parametrize(
    ("name", "content", "remedy"),
    [
        ("result.json", "{", "result.json"),
        ("result.json", '{"contestant": "plain"}', "result.json"),
        ("metrics.jsonl", "no json\n", "result.json"),
        ("metrics.jsonl", '{"loss": 1.0}\n', "result.json"),
        ("metrics.jsonl", "", "result.json"),
    ],
)
def test_a_damaged_file_is_named_and_the_remedy_works(name, content, remedy, conduct, make, tmp_path):
    one = make("plain", depth=11, epochs=1)
    first = conduct(one)
    folder = tmp_path / "runs" / "plain-depth11-he_normal-seed3"
    (folder / name).write_text(content)
    with pytest.raises(Refusal) as caught:
        conduct(one)
    assert str(caught.value).startswith(f"{folder / name} is not what a finished training leaves (")
    assert f"delete {'it' if name == remedy else folder / remedy}, and the same command makes " in str(caught.value)
    (folder / remedy).unlink()
    assert conduct(one).results == first.results


@pytest.mark.parametrize("content", ["{", "[]", '{"steps": "many"}'])
def test_a_damaged_configuration_is_named_and_the_remedy_works(content, conduct, make, tmp_path):
    one = make("plain", depth=11, steps=1)
    first = conduct(one)
    path = tmp_path / "runs" / "plain-depth11-he_normal-seed3" / "config.json"
    path.write_text(content)
    with pytest.raises(Refusal) as caught:
        conduct(one)
    assert str(caught.value).startswith(f"{path} is not what a training leaves (")
    assert str(caught.value).endswith("); delete it, and the same command writes it again.")
    path.unlink()
    assert conduct(one).results == first.results


def test_a_training_s_numbers_do_not_depend_on_its_place_in_the_sweep(conduct, make, tmp_path):
    both = conduct(make("plain", depth=11, epochs=1), make("batch_norm", depth=11, epochs=1), folder=tmp_path / "both")
    alone = conduct(make("batch_norm", depth=11, epochs=1), folder=tmp_path / "alone")
    numbers = {"verdict": None}
    assert {**without_seconds(both.results)[1], **numbers} == {**without_seconds(alone.results)[0], **numbers}


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


CHOSEN = {
    "plain": [("at chance", 0.1, None), ("diverged", None, None), ("learned", 0.9, None)],
    "batch_norm": [("learned", 0.8, 0.85), ("learned", 0.9, 0.95), ("learned", 0.7, 0.75)],
}


@pytest.fixture
def conducted(make):
    """An experiment of made-up results."""
    trainings, results, records = {}, [], {}
    for contestant, seeds in CHOSEN.items():
        for seed, (verdict, accuracy, recalibrated) in enumerate(seeds):
            one = make(contestant, seed=seed, depth=19, initializer="glorot_uniform")
            name = f"{contestant}-seed{seed}"
            trainings[name] = one
            numbers = {"test_accuracy": accuracy, "recalibrated_test_accuracy": recalibrated, "training_accuracy": 1.0, "best_test_accuracy": accuracy or 0.4}
            results.append({"run": name, **one.hyperparameters, **numbers, "verdict": verdict, "steps": 6, "seconds": 10.0 + seed, "parameters": 12345})
            records[name] = [{"step": step, "test_accuracy": accuracy} for step in (3, 6)]
    return experiment.Experiment(trainings, results, tables.tidy(records, {name: one.hyperparameters for name, one in trainings.items()}))


def cells(row):
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_the_table_has_means_deviations_and_verdicts(conducted):
    header, _, plain, batch_norm = report.table(conducted).splitlines()
    assert cells(header)[:5] == ["contestant", "depth", "initializer", "learning rate", "test accuracy"]
    verdicts = "learned 1 of 3, at chance 1 of 3, diverged 1 of 3"
    assert cells(plain) == ["plain", "19", "glorot_uniform", "0.01", "0.500 ± 0.566 (2 of 3)", "", "1.000 ± 0.000", "0.467 ± 0.404", verdicts, "11", "12,345"]
    assert cells(batch_norm)[4:] == ["0.800 ± 0.100", "0.850 ± 0.100", "1.000 ± 0.000", "0.800 ± 0.100", "learned", "11", "12,345"]


def test_the_report_holds_command_claims_table_and_pictures(conducted):
    config = {"recipe": "deep_vgg", "flags": {"depth": [19], "width": 0.25, "dropout": 0.5, "data_dir": None}, "machines": [machine.described()]}
    [claim] = [one for one in deep_vgg.CLAIMS if one.name == "bn_trains_deep"]
    judged = [pair[:2] for pair in claims.judged([claim], conducted)]
    text = report.markdown(deep_vgg.RECIPE, conducted, config, judged, deep_vgg.RECIPE.pictures[:1], ["A note."])
    assert text.startswith(f"# {deep_vgg.RECIPE.question}\n\n`python -m recipes.deep_vgg --depth=19 --width=0.25 --dropout=0.5`\n\nNets: VGG of 19 layers, ")
    assert "Data: blobs, 50 training" in text
    assert "\n\nA note.\n" in text
    assert "![test accuracy over optimizer steps](curves.png)" in text
    assert judged[0][1].measured == "test accuracy: batch_norm 0.800 ± 0.100, plain 0.333 ± 0.493 (3 seeds)"
    assert judged[0][1].measured in text
    assert report.answer(judged).startswith(
        "* With batch normalisation, a deep net trains from random weights (Ioffe & Szegedy, sec. 1): not testable at this scale. test accuracy: "
    )


def test_a_net_that_fell_back_is_named(conducted):
    config = {"recipe": "deep_vgg", "flags": {"depth": [19], "width": 0.25, "dropout": 0.5}, "machines": [machine.described()]}
    conducted.results[0]["best_test_accuracy"] = 1.0
    text = report.markdown(deep_vgg.RECIPE, conducted, config, [], [])
    named = "plain, depth 19, glorot_uniform, learning rate 0.01, seed 0 (1.000)."
    assert f"At chance at the end, but above it in some record (best test accuracy): {named}\n" in text


def test_a_claim_whose_contestants_are_not_there_is_not_judged(conducted):
    assert deep_vgg.CLAIMS[0].evidence(conducted) is None


def test_evidence_is_one_number_a_seed_that_all_groups_have(conducted):
    groups = {one: {"contestant": one, "depth": 19} for one in CHOSEN}
    expected = {"plain": [0.1, 0.0, 0.9], "batch_norm": [0.8, 0.9, 0.7]}
    assert evidence.by_seed(groups, ["test_accuracy"], evidence.last_accuracy)(conducted) == expected
    missing = experiment.Experiment(conducted.trainings, conducted.results, conducted.table[conducted.table["run"] != "batch_norm-seed1"])
    assert evidence.by_seed(groups, ["test_accuracy"], evidence.last_accuracy)(missing) == {"plain": [0.1, 0.9], "batch_norm": [0.8, 0.7]}
    assert evidence.by_seed({"plain": {"contestant": "plain", "depth": 13}}, ["test_accuracy"])(conducted) is None
    assert evidence.by_seed({"plain": {"nosuch": 1}}, ["test_accuracy"])(conducted) is None


def test_pictures_show_every_contestant_with_mean_and_band(conducted, tmp_path):
    for picture in deep_vgg.RECIPE.pictures[:1]:
        assert pictures.save(picture, conducted, [], tmp_path)
        assert (tmp_path / f"{picture.name}.png").read_bytes().startswith(b"\x89PNG")
    figure = deep_vgg.ACCURACY(conducted)
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["plain", "batch_norm"]
    [axis] = figure.axes
    means = [line.get_xydata() for line in axis.get_lines() if line.get_linewidth() == 2.2]
    np.testing.assert_allclose(means[1], [[3, 0.8], [6, 0.8]])
    assert figure.get_suptitle().replace("\n", " ") == "plain: learned 1 of 3, at chance 1 of 3, diverged 1 of 3; batch_norm: learned"
    plt.close(figure)


def test_pictures_leave_the_look_of_others(conducted, tmp_path):
    before = dict(plt.rcParams)
    pictures.save(deep_vgg.RECIPE.pictures[0], conducted, [], tmp_path)
    assert dict(plt.rcParams) == before


def test_a_sweep_without_a_choice_is_not_drawn(conducted):
    assert deep_vgg.sweep(conducted) is None
    conducted.table["learning_rate"] = np.where(conducted.table["seed"] == 0, 0.1, conducted.table["learning_rate"])
    figure = deep_vgg.sweep(conducted)
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.100", "0.900", "0.800", "0.800"]
    plt.close(figure)


def test_more_contestants_than_a_palette_has_are_drawn():
    rows = [
        {"run": f"net{index}", "step": step, "quantity": "loss", "value": index + step, "contestant": f"net{index}", "seed": 0}
        for index in range(14)
        for step in (1, 2)
    ]
    figure = pictures.curves(pd.DataFrame(rows), "loss", "fourteen")
    assert len(figure.legends[0].get_texts()) == 14
    plt.close(figure)


def test_rows_of_layers_have_their_number():
    records = {"a": [{"step": 1, "variance_shift/ratio/02_batch_normalization": 2.0, "variance_shift/ratio_of_all": 3.0}]}
    [row] = tables.by_layer(tables.tidy(records, {"a": {"contestant": "plain", "seed": 0}}), "variance_shift/ratio").to_dict("records")
    assert (row["layer"], row["layer_number"], row["value"]) == ("02_batch_normalization", 2, 2.0)
