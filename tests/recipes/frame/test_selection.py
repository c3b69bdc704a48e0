"""Few enough runs for TensorBoard to tick."""

import types

from recipes.frame import selection


def test_more_than_forty_runs_get_a_folder_with_the_first_forty_seed_by_seed(tmp_path):
    workdir = types.SimpleNamespace(path=tmp_path, tensorboard=tmp_path / "tensorboard")
    names = [f"{contestant}{seed}" for contestant in "abcde" for seed in range(10)]
    trainings = {name: types.SimpleNamespace(hyperparameters={"seed": int(name[1])}) for name in names}
    for name in names:
        (workdir.tensorboard / name).mkdir(parents=True)
        (workdir.tensorboard / name / "events").write_text(name)
    forty = dict(list(trainings.items())[:40])
    assert selection.folder_to_open(forty, workdir) == workdir.tensorboard
    for _ in range(2):
        folder = selection.folder_to_open(trainings, workdir)
        assert {path.name: (path / "events").read_text() for path in folder.iterdir()} == {name: name for name in names if int(name[1]) < 8}
