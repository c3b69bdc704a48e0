"""The folder of an experiment: which experiment it belongs to, and what is refused."""

import pathlib
import sys

import pytest

from recipes import commands, files, workdir
from recipes.refusal import Refusal


def opened(path, recipe="deep_vgg", data="digits", **flags):
    return workdir.Workdir(path, recipe=recipe, flags=flags, flagfile="--epochs=3\n", data=data, machine={"cores": 2})


def refusal(folder):
    with pytest.raises(Refusal) as caught:
        folder.__enter__()
    return str(caught.value)


def test_a_new_folder_gets_the_flags(tmp_path):
    with opened(tmp_path / "a" / "b", epochs=3):
        pass
    assert files.read_json(tmp_path / "a/b/config.json") == {"recipe": "deep_vgg", "flags": {"epochs": 3}, "data": "digits", "machine": {"cores": 2}}
    assert (tmp_path / "a/b/flagfile").read_text() == "--epochs=3\n"


def test_what_a_kill_at_the_beginning_leaves_is_taken_over(tmp_path):
    (tmp_path / "lock").touch()
    (tmp_path / ".config.json.tmp").write_text("{")
    with opened(tmp_path):
        pass
    (tmp_path / "flagfile").unlink()
    with opened(tmp_path):
        assert (tmp_path / "flagfile").exists()


def test_other_flags_are_refused_by_name(tmp_path):
    with opened(tmp_path, epochs=3, seeds=[0], width=0.25):
        pass
    assert refusal(opened(tmp_path, epochs=4, seeds=[0, 1], width=0.25)) == (
        f"--workdir={tmp_path} was begun with other flags: --epochs (there 3, now 4), --seeds (there [0], now [0, 1]); use those again, or name another folder."
    )


def test_other_data_is_refused(tmp_path):
    with opened(tmp_path):
        pass
    expected = f"--workdir={tmp_path} was begun with other data (there digits, now mnist); name another folder."
    assert refusal(opened(tmp_path, data="mnist")) == expected


def test_folders_of_others_are_refused(tmp_path):
    (tmp_path / "file").touch()
    assert refusal(opened(tmp_path / "file")) == f"--workdir={tmp_path}/file is a file; expected a folder, new or of an earlier run of this recipe."
    expected = f"--workdir={tmp_path} holds files but no config.json, so it is not of this recipe; name a new or an empty folder."
    assert refusal(opened(tmp_path)) == expected
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    with opened(tmp_path / "other", recipe="other_recipe"):
        pass
    assert refusal(opened(tmp_path / "other")) == f"--workdir={tmp_path}/other is of the recipe other_recipe, not of deep_vgg; name another folder."


@pytest.mark.parametrize("content", ["{", "[]", '{"recipe": "deep_vgg"}'])
def test_a_config_that_is_not_ours_is_refused(content, tmp_path):
    (tmp_path / "config.json").write_text(content)
    message = refusal(opened(tmp_path))
    assert message.startswith(f"{tmp_path}/config.json is not of a recipe (")
    assert message.endswith("); mend it, or name a new or an empty folder.")


def test_a_folder_that_cannot_be_made_is_refused():
    assert refusal(opened("/proc/new")) == "--workdir=/proc/new cannot be written to (No such file or directory); name another folder."


def test_a_folder_in_use_is_refused(tmp_path):
    with opened(tmp_path):
        assert refusal(opened(tmp_path)) == f"--workdir={tmp_path} is in use by another process; wait for it, or name another folder."
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
