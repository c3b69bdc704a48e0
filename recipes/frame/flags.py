"""The flags of a recipe: their types, those that recipes share, and how a command line becomes settings."""

import dataclasses
import itertools
import math
import os
import re
import types
from typing import Any

from absl import flags as absl_flags

from recipes.frame.refusal import Refusal

DATASETS = ("digits", "mnist", "fashion_mnist", "cifar10", "cifar100")
NAMED_INITIALIZERS = ("glorot_uniform", "he_normal")
LARGEST_SEED = 2**31 - 1
LENGTHS = "epochs", "steps"  # Flags that say the same in two ways.


@dataclasses.dataclass(frozen=True)
class Flag:
    """One flag of a recipe.

    name, default, help: what `--help` shows.
    parser: an `absl.flags.ArgumentParser`.
    axis: of a list whose values are a training each: what the hyperparameter is called in the results, such as learning_rate; None for other flags.
    """

    name: str
    default: Any
    parser: absl_flags.ArgumentParser
    help: str
    axis: str | None = None


class Integer(absl_flags.IntegerParser):
    """An integer within bounds."""


class Float(absl_flags.FloatParser):
    """A finite float that is not negative; with `positive` not 0 either."""

    def __init__(self, *, positive=False, lower_bound=0.0, upper_bound=None):
        super().__init__(lower_bound=lower_bound, upper_bound=upper_bound)
        self.positive = positive
        if positive:
            self.syntactic_help = "a positive number"
        elif upper_bound is None:
            self.syntactic_help = f"a number of at least {lower_bound:g}"

    def parse(self, argument):
        value = super().parse(argument)
        if not math.isfinite(value) or (self.positive and value == 0):
            raise ValueError(f"{argument} is not {self.syntactic_help}")
        return value


class Text(absl_flags.ArgumentParser):
    """Any text."""

    syntactic_help = "a string"


class Initializer(absl_flags.ArgumentParser):
    """glorot_uniform, he_normal, or normal_S with a standard deviation S > 0."""

    syntactic_help = "glorot_uniform, he_normal or normal_STANDARD-DEVIATION"

    def parse(self, argument):
        normal = re.fullmatch(r"normal_(\d+(\.\d*)?(e-?\d+)?|\.\d+)", argument)
        if argument not in NAMED_INITIALIZERS and not (normal and float(normal[1]) > 0):
            raise ValueError(f"{argument!r} is no initializer; expected {self.syntactic_help}, such as normal_0.01")
        return argument


class Choice(absl_flags.ArgumentParser):
    """One of some words or numbers."""

    def __init__(self, choices):
        super().__init__()
        self.choices = {str(choice): choice for choice in choices}
        self.syntactic_help = f"one of {', '.join(self.choices)}"

    def parse(self, argument):
        if str(argument) not in self.choices:
            raise ValueError(f"{argument!r} is not {self.syntactic_help}")
        return self.choices[str(argument)]


class Dataset(absl_flags.ArgumentParser):
    """A known name or a folder: refused before anything heavy is imported."""

    syntactic_help = f"{', '.join(DATASETS)} or an existing folder"

    def parse(self, argument):
        if argument not in DATASETS and not os.path.isdir(os.path.expanduser(argument)):
            hint = ": mount that storage, or copy it" if "://" in argument else ""
            raise ValueError(f"{argument!r} is not {self.syntactic_help}{hint}")
        return argument


class Listed(absl_flags.ArgumentParser):
    """Comma-separated values, each read by the parser of one; at least one, none twice."""

    def __init__(self, item):
        super().__init__()
        self.item = item
        self.syntactic_help = f"a comma separated list, each {item.syntactic_help}"

    def parse(self, argument):
        if isinstance(argument, list):
            return argument
        values = [self._item(part.strip()) for part in argument.split(",")]
        if len(set(values)) < len(values):
            raise ValueError(f"{argument!r} names a value twice; name each once")
        return values

    def _item(self, text):
        try:
            return self.item.parse(text)
        except (TypeError, ValueError) as error:
            # Of numbers Python says no more than that it could not convert them.
            said = str(error)
            raise ValueError(f"{text!r} is not {self.item.syntactic_help}" if "could not convert" in said or "invalid literal" in said else said) from error

    def flag_type(self):
        return f"list of {self.item.flag_type()}s"


