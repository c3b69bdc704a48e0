"""How good are moving averages as statistics for inference, by the size of the batches, and does batch normalisation replace regularisers?

Trains perceptrons of three ReLU layers with batches of 2 to 256 images. Each net is tested with its moving averages (momentum 0.9), with the statistics of test
batches as large as those of the training, and with population statistics of training images at the final weights. Contestants: batch normalisation; the same
with the sample variance (Alg. 2) in the moving averages; ghost batches of 16; no normalisation. At one batch size Dropout and weight decay are tried, too.

    python -m recipes.batch_statistics                     digits, three minutes on 2 cores
    python -m recipes.batch_statistics --seeds=0,1,2       with a spread, which claims need
    python -m recipes.batch_statistics --preset=paper --data_dir=DIR

Not as in the papers: perceptrons, whose batches have as many values a channel as images, instead of convolutional nets, where that is hundreds of times more.

Source: Ioffe & Szegedy 2015, Alg. 2, sec. 3.1, 3.4, 4.2.1; Wu & Johnson 2021; Hoffer, Hubara & Soudry 2017.
"""

from recipes.frame import Claim, Picture, Recipe, claims, drawn, evidence, flags, program, usual

PLAIN, BATCH_NORM, SAMPLE_VARIANCE, GHOST = "plain", "batch_norm", "sample_variance", "ghost"
CONTESTANTS = BATCH_NORM, SAMPLE_VARIANCE, GHOST, PLAIN
GHOST_SIZE, REGULARISED_BATCH, DROPOUT_RATE, WEIGHT_DECAY = 16, 32, 0.5, 1e-3
OPTIONS = {SAMPLE_VARIANCE: {"unbiased": True}, GHOST: {"virtual_batch_size": GHOST_SIZE}}  # Of the layer.
SMALLEST, LARGEST = 2, 256
MOVING, POPULATION, OF_BATCHES = "moving", "population", "of test batches"  # Statistics, and the accuracies by them.
QUANTITIES = {MOVING: "test_accuracy", POPULATION: "recalibrated_test_accuracy", OF_BATCHES: "batch_test_accuracy"}

FLAGS = [
    flags.Flag("contestants", list(CONTESTANTS), flags.Listed(flags.Choice(CONTESTANTS)), "Which nets are trained.", axis="contestant"),
    flags.Flag("batch_sizes", [SMALLEST, 8, 32, 128, LARGEST], flags.Listed(flags.Integer(2, 65536)), "Images an optimizer step.", axis="batch_size"),
    flags.Flag("rates", [0.0, DROPOUT_RATE], flags.Listed(flags.Float(upper_bound=0.95)), f"Of Dropout, at batches of {REGULARISED_BATCH}.", axis="rate"),
    flags.Flag("weight_decays", [0.0, WEIGHT_DECAY], flags.Listed(flags.Float()), f"At batches of {REGULARISED_BATCH}.", axis="weight_decay"),
    flags.Flag("units", 100, flags.Integer(1, 10000), "Of each hidden layer."),
    *flags.shared(dataset=..., data_dir=..., image_size=8, initializers=["he_normal"], learning_rates=[0.05], seeds=..., epochs=10, steps=..., jit_compile=...),
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
    at_end = [instruments.recalibrated(data, task), with_batch_statistics(data, size, chosen)]
    return usual.training(settings, data, chosen, net, task=task, batch_size=size, at_end=at_end)


def with_batch_statistics(data, size, chosen):
    """Function of the net: its accuracy on test batches of that size, each normalised by itself; of nets with Dropout, which would act, none."""
    import keras
    import numpy as np

    def measure(net):
        if chosen["contestant"] == PLAIN or chosen["rate"] > 0:
            return {}
        right = []
        for x, y in data.test_batches(size):
            if len(x) == size:  # A smaller one has other statistics.
                with keras.StatelessScope():  # Moving statistics stay.
                    right.append(np.mean(net(x, training=True).numpy().argmax(1) == y.numpy()))
        return {QUANTITIES[OF_BATCHES]: np.mean(right)} if right else {}

    return measure


def nets(contestant, batch_size):
    return {"contestant": contestant, "batch_size": batch_size, "rate": 0.0, "weight_decay": 0.0}


def kinds(batch_size, *statistics):
    """Evidence: of batch normalisation at that batch size, accuracies by several kinds of statistics."""
    return evidence.labelled({kind: (nets(BATCH_NORM, batch_size), [QUANTITIES[kind]], evidence.last_accuracy) for kind in statistics})


def gain(name, what, **chosen):
    """A claim that with batch normalisation a regulariser adds less to the test accuracy."""
    kinds = {PLAIN: MOVING, BATCH_NORM: POPULATION}  # What Dropout does to moving averages is another question.
    groups = {one: ({**nets(one, REGULARISED_BATCH), **chosen}, nets(one, REGULARISED_BATCH)) for one in kinds}
    gained = evidence.differences({one: (*groups[one], [QUANTITIES[kind]], evidence.last_accuracy) for one, kind in kinds.items()})
    rule = claims.Better(PLAIN, BATCH_NORM, what=f"test accuracy gained by {what}:")
    return Claim(name, f"{what} improves a net less when it has batch normalisation", "Ioffe & Szegedy, sec. 3.4, 4.2.1", gained, rule)


def at(size, *contestants):
    return evidence.by_seed({one: nets(one, size) for one in contestants}, [QUANTITIES[MOVING]], evidence.last_accuracy)


CLAIMS = [
    Claim(
        "moving_as_population",
        f"At batch size {LARGEST}, moving averages are as good as population statistics",
        "Ioffe & Szegedy, sec. 3.1",
        kinds(LARGEST, MOVING, POPULATION),
        claims.Better(MOVING, POPULATION, by=-0.01),
    ),
    Claim(
        "population_at_small",
        f"At batch size {SMALLEST}, population statistics are better than moving averages",
        "Wu & Johnson, sec. 3",
        kinds(SMALLEST, POPULATION, MOVING),
        claims.Better(POPULATION, MOVING),
    ),
    Claim(
        "sample_variance_at_small",
        f"At batch size {SMALLEST}, moving averages of the sample variance (N-1) are better than of the biased one",
        "Ioffe & Szegedy, Alg. 2",
        at(SMALLEST, SAMPLE_VARIANCE, BATCH_NORM),
        claims.Better(SAMPLE_VARIANCE, BATCH_NORM),
    ),
    Claim(
        "ghosts_at_large",
        f"At batch size {LARGEST}, ghost batches generalise better",
        "Hoffer et al.",
        at(LARGEST, GHOST, BATCH_NORM),
        claims.Better(GHOST, BATCH_NORM),
    ),
    gain("less_dropout", "Dropout", rate=DROPOUT_RATE),
    gain("less_weight_decay", "Weight decay", weight_decay=WEIGHT_DECAY),
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
