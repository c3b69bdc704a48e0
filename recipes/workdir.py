"""The folder of an experiment: its own or nobody's, one process at a time, and what to type to go on in it."""

import contextlib
import fcntl
import pathlib
import shlex
import sys

from recipes import commands, files
from recipes.refusal import Refusal

LOCK = "lock"


class Workdir:
    """The folder of one experiment; a context manager that keeps a second process out of it.

        config.json    the recipe, its flags, its data, the machine
        flagfile       the flags, to be replayed with --flagfile
        runs/NAME/     config.json, checkpoint.npz, metrics.jsonl and, when it is finished, result.json
        tensorboard/   one folder a run, with the TensorBoard runs `train` and `validation` in it
        results.json, report.md, *.png

    Args:
        path: new, empty, or of an earlier call with the same recipe, flags and data.
        recipe: its name.
        flags: dict, name to JSON-able value.
        flagfile: str, the same as lines of --name=value.
        data: dict, JSON-able, that tells data sets apart.
        machine: dict, JSON-able: what the numbers depend on beside the rest.

    Raises:
        Refusal: the folder holds something else, an experiment with other flags (the message names them) or data, is in use, or cannot be written to.
    """

    def __init__(self, path, *, recipe, flags, flagfile, data, machine):
        self.path = pathlib.Path(path)
        self.flagfile = flagfile
        self.config = {"recipe": recipe, "flags": flags, "data": data, "machine": machine}

    def __enter__(self):
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = open(self.path / LOCK, "w")
        except FileExistsError:
            raise Refusal(f"--workdir={self.path} is a file; expected a folder, new or of an earlier run of this recipe.") from None
        except OSError as error:
            raise Refusal(f"--workdir={self.path} cannot be written to ({error.strerror}); name another folder.") from None
        try:
            self._take()
        except BaseException:
            self._lock.close()
            raise
        return self

    def __exit__(self, *_):
        self._lock.close()

    def _take(self):
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refusal(f"--workdir={self.path} is in use by another process; wait for it, or name another folder.") from None
        path = self.path / "config.json"
        if path.exists():
            self._compare(path)
        elif any(entry.name != LOCK and not files.is_temporary(entry) for entry in self.path.iterdir()):
            (self.path / LOCK).unlink()
            raise Refusal(f"--workdir={self.path} holds files but no config.json, so it is not of this recipe; name a new or an empty folder.")
        else:
            files.write_json(path, self.config)
        files.write(self.path / "flagfile", self.flagfile)

    def _compare(self, path):
        try:
            earlier = files.read_json(path)
            recipe, flags, data = earlier["recipe"], earlier["flags"], earlier["data"]
        except (ValueError, KeyError, TypeError) as error:
            raise Refusal(f"{path} is not of a recipe ({error!r}); mend it, or name a new or an empty folder.") from None
        if recipe != self.config["recipe"]:
            raise Refusal(f"--workdir={self.path} is of the recipe {recipe}, not of {self.config['recipe']}; name another folder.")
        now = self.config["flags"]
        differing = [f"--{name} (there {flags.get(name)}, now {now.get(name)})" for name in {**flags, **now} if flags.get(name) != now.get(name)]
        if differing:
            raise Refusal(f"--workdir={self.path} was begun with other flags: {', '.join(differing)}; use those again, or name another folder.")
        if data != self.config["data"]:
            raise Refusal(f"--workdir={self.path} was begun with other data (there {data}, now {self.config['data']}); name another folder.")
        self.config["machine"] = earlier["machine"]

    @property
    def tensorboard(self):
        return self.path / "tensorboard"

    @contextlib.contextmanager
    def resumable(self):
        """Around what may be interrupted: Ctrl-C, a full disk and the like end it with one sentence that says how to go on."""
        path = shlex.quote(str(self.path))
        go_on = f"{commands.typed('python')} -m recipes.{self.config['recipe']} --flagfile={path}/flagfile --workdir={path}"
        try:
            yield
        except KeyboardInterrupt:
            print(f"\nInterrupted; nothing up to the last finished epoch is lost. Go on with:\n    {go_on}", flush=True)
            sys.exit(130)
        except OSError as error:
            raise Refusal(f"{self.path} could not be read or written ({error}); make room or mend it, then go on with: {go_on}") from error
