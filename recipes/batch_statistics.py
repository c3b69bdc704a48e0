"""How good are moving averages as statistics for inference, by the size of the batches, and does batch normalisation replace regularisers?

Trains perceptrons of three ReLU layers with batches of 2 to 256 images. Each net is tested with its moving averages (momentum 0.9), with the statistics of test
batches as large as those of the training, and with population statistics, the mean over such batches of training images at the final weights. Contestants:
batch normalisation; the same with the sample variance (Alg. 2) in the moving averages; ghost batches of 16; no normalisation. At one batch size Dropout and
weight decay are added.

    python -m recipes.batch_statistics                     digits, three minutes on 2 cores
    python -m recipes.batch_statistics --seeds=0,1,2       three seeds: without a spread no claim is judged
    python -m recipes.batch_statistics --preset=paper --data_dir=DIR

Not as in the papers: perceptrons, whose batches have as many values a channel as images, instead of convolutional nets, where that is hundreds of times more.

Source: Ioffe & Szegedy 2015, Alg. 2, sec. 3.1, 3.4, 4.2.1; Wu & Johnson 2021; Hoffer, Hubara & Soudry 2017.
"""

from recipes.frame import Claim, Picture, Recipe, claims, drawn, evidence, flags, program, usual
from recipes.frame.comparisons import larger

PLAIN, BATCH_NORM, SAMPLE_VARIANCE, GHOST = "plain", "batch_norm", "sample_variance", "ghost"
CONTESTANTS = BATCH_NORM, SAMPLE_VARIANCE, GHOST, PLAIN
GHOST_SIZE, REGULARISED_BATCH, DROPOUT_RATE, WEIGHT_DECAY = 16, 32, 0.5, 1e-3
OPTIONS = {SAMPLE_VARIANCE: {"unbiased": True}, GHOST: {"virtual_batch_size": GHOST_SIZE}}  # Of the layer.
SMALL, LARGEST = 8, 256
MOVING, POPULATION, OF_BATCHES = "moving", "population", "of test batches"  # Statistics, and the accuracies by them.
QUANTITIES = {MOVING: "test_accuracy", POPULATION: "recalibrated_test_accuracy", OF_BATCHES: "batch_test_accuracy"}

DECAYS_HELP = f"Weight decays: each kernel's gradient gets this times the kernel; other than 0 at batches of {REGULARISED_BATCH} only."
CONTESTANTS_HELP = (
    "batch_norm: keras_bn.BatchNormalization; sample_variance: the same with unbiased=True; ghost: with virtual_batch_size="
    f"{GHOST_SIZE}, at larger batches; plain: no normalisation."
)

FLAGS = [
    flags.contestants(CONTESTANTS, CONTESTANTS_HELP),
    flags.Flag("batch_sizes", [2, SMALL, 32, 128, LARGEST], flags.Listed(flags.Integer(2, 65536)), "Images in each optimizer step.", axis="batch_size"),
    flags.Flag(
        "rates",
        [0.0, DROPOUT_RATE],
        flags.Listed(flags.Float(upper_bound=0.95)),
        f"Rates of Dropout; other than 0 at batches of {REGULARISED_BATCH} only.",
        axis="rate",
    ),
    flags.Flag("weight_decays", [0.0, WEIGHT_DECAY], flags.Listed(flags.Float()), DECAYS_HELP, axis="weight_decay"),
    flags.Flag("units", 100, flags.Integer(1, 10000), "Units of each hidden layer."),
    *flags.shared("dataset", "data_dir", "seeds", "steps", "jit_compile", image_size=8, initializers=["he_normal"], learning_rates=[0.05], epochs=10),
]
PRESETS = {"paper": {"dataset": "cifar10", "image_size": 32, "units": 1000, "epochs": 60}}


def trainings(settings, data):
    """Regularisers, one at a time, at one batch size and without variants; ghosts where a batch is larger than one of them."""

    def makes_sense(batch_size, contestant, rate, weight_decay, **_):
        if rate or weight_decay:
            return batch_size == REGULARISED_BATCH and contestant in (BATCH_NORM, PLAIN) and not (rate and weight_decay)
        return contestant != GHOST or batch_size > GHOST_SIZE

    return [training(settings, data, one) for one in flags.combinations(FLAGS, settings) if makes_sense(**one)]


def training(settings, data, chosen):
    from recipes.frame import instruments, tasks
    from recipes.nets import perceptron

    def net(_):
        return perceptron.perceptron(
            data.image_shape,
            data.classes,
            depth=3,
            units=settings.units,
            activation="relu",
            kernel_initializer=chosen["initializer"],
            normalisation="none" if chosen["contestant"] == PLAIN else "batch_norm",
            options={"momentum": 0.9, **OPTIONS.get(chosen["contestant"], {})},
            rate=chosen["rate"],
            weight_decay=chosen["weight_decay"],
        )

    task, size = tasks.Classification(), chosen["batch_size"]
    at_end = [instruments.recalibrated(data, task, batch_size=size, method="batch"), with_batch_statistics(data, size, chosen)]
    return usual.training(settings, data, chosen, net, task=task, batch_size=size, at_end=at_end)


