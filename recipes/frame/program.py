"""A recipe from the command line to its report."""

import datetime
import shlex
import sys

from recipes.frame import commands, files, flags, quiet
from recipes.frame.refusal import Refusal

PLACES = "workdir", "data_dir"  # Flags that may differ between machines.


def run(recipe, arguments=None):
    """Runs a recipe as a program, and exits with 0, or with 1 after one sentence on the standard error stream.

    Args:
        recipe: `Recipe`.
        arguments: list of str; None: those of the process.
    """
    try:
        settings = flags.parsed(recipe, sys.argv[1:] if arguments is None else arguments)
        if settings.help:
            print(flags.help_text(recipe))
            return
        with quiet.importing():
            import tensorflow  # noqa: F401
        conduct(recipe, settings)
    except Refusal as refusal:
        sys.exit(f"error: {refusal}")
    except KeyboardInterrupt:
        sys.exit(130)  # Nothing was begun: what was tells itself how to go on.


def conduct(recipe, settings):
    """Runs the experiment, writes report, pictures and results.json, and prints the table and the answer.

    Args:
        recipe: `Recipe`.
        settings: namespace, as of `flags.parsed`.
    """
    # Not at the top of the file: --help and a mistyped flag need not wait for TensorFlow.
    from recipes.frame import claims, distribution, experiment, launch, machine, pictures, report, selection, workdir

    path = files.local("workdir", settings.workdir or f"runs/{recipe.name}-{datetime.datetime.now():%Y-%m-%d-%H%M%S}")
    settings = workdir.merged(path, recipe, settings)
    if settings.workers and not launch.is_worker():
        given = [f"--{flag.name}={flags.written(value)}" for flag in recipe.flags if (value := getattr(settings, flag.name)) is not None]
        launch.run(settings.workers, f"recipes.{recipe.name}", *given, f"--workdir={path}")
        return
    launch.end_with_parent()
    distributed = distribution.begin(settings)
    data = recipe.data(settings)
    trainings = experiment.named(recipe, recipe.trainings(settings, data))
    if not trainings:
        raise Refusal("these flags leave nothing to train; python -m recipes." + f"{recipe.name} --help says which contestants there are of what.")
    for one in trainings.values():
        _refuse_large_batches(one)
        distribution.refuse_uneven(one.batch_size, distributed.replicas if one.replicas is None else one.replicas)
    about_machine = machine.described()
    with distributed.workdir(path) as place, workdir.Workdir(place, recipe, settings, data.described, about_machine) as folder, folder.resumable(data):
        counted = f"{len(trainings)} training{'' if len(trainings) == 1 else 's'}"
        print(f"{counted} on {data.in_words}, with {machine.device(about_machine)}, into {folder.path}", flush=True)
        given = {flag.name: getattr(settings, flag.name) for flag in recipe.flags if flag.name not in PLACES}
        distributed.agree(lambda: {"flags": given, "data": data.described, "earlier steps": experiment.earlier_steps(trainings, folder)})
        conducted = experiment.conduct(recipe, trainings, folder, distributed)
        if not distributed.is_chief:
            return
        judged = claims.judged(recipe.claims, conducted)
        drawn = [picture for picture in [*summary(judged), *recipe.pictures] if pictures.save(picture, conducted, judged, folder.path)]
        notes = recipe.notes(settings)
        files.write(folder.path / "report.md", report.markdown(recipe, conducted, folder.config, [pair[:2] for pair in judged], drawn, notes))
        results = {
            "recipe": recipe.name,
            **{name: folder.config[name] for name in ("flags", "data", "machines")},
            "results": conducted.results,
            "claims": [
                {"name": claim.name, "verdict": said.verdict, "measured": said.measured, "why": said.why, "evidence": evidence}
                for claim, said, evidence in judged
            ],
        }
        files.write_json(folder.path / "results.json", results)
        logs = selection.folder_to_open(trainings, folder)
    print("", report.table(conducted), *([report.answer([pair[:2] for pair in judged])] if judged else []), *notes, sep="\n\n", end="\n\n")
    print("Report and pictures:", *(folder.path / name for name in ("report.md", *(f"{picture.name}.png" for picture in drawn))))
    if logs != folder.tensorboard:
        print(f"TensorBoard shows nothing at first of more than {selection.MOST_TICKED} runs; those of the first seeds (all are in {folder.tensorboard}):")
    print(f"TensorBoard: {commands.typed('tensorboard')} --logdir {shlex.quote(str(logs))}")
    print('Its page "Batch Norm" says which layer is worst, and since when, and compares trainings.')


def summary(judged):
    """The picture of all that was found, if anything was."""
    from recipes.frame import pictures
    from recipes.frame.recipe import Picture

    return [Picture("summary", "what was found of each claim", lambda _: pictures.summary(judged))] if judged else []


def _refuse_large_batches(training):
    if training.batch_size > training.data.training_size:
        raise Refusal(f"a batch of {training.batch_size} is more than the {training.data.training_size} training examples; choose a smaller one.")
