"""The folder of an experiment: which experiment it belongs to, how it is extended, and what is refused."""

import pathlib
import sys
import types

import pytest
import tensorflow as tf

from recipes import deep_vgg
from recipes.frame import commands, files, flags, workdir
from recipes.frame.recipe import Recipe
from recipes.frame.refusal import Refusal

OTHER = Recipe("other_recipe", "Another question?", deep_vgg.FLAGS, None, None, None)


def opened(path, *arguments, recipe=deep_vgg.RECIPE, data="digits", cores=2):
    return workdir.Workdir(path, recipe, workdir.merged(path, recipe, flags.parsed(recipe, arguments)), data, {"cores": cores})


def begun(*arguments, **differing):
    with opened(*arguments, **differing) as folder:
        folder.begin()
    return folder


def refusal(path, *arguments, **differing):
    with pytest.raises(Refusal) as caught:
        opened(path, *arguments, **differing).__enter__()
    return str(caught.value)


def test_a_new_folder_gets_the_flags(tmp_path):
    begun(tmp_path / "a" / "b", "--epochs=3")
    config = files.read_json(tmp_path / "a/b/config.json")
    assert (config["recipe"], config["data"], config["machines"]) == ("deep_vgg", "digits", [{"cores": 2}])
    assert config["flags"]["epochs"] == 3
    assert config["flags"].keys() == {flag.name for flag in deep_vgg.RECIPE.flags}
    assert "--epochs=3\n" in (tmp_path / "a/b/flagfile").read_text()


def test_what_a_kill_at_the_beginning_leaves_is_taken_over(tmp_path):
    (tmp_path / "lock").touch()
    (tmp_path / ".config.json.tmp").write_text("{")
    begun(tmp_path)
    (tmp_path / "flagfile").unlink()
    begun(tmp_path)
    assert (tmp_path / "flagfile").exists()


def test_lists_and_lengths_are_extended(tmp_path):
    begun(tmp_path, "--epochs=3", "--seeds=0", "--contestants=plain")
    settings = begun(tmp_path, "--epochs=4", "--seeds=2,0", "--contestants=batch_norm").settings
    assert (settings.epochs, settings.seeds, settings.contestants) == (4, [0, 2], ["plain", "batch_norm"])
    assert files.read_json(tmp_path / "config.json")["flags"]["seeds"] == [0, 2]
    assert "--seeds=0,2\n" in (tmp_path / "flagfile").read_text()


def test_what_is_not_typed_stays_as_it_was(tmp_path):
    begun(tmp_path, "--seeds=5", "--width=0.5", "--contestants=plain", "--steps=7")
    settings = begun(tmp_path, "--learning_rates=0.3").settings
    assert (settings.seeds, settings.width, settings.contestants, settings.learning_rates) == ([5], 0.5, ["plain"], [0.01, 0.3])
    assert (settings.steps, settings.epochs) == (7, 24)


def test_a_length_replaces_the_other_one(tmp_path):
    begun(tmp_path, "--steps=7")
    assert begun(tmp_path, "--epochs=3").settings.steps is None
    assert begun(tmp_path, "--steps=900").settings.steps == 900


def test_machines_are_kept_in_order(tmp_path):
    begun(tmp_path)
    begun(tmp_path, cores=4)
    begun(tmp_path)
    assert files.read_json(tmp_path / "config.json")["machines"] == [{"cores": 2}, {"cores": 4}]


def test_a_folder_that_is_not_begun_stays_as_it_was(tmp_path):
    begun(tmp_path, "--seeds=1")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with opened(tmp_path, "--seeds=2"):
        pass
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_cannot_be_extended_is_refused_by_name(tmp_path):
    begun(tmp_path, "--width=0.25")
    assert refusal(tmp_path, "--width=0.5", "--seeds=1") == (
        f"--workdir={tmp_path} was begun with other flags: --width (there 0.25, now 0.5); only --contestants, --depth, --initializers, --learning_rates, "
        "--seeds, --epochs, --steps can be extended: name another folder for others."
    )
    assert files.read_json(tmp_path / "config.json")["flags"]["seeds"] == [0]


def test_other_data_is_refused(tmp_path):
    begun(tmp_path)
    expected = f"--workdir={tmp_path} was begun with other data (there digits, now mnist); name another folder for these."
    assert refusal(tmp_path, data="mnist") == expected


def test_folders_of_others_are_refused(tmp_path):
    (tmp_path / "file").touch()
    assert refusal(tmp_path / "file") == f"--workdir={tmp_path}/file is a file; expected a folder, new or of an earlier run of this recipe."
    expected = f"--workdir={tmp_path} holds files but no config.json, so it is not of this recipe; name a new or an empty folder."
    assert refusal(tmp_path) == expected
    assert {path.name for path in tmp_path.iterdir()} <= {"file", "lock"}
    begun(tmp_path / "other", recipe=OTHER)
    assert refusal(tmp_path / "other") == f"--workdir={tmp_path}/other is of the recipe other_recipe, not of deep_vgg; name another folder."


@pytest.mark.parametrize("content", ["{", "[]", '{"recipe": "deep_vgg"}'])
def test_a_config_that_is_not_ours_is_refused(content, tmp_path):
    (tmp_path / "config.json").write_text(content)
    message = refusal(tmp_path)
    assert message.startswith(f"{tmp_path}/config.json is not of a recipe (")
    assert message.endswith("); repair it, or name a new or an empty folder.")


def test_a_folder_that_cannot_be_made_is_refused():
    assert refusal("/proc/new") == "--workdir=/proc/new cannot be written to (No such file or directory); name another folder."


def test_a_damaged_image_is_named_with_how_to_go_on(tmp_path):
    data = types.SimpleNamespace(first_unreadable=lambda: "/images/7/a.png")
    folder = begun(tmp_path)
    with pytest.raises(Refusal, match=r"^/images/7/a.png is no image that can be read; put a readable one in its place, then go on with: "):
        with folder.resumable(data):
            raise tf.errors.InvalidArgumentError(None, None, "Unknown image file format")
    with pytest.raises(tf.errors.ResourceExhaustedError):
        with folder.resumable(types.SimpleNamespace(first_unreadable=lambda: None)):
            raise tf.errors.ResourceExhaustedError(None, None, "memory")


def test_a_folder_in_use_is_refused(tmp_path):
    with opened(tmp_path):
        assert refusal(tmp_path) == f"--workdir={tmp_path} is in use by another process; wait for it, or name another folder."
    begun(tmp_path)


def test_what_to_type_is_the_name_only_where_the_shell_finds_it(monkeypatch):
    ours = pathlib.Path(sys.executable).parent
    monkeypatch.setenv("PATH", str(ours))
    assert commands.typed("python") == "python"
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir(ours.parent)
    assert commands.typed("python") == "bin/python"
    assert commands.typed("no-such-program") == "no-such-program"
