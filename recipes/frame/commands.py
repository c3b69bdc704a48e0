"""What to type to run a program of this Python environment, activated or not."""

import os
import pathlib
import shlex
import shutil
import sys


def typed(program):
    """The program's name, if the shell finds the one of this environment by it, else its path: `.venv/bin/tensorboard`."""
    ours = pathlib.Path(sys.executable).parent / program
    on_path = shutil.which(program)
    if not ours.exists() or (on_path and os.path.samefile(on_path, ours)):
        return program
    relative = os.path.relpath(ours)
    return shlex.quote(str(ours) if relative.startswith("..") else relative)
