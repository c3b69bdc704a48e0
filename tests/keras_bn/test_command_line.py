"""`python -m keras_bn`: what it writes, what it says, and what it refuses, leaving every file as it was."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

import keras_bn
from keras_bn.__main__ import main

RNG = np.random.default_rng(0)
X = RNG.normal(1, 2, (40, 6)).astype("float32")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """With a model, data of many kinds, and files that are none."""
    monkeypatch.chdir(tmp_path)
    model = keras.Sequential([keras.Input((6,), name="inputs"), layers.Dense(4, name="dense"), layers.BatchNormalization(name="normal"), layers.ReLU()])
    model.save("model.keras")
    model.save("model.h5")
    keras.Sequential([keras.Input((6,)), layers.Lambda(lambda x: x + 1), layers.BatchNormalization(), layers.Dense(1)]).save("code.keras")
    keras.Sequential([keras.Input((6,)), layers.Dense(1)], name="plain").save("plain.keras")
    np.savez("x.npz", x=X)
    np.savez("named.npz", inputs=X)
    np.savez("other.npz", images=X)
    np.savez("objects.npz", x=np.array([{}], dtype=object))
    (tmp_path / "broken.keras").write_bytes(b"no model")
    (tmp_path / "there.keras").write_bytes(b"kept")
    return tmp_path


def run(*arguments):
    return main(["keras-bn", *map(str, arguments)])


@pytest.mark.parametrize("model", ["model.keras", "model.h5"])
def test_tools_write_what_they_make(folder, model, capsys):
    original = keras.saving.load_model(folder / model)
    for tool, source, kind in (("convert", model, keras_bn.BatchNormalization), ("revert", "convert.keras", layers.BatchNormalization)):
        assert run(tool, source, f"--output={tool}.keras") == 0
        made = keras.saving.load_model(folder / f"{tool}.keras")
        assert type(made.get_layer("normal")) is kind
        np.testing.assert_allclose(made(X), original(X), rtol=1e-5, atol=1e-6)
    assert run("fold", model, "--output=folded.keras") == 0
    folded = keras.saving.load_model(folder / "folded.keras")
    assert [type(layer) for layer in folded.layers] == [layers.Dense, layers.ReLU]
    np.testing.assert_allclose(folded(X), original(X), rtol=1e-5, atol=1e-6)
    assert "normal  dense" in capsys.readouterr().out
    assert not [name for name in os.listdir(folder) if name.startswith(".")]


@pytest.mark.parametrize("data", ["x.npz", "named.npz"])
def test_recalibrate(folder, data, capsys):
    assert run("recalibrate", "model.keras", f"--data={data}", "--output=new.keras", "--format=json") == 0
    [change] = json.loads(capsys.readouterr().out)
    assert change.keys() == {"layer", "mean_shift", "variance_ratio"}
    model = keras.saving.load_model(folder / "new.keras")
    np.testing.assert_allclose(model.get_layer("normal").moving_mean, model.get_layer("dense")(X).numpy().mean(0), rtol=1e-5, atol=1e-6)


@pytest.fixture
def compiled(folder):
    """One whose statistics were never updated, and one that is right, with two inputs."""
    one, other = keras.Input((6,), name="one"), keras.Input((6,), name="other")
    x = layers.BatchNormalization(name="normal")(layers.Dense(4, use_bias=False)(keras.ops.concatenate([one, other], axis=-1)))
    model = keras.Model([one, other], layers.Dense(1, name="target")(x), name="two")
    model.compile("sgd", "mse", metrics=["mae"])
    data = RNG.normal(3, 2, (2, 400, 6)).astype("float32")
    np.savez("two.npz", one=data[0], other=data[1], target=np.ones((400, 1)))
    np.savez("xonly.npz", one=data[0], other=data[1])
    model.save("bad.keras")
    keras_bn.surgery.recalibrate(model, list(data), verbose=False)
    model.save("good.keras")
    return folder


@pytest.mark.parametrize("form", ["text", "markdown", "json"])
def test_diagnose(compiled, form, capsys):
    assert run("diagnose", "bad.keras", "--data=two.npz", f"--format={form}", "--output=report.json") == 2
    shown, written = capsys.readouterr().out, json.loads((compiled / "report.json").read_text())
    assert [(finding["layer"], finding["fault"]) for finding in written["findings"]] == [("normal", "never_updated")]
    assert written["evaluations"]["training mode"].keys() == {"loss", "mae"}
    assert {"text": "1. normal: never_updated", "markdown": "## 1. normal: never_updated", "json": '"fault": "never_updated"'}[form] in shown
    if form == "json":
        assert json.loads(shown) == written


def test_a_model_with_nothing_wrong_has_exit_status_0(compiled, capsys):
    assert run("diagnose", "good.keras", "--data=two.npz") == 0
    assert "two: nothing is wrong\n" in capsys.readouterr().out
    assert run("diagnose", "good.keras", "--data=xonly.npz") == 0
    assert "No losses were compared, as the data hold no targets." in " ".join(capsys.readouterr().out.split())


def test_options_of_convert(folder):
    assert run("convert", "model.keras", '--options={"momentum": null, "unbiased": true}', "--output=new.keras") == 0
    layer = keras.saving.load_model(folder / "new.keras").get_layer("normal")
    assert (layer.momentum, layer.unbiased) == (None, True)


@pytest.mark.parametrize(
    ("form", "shown"),
    [
        ("text", "layer   into   reason\nnormal  dense  -\n"),
        ("markdown", "| layer  | into  | reason |\n|--------|-------|--------|\n| normal | dense | -      |\n"),
    ],
)
def test_formats(folder, form, shown, capsys):
    assert run("foldable", "model.keras", f"--format={form}") == 0
    assert capsys.readouterr().out == shown


def test_code_is_loaded_if_it_is_trusted(folder):
    assert run("foldable", "code.keras", "--trust") == 0


def test_help(folder, capsys):
    assert run("--help") == 0
    shown = capsys.readouterr().out
    assert shown.startswith("keras-bn diagnose MODEL --data=XY.npz")
    assert "--[no]trust" in shown
    assert run() == 1


OUT = "--output=new.keras"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["diagnos", "model.keras"], "'diagnos' is no tool; expected diagnose, foldable, fold, convert, revert, recalibrate: see --help."),
        (["fold"], "fold received 0 files; expected one, the model."),
        (["fold", "model.keras", "--outputs=new.keras"], "Unknown command line flag 'outputs'. Did you mean: output ?; expected what --help shows."),
        (["fold", "no.keras", OUT], "no.keras is not there; expected a saved model."),
        (["fold", "x.npz", OUT], "x.npz is no model by its name; expected a file that ends in .keras, .h5, .hdf5: save it by model.save."),
        (["fold", "broken.keras", OUT], "broken.keras cannot be loaded ("),
        (
            ["fold", "code.keras", OUT],
            "code.keras holds code, in a Lambda layer, which may do anything; expected none: --trust loads it, if the file is your own.",
        ),
        (["fold", "model.keras"], "fold received no --output; expected the .keras file to write."),
        (["fold", "model.keras", "--output=new.h5"], "--output=new.h5 does not end in .keras; expected a file that does."),
        (["fold", "model.keras", "--output=model.keras"], "--output=model.keras is there already; expected a new file: choose another name."),
        (["fold", "model.keras", "--output=there.keras"], "--output=there.keras is there already; expected a new file: choose another name."),
        (["fold", "model.keras", "--output=no/new.keras"], "the folder of --output=no/new.keras is not there; expected one that is: make it."),
        (["fold", "plain.keras", OUT], "plain has no batch normalisation layer; expected one at least: there is nothing to fold."),
        (["fold", "model.keras", OUT, "--options={}1"], "--options={}1 is no JSON ("),
        (["fold", "model.keras", OUT, '--options={"momentum": 1}'], 'fold received --options={"momentum": 1}; expected none, as they are of convert.'),
        (["convert", "model.keras", OUT, '--options={"axis": 1}'], "`convert` received `axis`; expected options among momentum, "),
        (["diagnose", "model.keras"], "diagnose received no --data; expected an .npz file with the training inputs as `x`."),
        (["diagnose", "model.keras", "--data=x.npz", OUT], "--output=new.keras does not end in .txt, .md, .json, .png, .pdf, .svg; expected a file that does."),
        (["diagnose", "plain.keras", "--data=x.npz"], "plain has no batch normalisation layer; expected one at least: "),
        (["foldable", "model.keras", OUT], "foldable received --output=new.keras; expected none, as it writes nothing: leave it out."),
        (["recalibrate", "model.keras", OUT], "recalibrate received no --data; expected an .npz file with the training inputs as `x`."),
        (["recalibrate", "model.keras", OUT, "--data=no.npz"], "--data=no.npz cannot be read as .npz of numbers ("),
        (["recalibrate", "model.keras", OUT, "--data=objects.npz"], "--data=objects.npz cannot be read as .npz of numbers ("),
        (["recalibrate", "model.keras", OUT, "--data=other.npz"], "--data=other.npz holds images; expected `x`."),
        (["recalibrate", "plain.keras", OUT, "--data=x.npz"], "plain has no batch normalisation layer; expected one at least: "),
    ],
)
def test_refusals_leave_the_files_alone(folder, arguments, message, capsys):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert run(*arguments) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: {message}")
    assert said.endswith(".\n")
    assert said.count("\n") == 1
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_disk_that_is_full_leaves_nothing(folder, monkeypatch, capsys):
    def save(self, path):
        with open(path, "wb") as file:
            file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keras.Sequential, "save", save)
    assert run("fold", "model.keras", OUT) == 1
    assert capsys.readouterr().err == (
        "error: --output=new.keras cannot be written ([Errno 28] No space left on device); expected a folder with room for it.\n"
    )
    assert not [name for name in os.listdir(folder) if name.startswith(".") or name.startswith("new")]


def test_as_a_program(folder):
    process = subprocess.run([sys.executable, "-m", "keras_bn", "foldable", "model.keras", "--format=json"], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert json.loads(process.stdout) == [{"layer": "normal", "into": "dense", "reason": None}]
