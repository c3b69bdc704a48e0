"""TensorBoard ticks none of more than 40 runs, so that its pages are empty: a folder with few of them."""

import os
import shutil

MOST_TICKED = 40
FOLDER = f"tensorboard_first_{MOST_TICKED}"


def folder_to_open(trainings, workdir):
    """The --logdir that shows something: all runs, or one with links to the first 40, seed by seed, made anew.

    Args:
        trainings: dict, name to `recipe.Training`.
        workdir: `workdir.Workdir`.
    """
    if len(trainings) <= MOST_TICKED:
        return workdir.tensorboard
    first = sorted(trainings, key=lambda name: trainings[name].hyperparameters["seed"])[:MOST_TICKED]
    folder = workdir.path / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in first:
        os.symlink(os.path.relpath(workdir.tensorboard / name, folder), folder / name, target_is_directory=True)
    return folder
