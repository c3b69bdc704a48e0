"""All that a training consists of, in one file: every variable of the model and of the optimizer, and what has been recorded so far."""

import contextlib
import io
import json
import zipfile

import numpy as np

from recipes import files
from recipes.refusal import Refusal


def _variables(model):
    """Trainable weights, moving statistics, the seeds of dropout, the optimizer's slots and its step; not the metrics, which start anew each epoch."""
    metrics = {id(variable) for variable in model.metrics_variables}
    return [variable for variable in model.variables if id(variable) not in metrics] + model.optimizer.variables


def save(path, model, progress):
    """Writes the state of `model` and `progress`, whole or not at all.

    Args:
        path: of the .npz file.
        model: compiled, its optimizer built.
        progress: JSON-able.
    """
    variables = _variables(model)
    arrays = {f"{index:04d}": variable.numpy() for index, variable in enumerate(variables)}
    progress = np.array(json.dumps(progress, allow_nan=False))
    # By way of memory: an archive that is being written when the disk is full complains once more when Python 3.10 clears it away.
    archive = io.BytesIO()
    np.savez(archive, progress=progress, **arrays)
    files.write(path, archive.getbuffer())


def read_progress(path):
    """The `progress` that a checkpoint was saved with."""
    with _opened(path) as file:
        return json.loads(file["progress"].item())


def restore(path, model):
    """Sets every variable of `model` and of its optimizer to what the checkpoint holds.

    Raises:
        Refusal: the checkpoint is of another model. Nothing has been assigned then.
    """
    variables = _variables(model)
    with _opened(path) as file:
        arrays = [file[name] for name in sorted(file.files) if name != "progress"]
    saved_shapes, expected = [array.shape for array in arrays], [tuple(variable.shape) for variable in variables]
    if saved_shapes != expected:
        raise Refusal(f"{path} holds {len(saved_shapes)} variables that do not fit the model's {len(expected)}: delete it to start that run over.")
    for variable, array in zip(variables, arrays):
        variable.assign(array)


@contextlib.contextmanager
def _opened(path):
    try:
        with np.load(path, allow_pickle=False) as file:
            yield file
    except (EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise Refusal(f"{path} cannot be read ({error}); delete it to start that run over.") from error
