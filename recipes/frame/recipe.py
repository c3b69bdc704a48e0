"""What a recipe's page consists of."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from recipes.frame.flags import DISTRIBUTION, Flag

SHORT = {"learning_rate": "lr", "initializer": "init"}  # In the names of trainings, and on TensorBoard's HParams page.


@dataclasses.dataclass(frozen=True, eq=False)
class Training:
    """One training: a net, what it learns from, how long, and what is kept of it.

    hyperparameters: what may set it apart from the others, name to number or string: among them at least `contestant` and `seed`.
    build: function that returns the net, of `start`'s trained net; that is None without a `start`.
    data: what it is trained on: `images.Images`, or another with the same methods.
    task: what it learns: `tasks.Classification` or `tasks.Regression`.
    optimizer: function that returns a new Keras optimizer.
    batch_size, steps: of each optimizer step, and how many; 0 steps: a net that is looked at as it was built.
    record_every: optimizer steps between two records of loss and metrics; None: one a pass over the data.
    instruments: function of (net, log_dir) that returns the callbacks that measure it while it trains, and that log into that TensorBoard run.
    at_end: functions of the trained net, each of which returns a dict, quantity to number.
    start: the `Training` whose trained net this one begins with, or None.
    jit_compile: whether XLA compiles its steps.
    replicas: devices of this machine that divide each batch; None: as the flags of all recipes say.
    synchronized: with `replicas`: whether batch normalisation takes its statistics from the whole batch.
    """

    hyperparameters: dict[str, Any]
    build: Callable
    data: Any
    task: Any
    optimizer: Callable
    batch_size: int
    steps: int
    record_every: int | None = None
    instruments: Callable = lambda net, log_dir: []
    at_end: Sequence[Callable] = ()
    start: "Training | None" = None
    jit_compile: bool = False
    replicas: int | None = None
    synchronized: bool = False

    @property
    def seed(self):
        """Of weights and Dropout: another one than that of the training that this one starts from."""
        generations = 0
        ancestor = self.start
        while ancestor is not None:
            generations, ancestor = generations + 1, ancestor.start
        return [self.hyperparameters["seed"], generations]

    @property
    def steps_a_record(self):
        return self.record_every or self.data.steps_per_epoch(self.batch_size)


@dataclasses.dataclass(frozen=True)
class Claim:
    """A sentence of the literature, and the rule by which it holds or not.

    name: a word for programs.
    sentence, source: what is claimed, and where.
    evidence: `evidence.Evidence` or `evidence.Differences`: the numbers that it is judged by.
    rule: of `claims`: function of those numbers that returns a `claims.Judgement`.
    """

    name: str
    sentence: str
    source: str
    evidence: Callable
    rule: Callable


@dataclasses.dataclass(frozen=True)
class Picture:
    """One picture of the report.

    name: of its file, without .png.
    shows: what it shows, for those who cannot see it.
    draw: function of `experiment.Experiment`, returns a figure, or None where there is nothing to draw.
    claims: names of those that it tells of: what was found of them becomes its title.
    """

    name: str
    shows: str
    draw: Callable
    claims: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A question of the literature, and the experiment that answers it.

    name: of its module.
    text: the module's docstring, whose first line is the question.
    flags: those that it has, beside --workdir, --preset and --help; those of `flags.DISTRIBUTION` are added.
    nets: function of the settings, returns what is trained, in words.
    data: function of the settings, returns the data of its trainings.
    trainings: function of (settings, data), returns a list of `Training`; an empty one is refused.
    claims, pictures: what is said and shown of them.
    presets: values of --preset: name to a dict, flag to value.
    notes: function of the settings, returns sentences about what was left out.
    """

    name: str
    text: str
    flags: Sequence[Flag]
    nets: Callable
    data: Callable
    trainings: Callable
    claims: Sequence[Claim] = ()
    pictures: Sequence[Picture] = ()
    presets: dict[str, dict] = dataclasses.field(default_factory=dict)
    notes: Callable = lambda settings: []

    def __post_init__(self):
        object.__setattr__(self, "flags", [*self.flags, *DISTRIBUTION])

    @property
    def question(self):
        return self.text.strip().splitlines()[0]

    @property
    def axes(self):
        """Hyperparameter -> the flag whose list it is chosen from."""
        return {flag.axis: flag for flag in self.flags if flag.axis is not None}

    @property
    def usual(self):
        """Hyperparameter -> its default, where that is one value; without contestant and seed."""
        return {axis: flag.default[0] for axis, flag in self.axes.items() if len(flag.default) == 1 and axis not in ("contestant", "seed")}

    def training_name(self, hyperparameters):
        """Of a training's folder and TensorBoard run, such as batch_norm-lr0.1-seed0: what is not as usual. It stays when an experiment is extended."""
        unusual = {name: value for name, value in hyperparameters.items() if name not in self.usual or self.usual[name] != value}
        return "-".join(value if isinstance(value, str) else f"{SHORT.get(name, name)}{value:g}" for name, value in unusual.items())