def with_batch_statistics(data, size, chosen):
    """Function of the net: its accuracy on test batches of that size, each normalised by itself; of nets with Dropout, which would act, none."""
    import keras
    import numpy as np

    def measure(net):
        if chosen["contestant"] == PLAIN or chosen["rate"] > 0:
            return {}
        right = []
        for x, y in data.drawn(data.test_size, size, data.test):  # In the order of the file a batch might be of few classes.
            if len(x) == size:  # A smaller one has other statistics.
                with keras.StatelessScope():  # Moving statistics stay.
                    right.append(np.mean(net(x, training=True).numpy().argmax(1) == y.numpy()))
        return {QUANTITIES[OF_BATCHES]: np.mean(right)} if right else {}

    return measure


def nets(contestant, batch_size=REGULARISED_BATCH, rate=0.0, weight_decay=0.0):
    return {"contestant": contestant, "batch_size": batch_size, "rate": rate, "weight_decay": weight_decay}


def by_kinds(name, sentence, source, batch_size, *kinds, by=0.0):
    """A claim that batch normalisation of that batch size is better by the one kind of statistics than by the other."""
    cases = {kind: (nets(BATCH_NORM, batch_size), [QUANTITIES[kind]], evidence.last_accuracy) for kind in kinds}
    return Claim(name, sentence, source, evidence.Evidence(cases), claims.Better(*kinds, by))


def gain(name, what, **regulariser):
    """A claim that with batch normalisation a regulariser adds less to the test accuracy."""

    def case(one, **chosen):
        return nets(one, **chosen), [evidence.WITH_GOOD_STATISTICS], evidence.last_accuracy  # What Dropout does to moving averages is another question.

    gained = evidence.Differences({one: (case(one, **regulariser), case(one)) for one in (PLAIN, BATCH_NORM)})
    rule = claims.Better(PLAIN, BATCH_NORM, what=f"test accuracy gained by {what}")
    return Claim(name, f"{what[0].upper()}{what[1:]} improves a net less when it has batch normalisation", REGULARISER, gained, rule)


def overfitting(training, test):
    """The training accuracy at the end less the test accuracy."""
    return evidence.last_accuracy(training) - evidence.last_accuracy(test)


def contestants(batch_size, *names):
    return {name: nets(name, batch_size) for name in names}


REGULARISER, GAP = "Ioffe & Szegedy, sec. 3.4, 4.2.1", "training less test accuracy"
AS_GOOD = f"At batch size {LARGEST}, moving averages are as good as population statistics"
BETTER = f"At batch size {SMALL}, population statistics are better than moving averages"
UNBIASED = f"At batch size {SMALL}, moving averages of the sample variance (N-1) are better than of the biased one"
GENERALISE, OF_ITSELF = f"At batch size {LARGEST}, ghost batches generalise better", "Batch normalisation regularises: a net overfits less with it"
REACHES, OVERFITS = (["test_accuracy"], evidence.last_accuracy), (["training_accuracy", evidence.WITH_GOOD_STATISTICS], overfitting)
CLAIMS = [
    by_kinds("moving_as_population", AS_GOOD, "Ioffe & Szegedy, sec. 3.1", LARGEST, MOVING, POPULATION, by=-0.01),
    by_kinds("population_at_small", BETTER, "Wu & Johnson, sec. 3", SMALL, POPULATION, MOVING),
    larger("sample_variance_at_small", UNBIASED, "Ioffe & Szegedy, Alg. 2", contestants(SMALL, SAMPLE_VARIANCE, BATCH_NORM), *REACHES),
    larger("ghosts_at_large", GENERALISE, "Hoffer et al.", contestants(LARGEST, GHOST, BATCH_NORM), *REACHES),
    larger("regularises", OF_ITSELF, REGULARISER, contestants(REGULARISED_BATCH, PLAIN, BATCH_NORM), *OVERFITS, what=GAP),
    gain("less_dropout", "Dropout", rate=DROPOUT_RATE),
    gain("less_weight_decay", "weight decay", weight_decay=WEIGHT_DECAY),
]


def by_statistics(experiment):
    from recipes.frame import tables

    rows = tables.stacked({kind: tables.at_end(experiment.table, quantity) for kind, quantity in QUANTITIES.items()}, "statistics")
    return rows[(rows["rate"] == 0) & (rows["weight_decay"] == 0) & (rows["contestant"] != PLAIN)]


LOOK = dict(x="batch_size", hue="statistics", panels=["contestant"], log="x")
STATISTICS = drawn.curves(by_statistics, "test accuracy on {data}", "Accuracy by the statistics of inference", **LOOK)
PICTURES = [Picture("statistics", "test accuracy over batch size", STATISTICS, ["moving_as_population", "population_at_small"])]


def in_words(settings):
    return f"perceptrons of three ReLU layers of {settings.units} units"


RECIPE = Recipe("batch_statistics", __doc__, FLAGS, in_words, usual.images, trainings, CLAIMS, PICTURES, PRESETS)

if __name__ == "__main__":
    program.run(RECIPE)
