"""Can a 19-layer VGG be trained from random weights: plain, grown from a shallow net, with auxiliary classifiers, with batch normalisation?

Trains every contestant under every combination of depth, initializer, learning rate and seed, and leaves a report with tables and pictures, TensorBoard logs
and checkpoints in --workdir. Interrupted, the same command with the same --workdir goes on where it was.

    python -m recipes.deep_vgg                                     the default: 19 layers, real handwritten digits
    python -m recipes.deep_vgg --seeds=0,1,2                       with a spread
    python -m recipes.deep_vgg --initializers=glorot_uniform,he_normal,normal_0.01,normal_0.1
    python -m recipes.deep_vgg --learning_rates=0.01,0.1 --depth=11,16
    python -m recipes.deep_vgg --dataset=cifar10 --data_dir=DIR --width=1 --batch_size=128 --epochs=40

Source: Simonyan & Zisserman 2015 (the nets, growing), Szegedy et al. 2015 (auxiliary classifiers), Ioffe & Szegedy 2015 (batch normalisation).
"""

import datetime
import itertools
import shlex
import sys

from absl import app, flags

from recipes import commands, files, quiet
from recipes import flags as shared_flags
from recipes.refusal import Refusal

CONTESTANTS = ("plain", "grown", "auxiliary", "batch_norm")
DEPTHS = (11, 13, 16, 19)
SHALLOW = 11


class _DepthParser(flags.IntegerParser):
    syntactic_help = "11, 13, 16 or 19"

    def parse(self, argument):
        if argument not in map(str, DEPTHS):
            raise ValueError(f"VGG has no configuration of {argument} layers; expected 11, 13, 16 or 19.")
        return int(argument)


shared_flags.define_list(
    "contestants",
    ["plain", "grown", "batch_norm"],
    flags.EnumParser(CONTESTANTS),
    "plain: from random weights; grown: from a trained 11-layer net, whose first four convolutions and dense layers are copied; "
    "auxiliary: with classifiers on inner stages; batch_norm: keras_bn.BatchNormalization after every convolution.",
)
shared_flags.define_list("depth", [19], _DepthParser(), "Weight layers: 11, 13, 16 or 19 (VGG's configurations A, B, D, E).")
shared_flags.define_float("width", 0.25, "Multiplies the number of filters and dense units; 1 is the paper's net.", positive=True)
shared_flags.define_float("dropout", 0.5, "Rate of the dropout behind the first two dense layers.", upper_bound=0.99)
flags.adopt_module_key_flags(shared_flags)

FLAGS = flags.FLAGS


def phases(contestant, depth, initializer, dataset, settings):
    """What a contestant's training consists of: one phase, or for `grown` the shallow net's and the deep one's.

    Args:
        contestant: one of CONTESTANTS.
        depth: 11, 13, 16 or 19; for `grown` more than 11.
        initializer: its flag's name.
        dataset: `data.Dataset`.
        settings: dict with width, weight_decay and dropout.

    Returns:
        List of `training.Phase`.
    """
    from recipes import models, training

    def net(depth, **kind):
        return models.vgg(
            depth,
            dataset.image_shape,
            dataset.classes,
            width=settings["width"],
            kernel_initializer=initializer,
            weight_decay=settings["weight_decay"],
            dropout=settings["dropout"],
            **kind,
        )

    def grown_from(shallow):
        model, training_model = net(depth)
        if shallow is not None:
            models.grow(shallow, model)
        return model, training_model

    if contestant == "grown":
        return [training.Phase("shallow", lambda _: net(SHALLOW)), training.Phase("deep", grown_from)]
    kind = {"plain": {}, "auxiliary": {"auxiliary": True}, "batch_norm": {"batch_norm": True}}[contestant]
    return [training.Phase("deep", lambda _: net(depth, **kind))]


