"""An experiment: many trainings in one folder, that goes on where it was interrupted."""

import dataclasses
from typing import Any

import pandas as pd

from keras_bn import summaries
from recipes.frame import files, tables, training
from recipes.frame.progress import Progress
from recipes.frame.recipe import SHORT
from recipes.frame.records import has_diverged
from recipes.frame.refusal import Refusal


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What the trainings of an experiment left.

    trainings: dict, name to `recipe.Training`.
    results: list of dicts: run (its name), the hyperparameters, what the task says of it, verdict, steps, seconds, parameters.
    table: as of `tables.tidy`.
    usual: dict, hyperparameter to the recipe's default where that is one value.
    """

    trainings: dict[str, Any]
    results: list[dict]
    table: pd.DataFrame
    usual: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def hyperparameters(self):
        """Their names."""
        return list(dict.fromkeys(name for one in self.trainings.values() for name in one.hyperparameters))

    @property
    def data(self):
        """Of the first training."""
        return next(iter(self.trainings.values())).data


def named(recipe, trainings):
    """Name -> training, those that others start from in front of them."""
    ordered = {}

    def add(one):
        if one.start is not None:
            add(one.start)
        ordered.setdefault(recipe.training_name(one.hyperparameters), one)

    for one in trainings:
        add(one)
    return ordered


def conduct(recipe, trainings, workdir, distribution=training.ONE_DEVICE):
    """Trains all that is not finished yet, one after the other.

    Args:
        recipe: `recipe.Recipe`.
        trainings: dict, from `named`.
        workdir: `workdir.Workdir`, entered.
        distribution: `distribution.Distribution`.

    Returns:
        `Experiment`.
    """
    results, records = {}, {}
    _refuse_what_cannot_be_extended(trainings, workdir)
    workdir.begin()
    with Progress([one.steps for one in trainings.values()]) as progress:
        for number, (name, one) in enumerate(trainings.items(), start=1):
            folder = workdir.path / "runs" / name
            folder.mkdir(parents=True, exist_ok=True)
            progress.begin(number, name, one.task.score)
            finished = _finished(folder, one)
            if finished is None:
                finished = _train(name, one, trainings, workdir, progress, distribution)
                progress.end(_described(one.task, finished[0]))
            else:
                progress.end(f"{_described(one.task, finished[0])} (finished earlier)")
            results[name], records[name] = finished
    _add_verdicts(trainings, results, records)
    _write_hparams(trainings, results, workdir)
    hyperparameters = {name: one.hyperparameters for name, one in trainings.items()}
    return Experiment(trainings, [{"run": name, **result} for name, result in results.items()], tables.tidy(records, hyperparameters), recipe.usual)


def earlier_steps(trainings, workdir):
    """dict, from the name of a training to the optimizer steps of which records are there."""
    folders = {name: workdir.path / "runs" / name for name in trainings}
    return {name: training.earlier_step(folder) for name, folder in folders.items()}


def _train(name, one, trainings, workdir, progress, distribution):
    folder = workdir.path / "runs" / name
    files.write_json(folder / "config.json", {**one.hyperparameters, "batch_size": one.batch_size, "steps": one.steps})

    def net_of_start():
        if one.start is None:
            return None
        [start] = [name for name, other in trainings.items() if other is one.start]
        return training.restored(one.start, workdir.path / "runs" / start, distribution)

    records, net = training.train(one, folder, workdir.tensorboard / name, progress, net_of_start, distribution)
    result = {
        **one.hyperparameters,
        **one.task.result(records),
        "steps": records[-1]["step"],
        "seconds": round(sum(record.get("seconds", 0) for record in records), 1),
        "parameters": one.task.parameters(net),
    }
    files.write_json(folder / "result.json", result)
    return result, records


def _finished(folder, one):
    """(result, records) of a training that is finished, None of one that is to be trained.

    Raises:
        Refusal: a file that cannot be read.
    """
    path = folder / "result.json"
    if not path.exists():
        return None
    try:
        result = files.read_json(path)
        expected = {*one.hyperparameters, *one.task.columns, "steps", "seconds", "parameters"}
        if not isinstance(result, dict) or expected - result.keys():
            raise KeyError(", ".join(sorted(expected - set(result))))
    except (ValueError, KeyError, OSError) as error:
        raise Refusal(f"{path} is not what a finished training leaves ({error!r}); delete it, and the same command makes it from the checkpoint.") from None
    try:
        records = training.read_records(folder)
        if not all(isinstance(record["step"], int) for record in records) or not records:
            raise ValueError("no records")
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise Refusal(
            f"{folder / 'metrics.jsonl'} is not what a finished training leaves ({error!r}); "
            f"delete {path}, and the same command makes both from the checkpoint."
        ) from None
    is_whole = result["steps"] == one.steps or has_diverged(records)
    return (result, records) if is_whole else None


def _refuse_what_cannot_be_extended(trainings, workdir):
    """Raises a Refusal where a finished training is longer than it is to be, or is to be longer and others start from it or it from others."""
    starts = {id(one.start) for one in trainings.values()}
    for name, one in trainings.items():
        path = workdir.path / "runs" / name / "config.json"
        if not path.exists():
            continue
        try:
            there = int(files.read_json(path)["steps"])
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise Refusal(f"{path} is not what a training leaves ({error!r}); delete it, and the same command writes it again.") from None
        if there > one.steps:
            raise Refusal(
                f"{workdir.path} holds {name} with {there} steps, more than the {one.steps} asked for; expected as many or more: name another folder for fewer."
            )
        if there < one.steps and (one.start is not None or id(one) in starts):
            raise Refusal(
                f"{workdir.path} holds {name} with {there} steps, {one.steps} are asked for, and a net that grows from another one's end cannot be trained on; "
                "expected the same number of steps: name another folder for more."
            )


def _add_verdicts(trainings, results, records):
    """Those of the trainings on the same data and with the same task set the measure for each other."""
    groups = {}
    for name, one in trainings.items():
        groups.setdefault((id(one.data), one.task.score), []).append(name)
    for names in groups.values():
        first = trainings[names[0]]
        verdicts = first.task.verdicts([results[name] for name in names], [records[name] for name in names], first.data)
        for name, verdict in zip(names, verdicts):
            results[name] = {**results[name], "verdict": verdict}


def _write_hparams(trainings, results, workdir):
    """One row a training, with its verdict; whatever an earlier call wrote is replaced."""
    rows = {
        name: {SHORT.get(key, key): value for key, value in {**one.hyperparameters, "verdict": results[name]["verdict"]}.items()}
        for name, one in trainings.items()
    }
    columns = dict.fromkeys(column for row in rows.values() for column in row)
    domains = {column: list(dict.fromkeys(row[column] for row in rows.values() if column in row)) for column in columns}
    metrics = {one.task.score: one.task.score.replace("_", " ") for one in trainings.values()}
    for number, (name, row) in enumerate(rows.items()):
        summaries.write_hparams(workdir.tensorboard / name, row, layout=(domains, metrics) if number == 0 else None)


def _described(task, result):
    value = result[task.score]
    reached = "diverged" if value is None else f"{task.score.replace('_', ' ')} {value:.4g}"
    return f"{reached}, {result['seconds']:.0f} s"
