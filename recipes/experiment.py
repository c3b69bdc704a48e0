"""An experiment: many trainings in one folder, that goes on where it was interrupted."""

import contextlib
import dataclasses
import fcntl
import gc
import json
import os
import pathlib
import platform
import sys

import keras
import tensorflow as tf
from tqdm import tqdm

import keras_bn
from keras_bn import summaries
from recipes import files, training
from recipes.refusal import Refusal


@dataclasses.dataclass(frozen=True)
class Run:
    """One training of an experiment.

    hyperparameters: what sets it apart from the others, JSON-able: among them at least `seed` and `learning_rate`.
    phases: list of `training.Phase`.
    """

    hyperparameters: dict
    phases: list

    @property
    def name(self):
        """Such as plain-depth19-seed0: values, and where they are numbers what they are of."""
        return "-".join(value if isinstance(value, str) else f"{name}{value}" for name, value in self.hyperparameters.items())


class Workdir:
    """The folder of one experiment; a context manager that keeps a second process out of it.

        config.json    the recipe, its flags, the machine
        flagfile       the flags, to be replayed with --flagfile
        runs/NAME/     config.json, checkpoint.npz, metrics.jsonl and, when it is finished, result.json
        tensorboard/   one folder a run, with the TensorBoard runs `train` and `validation` in it
        results.json, report.md, *.png

    Args:
        path: new, empty, or of an earlier call with the same recipe and flags.
        recipe: its name.
        flag_values: dict, name to JSON-able value.
        flagfile: str, the same as lines of --name=value.

    Raises:
        Refusal: the folder holds something else, an experiment with other flags (the message names them), or is in use.
    """

    def __init__(self, path, recipe, flag_values, flagfile):
        self.path = pathlib.Path(path)
        self.recipe, self.flag_values, self.flagfile = recipe, flag_values, flagfile

    def __enter__(self):
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise Refusal(f"--workdir={self.path} is a file; expected a folder, new or of an earlier run of this recipe.") from None
        except OSError as error:
            raise Refusal(f"--workdir={self.path} cannot be made ({error.strerror}); name a folder that can be written to.") from None
        config_path = self.path / "config.json"
        if config_path.exists():
            try:
                config = files.read_json(config_path)
            except ValueError as error:
                raise Refusal(f"{config_path} is no JSON ({error}); mend it, or name a new or an empty folder.") from None
            self._compare(config)
        elif any(path.name != "lock" for path in self.path.iterdir()):
            raise Refusal(f"--workdir={self.path} holds files but no config.json, so it is not of this recipe; name a new or an empty folder.")
        self._lock = open(self.path / "lock", "w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise Refusal(f"--workdir={self.path} is in use by another process; wait for it, or name another folder.") from None
        if not config_path.exists():
            files.write(self.path / "flagfile", self.flagfile)
            files.write_json(config_path, {"recipe": self.recipe, "flags": self.flag_values, "machine": machine()})
        return self

    def __exit__(self, *_):
        self._lock.close()

    def _compare(self, config):
        if config["recipe"] != self.recipe:
            raise Refusal(f"--workdir={self.path} is of the recipe {config['recipe']}, not of {self.recipe}; name another folder.")
        before = config["flags"]
        differing = [name for name in {**before, **self.flag_values} if before.get(name) != self.flag_values.get(name)]
        if differing:
            listed = ", ".join(f"--{name} (there {before.get(name)}, now {self.flag_values.get(name)})" for name in differing)
            raise Refusal(f"--workdir={self.path} was begun with other flags: {listed}; use those again, or name another folder.")

    @property
    def tensorboard(self):
        return self.path / "tensorboard"

    @property
    def config(self):
        return files.read_json(self.path / "config.json")


def machine():
    """What a number depends on, beside the flags."""
    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "accelerators": [device.name for device in tf.config.list_physical_devices() if device.device_type != "CPU"],
        "system": platform.platform(),
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "keras_bn": keras_bn.__version__,
    }


def _cpu_name():
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def conduct(runs, dataset, settings, workdir, domains):
    """Trains all runs that are not finished yet, one after the other.

    Args:
        runs: list of `Run`.
        dataset: `data.Dataset`.
        settings: `training.Settings`.
        workdir: `Workdir`, entered.
        domains: dict, hyperparameter's name to the list of its values, for TensorBoard's HParams dashboard.

    Returns:
        (results, curves), lists in the order of the runs. A result is a dict: the hyperparameters, test_accuracy (at the end; None if the run diverged),
        best_test_accuracy (None if it did so in its first epoch), verdict, steps, seconds, parameters. A curve is the run's list of records.
    """
    if not settings.steps_per_epoch(dataset):
        raise Refusal(f"--batch_size={settings.batch_size} is more than the {len(dataset.y_train)} training images; choose a smaller one.")
    results, curves = [], []
    _write_hparams_layout(workdir, domains)
    with _Progress(runs, settings.steps_per_phase(dataset), settings.epochs_per_phase(dataset)) as progress:
        for place, run in enumerate(runs, start=1):
            folder = workdir.path / "runs" / run.name
            folder.mkdir(parents=True, exist_ok=True)
            result_path = folder / "result.json"
            progress.begin(place, run)
            if result_path.exists():
                result, records = files.read_json(result_path), read_records(folder)
                progress.end(f"{_described(result)} (finished earlier)")
            else:
                files.write_json(folder / "config.json", {**run.hyperparameters, **dataclasses.asdict(settings), "dataset": dataset.name})
                result, records = _train(run, dataset, settings, folder, workdir.tensorboard / run.name, progress)
                files.write_json(result_path, result)
                progress.end(_described(result))
            results.append(result)
            curves.append(records)
            files.write_json(workdir.path / "results.json", results)
    return results, curves


