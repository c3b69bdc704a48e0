"""The folder of an experiment: which experiment it belongs to, how it is extended, and what is refused."""

import pathlib
import sys

import pytest

from recipes import deep_vgg
from recipes.frame import commands, files, flags, workdir
from recipes.frame.recipe import Recipe
from recipes.frame.refusal import Refusal

OTHER = Recipe("other_recipe", "Another question?", deep_vgg.FLAGS, None, None, None)


def opened(path, *arguments, recipe=deep_vgg.RECIPE, data="digits"):
    return workdir.Workdir(path, recipe, workdir.merged(path, recipe, flags.parsed(recipe, arguments)), data, {"cores": 2})


def refusal(path, *arguments, **differing):
    with pytest.raises(Refusal) as caught:
        opened(path, *arguments, **differing).__enter__()
    return str(caught.value)


def test_a_new_folder_gets_the_flags(tmp_path):
    with opened(tmp_path / "a" / "b", "--epochs=3"):
        pass
    config = files.read_json(tmp_path / "a/b/config.json")
    assert (config["recipe"], config["data"], config["machine"]) == ("deep_vgg", "digits", {"cores": 2})
    assert config["flags"]["epochs"] == 3
    assert config["flags"].keys() == {flag.name for flag in deep_vgg.FLAGS}
    assert "--epochs=3\n" in (tmp_path / "a/b/flagfile").read_text()


def test_what_a_kill_at_the_beginning_leaves_is_taken_over(tmp_path):
    (tmp_path / "lock").touch()
    (tmp_path / ".config.json.tmp").write_text("{")
    with opened(tmp_path):
        pass
    (tmp_path / "flagfile").unlink()
    with opened(tmp_path):
        assert (tmp_path / "flagfile").exists()


def test_lists_and_lengths_are_extended(tmp_path):
    with opened(tmp_path, "--epochs=3", "--seeds=0", "--contestants=plain"):
        pass
    with opened(tmp_path, "--epochs=4", "--seeds=2,0", "--contestants=batch_norm") as folder:
        assert (folder.settings.epochs, folder.settings.seeds, folder.settings.contestants) == (4, [0, 2], ["plain", "batch_norm"])
    assert files.read_json(tmp_path / "config.json")["flags"]["seeds"] == [0, 2]
    assert "--seeds=0,2\n" in (tmp_path / "flagfile").read_text()


def test_what_cannot_be_extended_is_refused_by_name(tmp_path):
    with opened(tmp_path, "--width=0.25"):
        pass
    assert refusal(tmp_path, "--width=0.5", "--seeds=1") == (
        f"--workdir={tmp_path} was begun with other flags: --width (there 0.25, now 0.5); only --contestants, --depth, --initializers, --learning_rates, "
        "--seeds, --epochs, --steps can be extended: name another folder for others."
    )
    assert files.read_json(tmp_path / "config.json")["flags"]["seeds"] == [0]


def test_other_data_is_refused(tmp_path):
    with opened(tmp_path):
        pass
    expected = f"--workdir={tmp_path} was begun with other data (there digits, now mnist); name another folder for these."
    assert refusal(tmp_path, data="mnist") == expected


def test_folders_of_others_are_refused(tmp_path):
    (tmp_path / "file").touch()
    assert refusal(tmp_path / "file") == f"--workdir={tmp_path}/file is a file; expected a folder, new or of an earlier run of this recipe."
    expected = f"--workdir={tmp_path} holds files but no config.json, so it is not of this recipe; name a new or an empty folder."
    assert refusal(tmp_path) == expected
    assert {path.name for path in tmp_path.iterdir()} <= {"file", "lock"}
    with opened(tmp_path / "other", recipe=OTHER):
        pass
    assert refusal(tmp_path / "other") == f"--workdir={tmp_path}/other is of the recipe other_recipe, not of deep_vgg; name another folder."


@pytest.mark.parametrize("content", ["{", "[]", '{"recipe": "deep_vgg"}'])
def test_a_config_that_is_not_ours_is_refused(content, tmp_path):
    (tmp_path / "config.json").write_text(content)
    message = refusal(tmp_path)
    assert message.startswith(f"{tmp_path}/config.json is not of a recipe (")
    assert message.endswith("); repair it, or name a new or an empty folder.")


def test_a_folder_that_cannot_be_made_is_refused():
    assert refusal("/proc/new") == "--workdir=/proc/new cannot be written to (No such file or directory); name another folder."


def test_a_folder_in_use_is_refused(tmp_path):
    with opened(tmp_path):
        assert refusal(tmp_path) == f"--workdir={tmp_path} is in use by another process; wait for it, or name another folder."
    with opened(tmp_path):
        pass


def test_what_to_type_is_the_name_only_where_the_shell_finds_it(monkeypatch):
    ours = pathlib.Path(sys.executable).parent
    monkeypatch.setenv("PATH", str(ours))
    assert commands.typed("python") == "python"
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir(ours.parent)
    assert commands.typed("python") == "bin/python"
    assert commands.typed("no-such-program") == "no-such-program"