def conduct(settings, flagfile):
    """Runs the experiment, writes the report and prints the table.

    Args:
        settings: dict, the value of every flag of this recipe.
        flagfile: str, the same flags as lines of --name=value, without --workdir.
    """
    # Not at the top of the file: --help and a mistyped flag need not wait for TensorFlow.
    from recipes import data, experiment, machine, plots, report, training, workdir

    path = files.local("workdir", settings["workdir"] or f"runs/deep_vgg-{datetime.datetime.now():%Y-%m-%d-%H%M%S}")
    dataset = data.load(settings["dataset"], settings["data_dir"])
    training_settings = training.Settings(**{name: settings[name] for name in ("batch_size", "epochs", "steps", "momentum", "jit_compile", "measure_every")})
    if settings["batch_size"] > len(dataset.y_train):
        raise Refusal(f"--batch_size={settings['batch_size']} is more than the {len(dataset.y_train)} training images; choose a smaller one.")
    axes = {"depth": settings["depth"], "initializer": settings["initializers"], "learning_rate": settings["learning_rates"], "seed": settings["seeds"]}
    combinations = [
        {"contestant": contestant, **dict(zip(axes, values))}
        for *values, contestant in itertools.product(*axes.values(), settings["contestants"])
        if not (contestant == "grown" and values[0] == SHALLOW)
    ]
    notes = []
    if "grown" in settings["contestants"] and SHALLOW in settings["depth"]:
        notes.append(f"There is no grown net of depth {SHALLOW}: that is the shallow net which the others grow from.")
    if not combinations:
        raise Refusal(f"--contestants=grown --depth={SHALLOW} leaves nothing to train; expected a depth above {SHALLOW} for grown.")

    runs = [
        experiment.Run(name, chosen, phases(chosen["contestant"], chosen["depth"], chosen["initializer"], dataset, settings))
        for name, chosen in zip(experiment.named(combinations), combinations)
    ]
    about_machine = machine.described()
    folder = workdir.Workdir(
        path,
        recipe="deep_vgg",
        flags={name: value for name, value in settings.items() if name != "workdir"},
        flagfile=flagfile,
        data=dataset.described,
        machine=about_machine,
    )
    with folder:
        print(
            f"{len(runs)} runs on {dataset.name} ({len(dataset.y_train):,} training images) with {machine.device(about_machine)}, into {folder.path}",
            flush=True,
        )
        with folder.resumable():
            results, curves = experiment.conduct(runs, dataset, training_settings, folder, {"contestant": settings["contestants"], **axes})
            pictures = {"curves.png": ("test accuracy over optimizer steps", plots.accuracy_curves(results, curves, CONTESTANTS, dataset))}
            if len(report.grouped(results)) > len(settings["contestants"]):
                pictures["sweep.png"] = ("test accuracy of every combination", plots.sweep(results, dataset))
            for name, (_, figure) in pictures.items():
                plots.save(figure, folder.path / name)
            shown = [(name, what) for name, (what, _) in pictures.items()]
            files.write(folder.path / "report.md", report.markdown("VGG, plain and rescued", results, dataset, folder.config, shown, notes))
        print("", report.table(results), report.findings(results), *notes, sep="\n\n", end="\n\n")
        print("Report and pictures:", *(folder.path / name for name in ("report.md", *pictures)))
        print(f"TensorBoard: {commands.typed('tensorboard')} --logdir {shlex.quote(str(folder.tensorboard))}")


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"{arguments[1]!r} is not a flag; expected --name=value only.")
    own_flags = FLAGS.get_key_flags_for_module(sys.modules[__name__])
    flagfile = "".join(f"{flag.serialize()}\n" for flag in own_flags if flag.value is not None and flag.name != "workdir")
    try:
        with quiet.importing():
            import tensorflow  # noqa: F401
        conduct({flag.name: flag.value for flag in own_flags}, flagfile)
    except Refusal as refusal:
        sys.exit(f"error: {refusal}")
    except KeyboardInterrupt:
        sys.exit(130)  # Nothing was begun: what was tells itself how to go on.


if __name__ == "__main__":
    app.run(main)