@contextlib.contextmanager
def resumable(workdir):
    """Around what may be interrupted: Ctrl-C and a full disk end it with one sentence that says how to go on."""
    go_on = f"python -m recipes.{workdir.recipe} --flagfile={workdir.path / 'flagfile'} --workdir={workdir.path}"
    try:
        yield
    except KeyboardInterrupt:
        print(f"\nInterrupted; nothing up to the last finished epoch is lost. Go on with:\n    {go_on}", flush=True)
        sys.exit(130)
    except (OSError, tf.errors.OpError) as error:
        raise Refusal(f"{workdir.path} could not be read or written ({error}); make room or mend it, then go on with: {go_on}") from error


def read_records(folder):
    """The records of a run's metrics.jsonl."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def verdict(records, dataset):
    """What became of a training, in one of three phrases.

    diverged: it met a loss that is not finite. stuck at chance: its best test accuracy of all epochs is at most `dataset.chance_bound`. learned: neither.
    """
    if training.diverged(records):
        return "diverged"
    return "learned" if max(record["test_accuracy"] for record in records) > dataset.chance_bound else "stuck at chance"


def _train(run, dataset, settings, folder, log_dir, progress):
    keras.backend.clear_session()
    gc.collect()
    hyperparameters = run.hyperparameters
    records, model = training.train(
        run.phases,
        dataset,
        settings,
        seed=hyperparameters["seed"],
        learning_rate=hyperparameters["learning_rate"],
        folder=folder,
        log_dir=log_dir,
        progress=progress,
    )
    # The last phase's network is the one in question; what an earlier phase reached counts for its time only.
    of_last_phase = [record for record in records if record["phase"] == run.phases[-1].name]
    accuracies = [record["test_accuracy"] for record in of_last_phase if record["test_accuracy"] is not None]
    result = {
        **hyperparameters,
        "test_accuracy": None if training.diverged(records) else accuracies[-1],
        "best_test_accuracy": max(accuracies, default=None),
        "verdict": verdict(of_last_phase or records, dataset),
        "steps": records[-1]["step"],
        "seconds": round(sum(record["seconds"] for record in records), 1),
        "parameters": model.count_params(),
    }
    with contextlib.closing(summaries.writer(log_dir)) as writer:
        scalars = {name: result[name] for name in ("test_accuracy", "best_test_accuracy") if result[name] is not None}
        summaries.write_scalars(writer, result["steps"], scalars)
        summaries.write_hparams(writer, hyperparameters)
    return result, records


def _write_hparams_layout(workdir, domains):
    for path in workdir.tensorboard.glob("events.out.tfevents.*"):
        path.unlink()
    summaries.write_hparams_layout(workdir.tensorboard, domains, {"test_accuracy": "test accuracy", "best_test_accuracy": "best test accuracy"})


def _described(result):
    accuracy = "" if result["test_accuracy"] is None else f", test accuracy {result['test_accuracy']:.3f}"
    return f"{result['verdict']}{accuracy}, {result['seconds']:.0f} s"


class _Progress:
    """The terminal: which run of how many, its epoch, the time left; one line stays for every run that is done."""

    def __init__(self, runs, steps_per_phase, epochs_per_phase):
        self.runs, self.steps_per_phase, self.epochs_per_phase = runs, steps_per_phase, epochs_per_phase
        self.live = sys.stdout.isatty()  # A file or a pipe gets a line now and then.

    def __enter__(self):
        total = sum(len(run.phases) for run in self.runs) * self.steps_per_phase
        self.bar = tqdm(
            total=total,
            unit="step",
            file=sys.stdout,
            dynamic_ncols=True,
            mininterval=0.2 if self.live else 30,
            bar_format="{percentage:3.0f}% |{bar:20}| {elapsed} gone, {remaining} left, {desc}",
        )
        return self

    def __exit__(self, *_):
        self.bar.close()

    def begin(self, place, run):
        self.place, self.name = f"run {place}/{len(self.runs)}", run.name
        self.end_of_run = sum(len(earlier.phases) for earlier in self.runs[:place]) * self.steps_per_phase
        self.bar.set_description_str(f"{self.place}: {self.name}", refresh=self.live)

    def step(self):
        self.bar.update()

    def skip(self, number):
        """Steps that are not taken now: they count as done, but not for the speed that the time left is reckoned by."""
        self.bar.initial += number
        self.bar.last_print_n += number
        self.bar.n += number

    def epoch(self, record):
        reached = "diverged" if record["loss"] is None else f"test accuracy {record['test_accuracy']:.3f}"
        epoch = f"{record['phase']} net, epoch {record['epoch']}/{self.epochs_per_phase}"
        self.bar.set_description_str(f"{self.place}, {epoch}, {reached}: {self.name}", refresh=self.live)

    def end(self, outcome):
        self.skip(self.end_of_run - self.bar.n)  # What a diverged or an already finished run does not take.
        self.bar.write(f"{self.place}: {self.name}: {outcome}", file=sys.stdout)
