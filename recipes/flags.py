"""The flags that the recipes share, and their types. Nothing heavy is imported here, so that `--help` is instant.

A recipe adopts them with `flags.adopt_module_key_flags(recipes.flags)`, so that its own `--help` shows them.
"""

import math
import re

from absl import flags

DATASETS = ("digits", "mnist", "fashion_mnist", "cifar10", "cifar100")
NAMED_INITIALIZERS = ("glorot_uniform", "he_normal")


class FloatParser(flags.FloatParser):
    """absl's, without nan and the infinities, which pass its bounds; with a lower bound of 0 that can be excluded."""

    def __init__(self, *, positive=False, upper_bound=None):
        super().__init__(lower_bound=0.0, upper_bound=upper_bound)
        self.positive = positive
        if positive:
            self.syntactic_help = "a positive number"

    def parse(self, argument):
        value = super().parse(argument)
        if not math.isfinite(value) or (self.positive and value == 0):
            raise ValueError(f"{argument} is not {self.syntactic_help}")
        return value


class InitializerParser(flags.ArgumentParser):
    """glorot_uniform, he_normal, or normal_S with a standard deviation S > 0."""

    syntactic_help = "glorot_uniform, he_normal or normal_STANDARD-DEVIATION"

    def parse(self, argument):
        normal = re.fullmatch(r"normal_(\d+(\.\d*)?(e-?\d+)?|\.\d+)", argument)
        if argument not in NAMED_INITIALIZERS and not (normal and float(normal[1]) > 0):
            raise ValueError(f"{argument!r} is no initializer; expected {self.syntactic_help}, such as normal_0.01.")
        return argument


class _ListParser(flags.ArgumentParser):
    """Comma-separated values, each read by the parser of one; at least one, none twice."""

    def __init__(self, item):
        super().__init__()
        self.item = item
        self.syntactic_help = f"a comma separated list of {item.syntactic_help or ' or '.join(item.enum_values)}"

    def parse(self, argument):
        if isinstance(argument, list):
            return argument
        values = [self.item.parse(part.strip()) for part in argument.split(",")]
        if len(set(values)) < len(values):
            raise ValueError(f"{argument!r} names a value twice; name each once.")
        return values

    def flag_type(self):
        return f"list of {self.item.flag_type()}s"


class _ListSerializer(flags.ArgumentSerializer):
    def serialize(self, value):
        return ",".join(str(item) for item in value)


def define_float(name, default, help_text, **bounds):
    """Defines a flag with a finite float that is not negative; `bounds` as of `FloatParser`."""
    return flags.DEFINE(FloatParser(**bounds), name, default, help_text, serializer=flags.ArgumentSerializer())


def define_list(name, default, item_parser, help_text):
    """Defines a flag whose value is a list, written with commas: `--seeds=0,1,2`.

    Args:
        name: the flag's.
        default: a list.
        item_parser: an `absl.flags.ArgumentParser` for one value.
        help_text: what `--help` shows.
    """
    return flags.DEFINE(_ListParser(item_parser), name, default, help_text, serializer=_ListSerializer())


flags.DEFINE_string(
    "workdir",
    None,
    "Folder for all that the experiment leaves behind; the same command with the same folder goes on where it was. Default: a new folder under runs/, printed.",
)
flags.DEFINE_string(
    "dataset",
    "digits",
    f"One of {', '.join(DATASETS)}, or the path of a folder with one sub-folder of images a class. digits (1,797 handwritten digits) comes with scikit-learn.",
)
flags.DEFINE_string("data_dir", None, "Folder in which DATASET.npz is looked for (x_train, y_train, x_test, y_test) before it is downloaded.")
define_list("seeds", [0], flags.IntegerParser(lower_bound=0), "Seeds of weights, data order and dropout; each is a run of its own.")
define_list("learning_rates", [0.01], FloatParser(positive=True), "Learning rates of SGD, constant during a run.")
define_list(
    "initializers", ["glorot_uniform"], InitializerParser(), "How kernels start: glorot_uniform, he_normal, or normal_S: normal with standard deviation S."
)
flags.DEFINE_integer("batch_size", 64, "Images an optimizer step.", lower_bound=1)
flags.DEFINE_integer("epochs", 24, "Passes over the training images.", lower_bound=1)
flags.DEFINE_integer("steps", None, "Optimizer steps; where it is given, --epochs does not count.", lower_bound=1)
define_float("momentum", 0.9, "Momentum of SGD.", upper_bound=1.0)
define_float("weight_decay", 0.0, "Each kernel's gradient gets this times the kernel.")
flags.DEFINE_bool("jit_compile", False, "Compile the training and evaluation steps with XLA.")
flags.DEFINE_integer(
    "measure_every",
    100,
    "Optimizer steps between two measurements (covariate shift, loss landscape, variance shift, activations) for TensorBoard; 0: none. Results stay the same.",
    lower_bound=0,
)
