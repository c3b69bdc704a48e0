"""How good are moving averages as statistics for inference, by the size of the batches, and does batch normalisation replace Dropout?

Trains perceptrons of three ReLU layers with batches of 2 to 256 images. Each net is tested with its moving averages (momentum 0.9), with the statistics of test
batches as large as those of the training, and with population statistics of training images at the final weights. Contestants: batch normalisation; the same
with the sample variance (Alg. 2) in the moving averages; ghost batches of 16; no normalisation. At one batch size Dropout is tried, too.

    python -m recipes.batch_statistics                     digits, three minutes on 2 cores
    python -m recipes.batch_statistics --seeds=0,1,2       with a spread, which claims need
    python -m recipes.batch_statistics --preset=paper --data_dir=DIR

Not as in the papers: perceptrons, whose batches have as many values a channel as images, instead of convolutional nets, where that is hundreds of times more.

Source: Ioffe & Szegedy 2015, Alg. 2, sec. 3.1, 3.4; Wu & Johnson 2021; Hoffer, Hubara & Soudry 2017.
"""

from recipes.frame import Claim, Picture, Recipe, claims, evidence, flags, program, usual

PLAIN, BATCH_NORM, SAMPLE_VARIANCE, GHOST = "plain", "batch_norm", "sample_variance", "ghost"
CONTESTANTS = BATCH_NORM, SAMPLE_VARIANCE, GHOST, PLAIN
GHOST_SIZE, DROPOUT_BATCH, DROPOUT_RATE = 16, 32, 0.5
OPTIONS = {SAMPLE_VARIANCE: {"unbiased": True}, GHOST: {"virtual_batch_size": GHOST_SIZE}}  # Of the layer.
SMALLEST, LARGEST = 2, 256
MOVING, POPULATION, OF_BATCHES = "moving", "population", "of test batches"  # Statistics, and the accuracies by them.
QUANTITIES = {MOVING: "test_accuracy", POPULATION: "recalibrated_test_accuracy", OF_BATCHES: "batch_test_accuracy"}

FLAGS = [
    flags.Flag("contestants", list(CONTESTANTS), flags.Listed(flags.Choice(CONTESTANTS)), "Which nets are trained.", axis="contestant"),
    flags.Flag("batch_sizes", [SMALLEST, 8, 32, 128, LARGEST], flags.Listed(flags.Integer(2, 65536)), "Images an optimizer step.", axis="batch_size"),
    flags.Flag("rates", [0.0, DROPOUT_RATE], flags.Listed(flags.Float(upper_bound=0.95)), f"Of Dropout, at batches of {DROPOUT_BATCH}.", axis="rate"),
    flags.Flag("units", 100, flags.Integer(1, 10000), "Of each hidden layer."),
    *flags.shared(dataset=..., data_dir=..., image_size=8, initializers=["he_normal"], learning_rates=[0.05], seeds=..., epochs=10, steps=..., jit_compile=...),
]
PRESETS = {"paper": {"dataset": "cifar10", "image_size": 32, "units": 1000, "epochs": 60}}


def trainings(settings, data):
    """Dropout at one batch size, ghosts where a batch is larger than one of them."""
    chosen = [one for one in flags.combinations(FLAGS, settings) if one["rate"] == 0 or (one["batch_size"] == DROPOUT_BATCH and one["contestant"] != GHOST)]
    return [training(settings, data, one) for one in chosen if one["contestant"] != GHOST or one["batch_size"] > GHOST_SIZE]


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


def nets(contestant, batch_size, rate=0.0):
    return {"contestant": contestant, "batch_size": batch_size, "rate": rate}


def kinds(batch_size, *statistics):
    """Evidence: of batch normalisation at that batch size, accuracies by several kinds of statistics."""
    return evidence.labelled({kind: (nets(BATCH_NORM, batch_size), [QUANTITIES[kind]], evidence.last_accuracy) for kind in statistics})


def gain_of_dropout(experiment):
    """Evidence: what Dropout adds to the test accuracy (by population statistics, with batch normalisation)."""
    found = {}
    for contestant, kind in ((PLAIN, MOVING), (BATCH_NORM, POPULATION)):
        groups = {str(rate): nets(contestant, DROPOUT_BATCH, rate) for rate in (0.0, DROPOUT_RATE)}
        accuracies = evidence.by_seed(groups, [QUANTITIES[kind]], evidence.last_accuracy)(experiment)
        if accuracies is None:
            return None
        without, with_dropout = accuracies.values()
        found[contestant] = [b - a for a, b in zip(without, with_dropout, strict=True)]
    return found


def at(size, *contestants):
    return evidence.by_seed({one: nets(one, size) for one in contestants}, [QUANTITIES[MOVING]], evidence.last_accuracy)


CLAIMS = [
    Claim(
        "moving_as_population",
        f"Moving averages serve as well as population statistics (batches of {LARGEST})",
        "Ioffe & Szegedy, sec. 3.1",
        kinds(LARGEST, MOVING, POPULATION),
        claims.better(MOVING, POPULATION, by=-0.01),
    ),
    Claim(
        "population_at_small",
        f"Population statistics are better than moving averages at batches of {SMALLEST}",
        "Wu & Johnson, sec. 3",
        kinds(SMALLEST, POPULATION, MOVING),
        claims.better(POPULATION, MOVING),
    ),
    Claim(
        "sample_variance_at_small",
        f"The sample variance makes better moving averages at batches of {SMALLEST}",
        "Ioffe & Szegedy, Alg. 2",
        at(SMALLEST, SAMPLE_VARIANCE, BATCH_NORM),
        claims.better(SAMPLE_VARIANCE, BATCH_NORM),
    ),
    Claim(
        "ghosts_at_large",
        f"Ghost batches generalise better at batches of {LARGEST}",
        "Hoffer et al.",
        at(LARGEST, GHOST, BATCH_NORM),
        claims.better(GHOST, BATCH_NORM),
    ),
    Claim(
        "less_dropout",
        "With batch normalisation Dropout adds less",
        "Ioffe & Szegedy, sec. 3.4",
        gain_of_dropout,
        claims.better(PLAIN, BATCH_NORM, what="gain by Dropout"),
    ),
]


def by_statistics(experiment):
    from recipes.frame import pictures, tables

    rows = tables.stacked({kind: tables.at_end(experiment.table, quantity) for kind, quantity in QUANTITIES.items()}, "statistics")
    rows = rows[(rows["rate"] == 0) & (rows["contestant"] != PLAIN)]
    look = dict(x="batch_size", hue="statistics", panels=["contestant"], log="x")
    return pictures.curves(rows, f"test accuracy on {experiment.data.name}", "Accuracy by the statistics of inference", **look)


RECIPE = Recipe(
    "batch_statistics", __doc__, FLAGS, usual.images, trainings, CLAIMS, [Picture("statistics", "test accuracy over batch size", by_statistics)], PRESETS
)

if __name__ == "__main__":
    program.run(RECIPE)
