"""Starts several workers on this machine, and ends them all when one fails."""

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time

from recipes.frame.refusal import Refusal

PARENT = "RECIPES_PARENT"  # The process that started this one.
REFUSED = "error: "  # How the last line of a program begins that refuses what it was asked.
GRACE = 20  # Seconds that the others have to end by themselves behind one that failed.


def is_worker():
    """Whether this process is one of several already."""
    return "TF_CONFIG" in os.environ


def run(number, module, *arguments):
    """Runs a module as a program in several processes until all have ended; worker 0 prints.

    Args:
        number: of processes.
        module: its name.
        arguments: of the program.

    Raises:
        Refusal: a worker failed; the message holds the last line that it wrote.
    """
    command = [sys.executable, "-m", module, *arguments]
    outputs = [tempfile.TemporaryFile() for _ in range(number)]
    workers = []
    scratch = tempfile.TemporaryDirectory()  # For the files of workers that are killed, and delete nothing.
    try:
        for index, (output, config) in enumerate(zip(outputs, configurations(number))):
            environment = {**os.environ, "TF_CONFIG": config, "TMPDIR": scratch.name, PARENT: str(os.getpid())}
            workers.append(subprocess.Popen(command, env=environment, stdout=None if index == 0 else output, stderr=output))
        failed = _wait(workers)
    except KeyboardInterrupt:  # The terminal has interrupted the workers, too; the first says how to go on.
        _wait_for(workers, GRACE)
        sys.exit(130)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
        scratch.cleanup()
    if failed is None:
        print("".join(f"{line}\n" for line in _lines(outputs[0])), end="", file=sys.stderr)  # What worker 0 warned of.
        return
    said = (_lines(outputs[failed]) or ["it wrote nothing"])[-1]
    if said.startswith(REFUSED):
        raise Refusal(said.removeprefix(REFUSED))
    raise Refusal(f"worker {failed} ended with status {workers[failed].returncode}: {said.rstrip('.')}; the same command goes on where it was.")


def end_with_parent():
    """In a worker: ends it when the process that started it is gone."""
    parent = os.environ.get(PARENT)

    def watch():
        while os.getppid() == int(parent):
            time.sleep(1)
        os._exit(1)

    if parent:
        threading.Thread(target=watch, daemon=True).start()


def _wait(workers):
    """Until all have ended, or GRACE seconds behind the first that failed; returns its index, or None."""
    while True:
        ended = [worker.poll() for worker in workers]
        failed = next((index for index, status in enumerate(ended) if status), None)
        if failed is not None:
            _wait_for(workers, GRACE)
        if failed is not None or None not in ended:
            return failed
        time.sleep(0.1)


def _wait_for(workers, seconds):
    end = time.monotonic() + seconds
    while any(worker.poll() is None for worker in workers) and time.monotonic() < end:
        time.sleep(0.1)


def _lines(output):
    """What a worker wrote, without TensorFlow's log."""
    output.seek(0)
    lines = output.read().decode(errors="replace").splitlines()
    return [line for line in lines if line.strip() and not re.match(r"[IWEF]\d{4}\W|[IWEF]\d{4} |WARNING: All log messages", line)]


def configurations(number):
    """TF_CONFIG of each of some workers on free ports of this machine."""
    holders = [socket.socket() for _ in range(number)]
    for holder in holders:
        holder.bind(("localhost", 0))
    ports = [holder.getsockname()[1] for holder in holders]
    for holder in holders:
        holder.close()
    cluster = {"worker": [f"localhost:{port}" for port in ports]}
    return [json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}}) for index in range(number)]
