"""An experiment: many trainings in one folder, that goes on where it was interrupted."""

import contextlib
import dataclasses
import gc
import json

import keras

from keras_bn import summaries
from recipes import files, training
from recipes.progress import Progress


@dataclasses.dataclass(frozen=True)
class Run:
    """One training of an experiment.

    name: of its folders, unlike the others'.
    hyperparameters: what may set it apart from the others, JSON-able: among them at least `contestant`, `seed` and `learning_rate`.
    phases: list of `training.Phase`.
    """

    name: str
    hyperparameters: dict
    phases: list


def named(hyperparameters):
    """A short name for each of some runs, such as plain-seed0: the contestant, and what is not the same in all of them.

    Args:
        hyperparameters: list of dicts, as `Run` has them.
    """
    differing = [name for name in hyperparameters[0] if len({run[name] for run in hyperparameters}) > 1 or name == "contestant"]
    return ["-".join(run[name] if isinstance(run[name], str) else f"{name}{run[name]}" for name in differing) for run in hyperparameters]


def conduct(runs, dataset, settings, workdir, domains):
    """Trains all runs that are not finished yet, one after the other.

    Args:
        runs: list of `Run`.
        dataset: `data.Dataset`.
        settings: `training.Settings`.
        workdir: `workdir.Workdir`, entered.
        domains: dict, hyperparameter's name to the list of its values, for TensorBoard's HParams dashboard.

    Returns:
        (results, curves), lists in the order of the runs. A result is a dict: the hyperparameters, test_accuracy (at the end; None if the run diverged),
        best_test_accuracy (of the last phase; None if no epoch of it ended well), verdict, steps, seconds, parameters. A curve is the run's list of records.
    """
    results, curves = [], []
    _write_hparams_layout(workdir, domains)
    with Progress(runs, settings.steps_per_phase(dataset), settings.epochs_per_phase(dataset)) as progress:
        for number, run in enumerate(runs, start=1):
            folder = workdir.path / "runs" / run.name
            folder.mkdir(parents=True, exist_ok=True)
            result_path = folder / "result.json"
            progress.begin(number, run)
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


def read_records(folder):
    """The records of a run's metrics.jsonl."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def verdict(records, dataset):
    """What became of a training, in one of three phrases.

    diverged: it met a loss that is not finite. stuck at chance: its test accuracy at the end is at most `dataset.chance_bound`. learned: neither.
    """
    if training.diverged(records):
        return "diverged"
    return "learned" if records[-1]["test_accuracy"] > dataset.chance_bound else "stuck at chance"


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
