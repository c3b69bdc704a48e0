"""Starts the workers of a `tf.distribute.MultiWorkerMirroredStrategy` as processes of this machine, within bounds of time."""

import os
import subprocess
import sys

from recipes.frame import launch

SECONDS = 400  # Several times what a quiet machine takes.


def run(program, *arguments, number=2, seconds=SECONDS):
    """Runs a Python program once for each worker, with TF_CONFIG set, until all have ended.

    Args:
        program: path of the program.
        arguments: of each of the processes.
        number: of workers.
        seconds: after which all are killed, which is an error.

    Returns:
        What each has printed.

    Raises:
        AssertionError: a worker failed; the message is the end of its error output.
    """
    processes = [
        subprocess.Popen(
            [sys.executable, str(program), *map(str, arguments)],
            env={**os.environ, "TF_CONFIG": config, "TF_CPP_MIN_LOG_LEVEL": "3"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for config in launch.configurations(number)
    ]
    try:
        outcomes = [process.communicate(timeout=seconds) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    for process, (_, errors) in zip(processes, outcomes):
        assert process.returncode == 0, errors[-2000:]
    return [printed for printed, _ in outcomes]
