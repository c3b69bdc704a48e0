"""What an experiment found, in words: tables of trainings and of claims."""

import itertools
import shlex
import statistics
import types

from tabulate import tabulate

from recipes.frame import flags
from recipes.frame.claims import mean_and_deviation
from recipes.frame.tasks import verdicts


def hyperparameters(experiment, run, without=()):
    """What of a training was chosen, as a tuple of (hyperparameter, value), but for the names in `without`."""
    return tuple((name, value) for name, value in experiment.trainings[run].hyperparameters.items() if name not in without)


def grouped(experiment, without=("seed",)):
    """The results that differ in nothing but the seed, together: a dict from a tuple of (hyperparameter, value) to the list of its results."""
    groups = {}
    for result in experiment.results:
        groups.setdefault(hyperparameters(experiment, result["run"], without), []).append(result)
    return groups


def described(key):
    """Some (hyperparameter, value) in words: "depth 19, he_normal, learning rate 0.01"."""
    return ", ".join(value if isinstance(value, str) else f"{name.replace('_', ' ')} {value}" for name, value in key)


def table(experiment):
    """The results as a table in Markdown: a row for each combination, mean and standard deviation (divisor N-1) over its seeds."""
    rows = []
    for key, group in grouped(experiment).items():
        columns = experiment.trainings[group[0]["run"]].task.columns
        measured = {heading: mean_and_deviation([result[name] for result in group]) for name, heading in columns.items()}
        rows.append(
            {
                **{name.replace("_", " "): value for name, value in key},
                **{heading: "" if text == "-" and "re-estimated" in heading else text for heading, text in measured.items()},
                "verdict": counted([result["verdict"] for result in group]),
                "seconds": f"{statistics.mean(result['seconds'] for result in group):.0f}",
                "parameters": f"{group[0]['parameters']:,}",
            }
        )
    return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True, missingval="")


def counted(given):
    """Verdicts of some seeds: "learned", or "learned 2 of 3, diverged 1 of 3"."""
    counts = {verdict: given.count(verdict) for verdict in sorted(set(given), key=lambda one: verdicts.ALL.index(verdicts.without_remark(one)))}
    return next(iter(counts)) if len(counts) == 1 else ", ".join(f"{verdict} {count} of {len(given)}" for verdict, count in counts.items())


def claims(judged):
    """The claims as a table in Markdown.

    Args:
        judged: list of (`recipe.Claim`, `claims.Judgement`).
    """
    rows = [{"claim": one.sentence, "source": one.source, "measured": said.measured, "verdict": f"{said.verdict}: {said.why}"} for one, said in judged]
    return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True)


def answer(judged):
    """The claims, a line each, for the terminal."""
    return "\n".join(f"* {one.sentence} ({one.source}): {said.verdict}. {said.measured}; {said.why}." for one, said in judged)


def markdown(recipe, experiment, config, judged, pictures, notes=()):
    """The whole report.

    Args:
        recipe: `recipe.Recipe`.
        experiment: `experiment.Experiment`.
        config: the work folder's config.json.
        judged: list of (`recipe.Claim`, `claims.Judgement`).
        pictures: list of `recipe.Picture`, those that were drawn.
        notes: sentences about what was left out.
    """
    given = " ".join(shlex.quote(f"--{name}={flags.written(value)}") for name, value in config["flags"].items() if value is not None)
    data = list(dict.fromkeys(one.data.in_words for one in experiment.trainings.values()))
    machines = " Then: ".join(
        f"{machine['cpu']}, {machine['cores']} cores, accelerators: {', '.join(machine['accelerators']) or 'none'}; {machine['system']}; "
        f"Python {machine['python']}, TensorFlow {machine['tensorflow']}, Keras {machine['keras']}, keras_bn {machine['keras_bn']}."
        for machine in config["machines"]
    )
    legends, remarks = [], []
    for task, of_task in itertools.groupby(experiment.results, lambda result: experiment.trainings[result["run"]].task):
        of_task = list(of_task)
        legends.append(task.legend(experiment.trainings[of_task[0]["run"]].data))
        named = [(described(hyperparameters(experiment, result["run"])), result) for result in of_task]
        remarks += task.remarks(named, experiment.trainings[of_task[0]["run"]].data)
    seconds = "Seconds are of training, evaluation and measurements at the end, mean over the seeds."
    parts = [
        f"# {recipe.question}",
        f"`python -m recipes.{recipe.name} {given}`",
        f"Nets: {recipe.nets(types.SimpleNamespace(**config['flags']))}. Data: {'; '.join(data)}.",
        f"Machine: {machines}",
        *([claims(judged)] if judged else []),
        *(f"![{picture.shows}]({picture.name}.png)" for picture in pictures[:1]),
        table(experiment),
        *dict.fromkeys(legends),
        seconds,
        *dict.fromkeys(remarks),
        *notes,
        *(f"![{picture.shows}]({picture.name}.png)" for picture in pictures[1:]),
    ]
    return "\n\n".join(parts) + "\n"
