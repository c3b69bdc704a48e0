"""The folder of an experiment: its own or nobody's, one process at a time, extended by more of the same, and what to type to go on in it."""

import contextlib
import copy
import pathlib
import shlex
import sys

import filelock
import tensorflow as tf

from recipes.frame import commands, files, flags
from recipes.frame.refusal import Refusal

LOCK = "lock"
LENGTHS = *flags.LENGTHS, "linear_steps"  # Flags that may grow.
FREE = "data_dir", "jit_compile"  # Flags that may differ: the data are compared by their contents.


def merged(path, recipe, settings):
    """The settings of an experiment with what its folder holds already: lists become longer, epochs and steps more. What was not typed stays as it is there.

    Args:
        path: of the folder, which need not be there.
        recipe: `Recipe`.
        settings: namespace, as of `flags.parsed`.

    Returns:
        A namespace.

    Raises:
        Refusal: the folder is of another recipe, cannot be read, or the settings differ in what cannot be extended.
    """
    config = pathlib.Path(path) / "config.json"
    settings = copy.copy(settings)
    if not config.exists():
        return settings
    earlier = _read(config, recipe)["flags"]
    lists = {flag.name for flag in recipe.axes.values()}
    retyped = {*flags.LENGTHS} if settings.typed & {*flags.LENGTHS} else set()  # By one of them, whichever it was before.
    differing = []
    for flag in recipe.flags:
        there, now = earlier.get(flag.name, flag.default), getattr(settings, flag.name)  # A flag that is newer than the folder had its default.
        if flag.name not in settings.typed | retyped:
            setattr(settings, flag.name, there)
        elif flag.name in lists:
            setattr(settings, flag.name, [*there, *(value for value in now if value not in there)])
        elif there != now and flag.name not in (*LENGTHS, *FREE):
            differing.append(f"--{flag.name} (there {there}, now {now})")
    if differing:
        extended = ", ".join(f"--{name}" for name in [*sorted(lists), *(flag.name for flag in recipe.flags if flag.name in LENGTHS)])
        raise Refusal(f"--workdir={path} was begun with other flags: {', '.join(differing)}; only {extended} can be extended: name another folder for others.")
    return settings


def _read(config, recipe):
    try:
        earlier = files.read_json(config)
        name, _, _, _ = earlier["recipe"], dict(earlier["flags"]), earlier["data"], [*earlier["machines"]]
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise Refusal(f"{config} is not of a recipe ({error!r}); repair it, or name a new or an empty folder.") from None
    if name != recipe.name:
        raise Refusal(f"--workdir={config.parent} is of the recipe {name}, not of {recipe.name}; name another folder.")
    return earlier


class Workdir:
    """The folder of one experiment; a context manager that keeps a second process out of it.

        config.json    the recipe, its flags, its data, the machines that it ran on
        flagfile       the flags, to be replayed with --flagfile
        runs/NAME/     of each training: config.json, checkpoint.npz, metrics.jsonl and, when it is finished, result.json
        tensorboard/   one TensorBoard run a training
        results.json, report.md, *.png

    Args:
        path: new, empty, or of an earlier call with the same recipe and data.
        recipe: `Recipe`.
        settings: namespace, from `merged`.
        data: dict, JSON-able, that tells data sets apart.
        machine: dict, JSON-able: what the numbers depend on beside the rest.

    Raises:
        Refusal: the folder holds something else or an experiment with other data, is in use, or cannot be written to.
    """

    def __init__(self, path, recipe, settings, data, machine):
        self.path, self.recipe, self.settings = pathlib.Path(path), recipe, settings
        self.config = {"recipe": recipe.name, "data": data, "machines": [machine]}

    def __enter__(self):
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = filelock.FileLock(self.path / LOCK)
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            raise Refusal(f"--workdir={self.path} is in use by another process; wait for it, or name another folder.") from None
        except FileExistsError:
            raise Refusal(f"--workdir={self.path} is a file; expected a folder, new or of an earlier run of this recipe.") from None
        except OSError as error:
            raise Refusal(f"--workdir={self.path} cannot be written to ({error.strerror}); name another folder.") from None
        try:
            self._check()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *_):
        self._lock.release()

    def _check(self):
        path = self.path / "config.json"
        if path.exists():
            earlier = _read(path, self.recipe)
            self.settings = merged(self.path, self.recipe, self.settings)  # Again, as another process may have extended it meanwhile.
            if earlier["data"] != self.config["data"]:
                raise Refusal(
                    f"--workdir={self.path} was begun with other data (there {earlier['data']}, now {self.config['data']}); name another folder for these."
                )
            self.config["machines"] = [*earlier["machines"], *(one for one in self.config["machines"] if one not in earlier["machines"])]
        elif any(entry.name != LOCK and not files.is_temporary(entry) for entry in self.path.iterdir()):
            raise Refusal(f"--workdir={self.path} holds files but no config.json, so it is not of this recipe; name a new or an empty folder.")
        self.config["flags"] = {flag.name: getattr(self.settings, flag.name) for flag in self.recipe.flags}  # As they are merged now.

    def begin(self):
        """Writes what the folder is for. Until then it is as it was."""
        files.write_json(self.path / "config.json", self.config)
        files.write(self.path / "flagfile", flags.flagfile(self.recipe, self.settings))

    @property
    def tensorboard(self):
        return self.path / "tensorboard"

    @contextlib.contextmanager
    def resumable(self, data):
        """Around what may be interrupted: Ctrl-C, a full disk, a damaged image and the like end it with one sentence that says how to go on.

        Args:
            data: `images.Images` of the trainings.
        """
        path = shlex.quote(str(self.path))
        go_on = f"{commands.typed('python')} -m recipes.{self.recipe.name} --flagfile={path}/flagfile --workdir={path}"
        try:
            yield
        except KeyboardInterrupt:
            print(f"\nInterrupted; nothing up to the last record is lost. Go on with:\n    {go_on}", flush=True)
            sys.exit(130)
        except OSError as error:
            raise Refusal(f"{self.path} could not be read or written ({error}); make room or repair it, then go on with: {go_on}") from error
        except (tf.errors.InvalidArgumentError, tf.errors.NotFoundError, tf.errors.DataLossError) as error:
            damaged = data.first_unreadable()
            if damaged is None:
                raise
            raise Refusal(f"{damaged} is no image that can be read; put a readable one in its place, then go on with: {go_on}") from error
