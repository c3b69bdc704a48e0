"""All that a training consists of, in one file: every variable of the net and of the optimizer, and what has been recorded so far."""

import contextlib
import io
import json
import zipfile

import numpy as np

from recipes.frame import files
from recipes.frame.refusal import Refusal


def _variables(net):
    """Trainable weights, moving statistics, the seeds of Dropout, the optimizer's slots and its step; not the metrics, which start anew with each record."""
    metrics = {id(variable) for variable in net.metrics_variables}
    return [variable for variable in net.variables if id(variable) not in metrics] + net.optimizer.variables


def save(path, net, records):
    """Writes the state of `net` and `records`, whole or not at all.

    Args:
        path: of the .npz file.
        net: compiled, its optimizer built.
        records: JSON-able.
    """
    arrays = {f"{index:04d}": variable.numpy() for index, variable in enumerate(_variables(net))}
    # By way of memory: an archive that is being written when the disk is full complains once more when Python 3.10 clears it away.
    archive = io.BytesIO()
    np.savez(archive, records=np.array(json.dumps(records, allow_nan=False)), **arrays)
    files.write(path, archive.getbuffer())


def read_records(path):
    """The `records` that a checkpoint was saved with."""
    with _opened(path) as file:
        return json.loads(file["records"].item())


def restore(path, net):
    """Sets every variable of `net` and of its optimizer to what the checkpoint holds.

    Raises:
        Refusal: the checkpoint is of another net. Nothing has been assigned then.
    """
    variables = _variables(net)
    with _opened(path) as file:
        arrays = [file[name] for name in sorted(file.files) if name != "records"]
    saved_shapes, expected = [array.shape for array in arrays], [tuple(variable.shape) for variable in variables]
    if saved_shapes != expected:
        raise Refusal(f"{path} holds {len(saved_shapes)} variables that do not fit the model's {len(expected)}: delete it to start that training over.")
    for variable, array in zip(variables, arrays):
        variable.assign(array)


@contextlib.contextmanager
def _opened(path):
    try:
        with np.load(path, allow_pickle=False) as file:
            yield file
    except (EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise Refusal(f"{path} cannot be read ({error}); delete it to start that training over.") from error