class _Serializer(absl_flags.ArgumentSerializer):
    def serialize(self, value):
        return written(value)


def written(value):
    """A flag's value as it is typed."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


SHARED = {
    flag.name: flag
    for flag in (
        Flag(
            "dataset",
            "digits",
            Dataset(),
            f"One of {', '.join(DATASETS)}, or the path of a folder with one sub-folder of images a class, or of TFRecord files (named train, and test or val, "
            "with the keys image/encoded and image/class/label, or image and label). digits (1,797 handwritten digits) comes with scikit-learn.",
        ),
        Flag("data_dir", None, Text(), "Folder in which DATASET.npz is looked for (x_train, y_train, x_test, y_test) before it is downloaded."),
        Flag("image_size", 32, Integer(lower_bound=1), "Pixels to which images are brought in height and width."),
        Flag(
            "initializers",
            ["glorot_uniform"],
            Listed(Initializer()),
            "How kernels start: glorot_uniform, he_normal, or normal_S: normal with standard deviation S.",
            "initializer",
        ),
        Flag(
            "learning_rates",
            [0.01],
            Listed(Float(positive=True)),
            "Learning rates of SGD, constant during a training; each is a separate training.",
            "learning_rate",
        ),
        Flag("seeds", [0], Listed(Integer(0, LARGEST_SEED)), "Seeds of weights, data order and Dropout; each seed is a separate training.", "seed"),
        Flag("batch_size", 64, Integer(lower_bound=1), "Examples in each optimizer step."),
        Flag("epochs", 24, Integer(lower_bound=1), "Passes over the training data."),
        Flag("steps", None, Integer(lower_bound=1), "Optimizer steps; where it is given, --epochs does not count."),
        Flag("momentum", 0.9, Float(upper_bound=1.0), "Momentum of SGD."),
        Flag("weight_decay", 0.0, Float(), "Each kernel's gradient gets this times the kernel."),
        Flag("jit_compile", False, absl_flags.BooleanParser(), "Compile the training and evaluation steps with XLA."),
        Flag("measure_every", 100, Integer(lower_bound=0), "Optimizer steps between two measurements; 0: none. The trainings stay the same."),
    )
}
IMAGE_SIZE_OF_VGG = Flag("image_size", 32, Integer(lower_bound=32), "Pixels to which images are brought in height and width; VGG halves them five times.")
WORKDIR = Flag(
    "workdir",
    None,
    Text(),
    "Folder for all that the experiment leaves behind; the same command with the same folder goes on where it was, and one with more seeds, contestants, "
    "learning rates or epochs adds to it. Default: a new folder under runs/, printed.",
)
NONE, MIRRORED, MULTI_WORKER = STRATEGIES = "none", "mirrored", "multi_worker"
DISTRIBUTION = (
    Flag(
        "strategy",
        NONE,
        Choice(STRATEGIES),
        "none: trains on one device; mirrored: on all local ones; multi_worker: in the processes that TF_CONFIG names. --batch_size is that of all together.",
    ),
    Flag(
        "synchronized",
        False,
        absl_flags.BooleanParser(),
        "Batch normalisation by the statistics of the whole batch instead of those of each replica's part; without a strategy it changes nothing.",
    ),
    Flag("workers", None, Integer(lower_bound=2), "Starts so many processes on this machine, with --strategy=multi_worker."),
    Flag("logical_cpus", None, Integer(1, 64), "Divides the CPU into so many devices, to try --strategy=mirrored without accelerators."),
    Flag("dtype_policy", "float32", Choice(("float32", "float64", "mixed_float16", "mixed_bfloat16")), "Keras's dtype policy of all layers."),
)
ALWAYS = (WORKDIR, Flag("help", False, absl_flags.BooleanParser(), "Shows this."))


def contestants(names, help_text, default=None):
    """The flag of a recipe's contestants.

    Args:
        names: of all of them.
        help_text: what each is.
        default: those that compete where it is not given; None: all.
    """
    return Flag("contestants", list(names if default is None else default), Listed(Choice(names)), help_text, axis="contestant")


def shared(*names, **defaults):
    """Flags that recipes share, in the order in which `--help` shows them.

    Args:
        names: of those that are as in most recipes.
        defaults: of the others, a flag's name to its default here.
    """
    unknown = {*names, *defaults} - SHARED.keys()
    if unknown:
        raise ValueError(f"{', '.join(sorted(unknown))} is not shared; expected {', '.join(SHARED)}: define it as a `Flag`.")
    replaced = {name: dataclasses.replace(SHARED[name], default=value) for name, value in defaults.items()}
    return [replaced.get(name, flag) for name, flag in SHARED.items() if name in (*names, *defaults)]


def combinations(own_flags, settings):
    """Hyperparameters of each training that the lists among the flags ask for: all combinations, contestants beside each other.

    Args:
        own_flags: list of `Flag`, the recipe's.
        settings: namespace.

    Returns:
        A list of dicts, axis to value.
    """
    axes = {flag.axis: getattr(settings, flag.name) for flag in own_flags if flag.axis is not None}
    contestants = axes.pop("contestant", [None])
    combined = itertools.product(*axes.values(), contestants)
    return [{**({} if contestant is None else {"contestant": contestant}), **dict(zip(axes, values))} for *values, contestant in combined]


def parsed(recipe, arguments):
    """Settings from a command line.

    Args:
        recipe: `Recipe`.
        arguments: list of str, without the program's name.

    Returns:
        A namespace with one attribute a flag, `workdir` and `help` among them, and `typed`: the names of the flags that were given, or set by a preset.

    Raises:
        Refusal: a flag that is not there, a value that it does not take, or a word that is no flag.
    """
    values = _defined(recipe)
    try:
        rest = values([recipe.name, *arguments])[1:]
    except absl_flags.Error as error:
        raise Refusal(f"{str(error).splitlines()[0].rstrip('.')}; python -m recipes.{recipe.name} --help shows what is expected.") from error
    if rest:
        raise Refusal(f"{rest[0]!r} is not a flag; expected --name=value only.")
    settings = values.flag_values_dict()
    typed = {name for name in settings if values[name].present}
    preset = recipe.presets.get(settings.pop("preset", None), {})
    chosen = {name: value for name, value in preset.items() if name not in typed and not (name in LENGTHS and typed & {*LENGTHS})}
    return types.SimpleNamespace(**{**settings, **chosen}, typed=typed | chosen.keys())


def help_text(recipe):
    """What `--help` shows."""
    listed = _defined(recipe).get_help().replace(f"{__name__}:", "Flags:")  # absl says which module defined them.
    return f"{recipe.text.strip()}\n{listed}"


def flagfile(recipe, settings):
    """Lines of --name=value that say the same as `settings`, to be replayed by `--flagfile`; without the folder, which may be moved."""
    return "".join(f"--{flag.name}={written(value)}\n" for flag in recipe.flags if (value := getattr(settings, flag.name)) is not None)


def _defined(recipe):
    values = absl_flags.FlagValues()  # Of this recipe alone: a process may import several, whose flags have the same names.
    presets = [Flag("preset", None, Choice(recipe.presets), _described_presets(recipe.presets))] if recipe.presets else []
    for flag in (*recipe.flags, *presets, *ALWAYS):
        if isinstance(flag.parser, absl_flags.BooleanParser):
            absl_flags.DEFINE_bool(flag.name, flag.default, flag.help, flag_values=values)
        else:
            absl_flags.DEFINE(flag.parser, flag.name, flag.default, flag.help, values, _Serializer())
    return values


def _described_presets(presets):
    described = [f"{name}: {' '.join(f'--{flag}={written(value)}' for flag, value in flags.items())}" for name, flags in presets.items()]
    return f"Sets flags that are not given. {'; '.join(described)}."
