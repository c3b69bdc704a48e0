"""Does batch normalisation let nets of saturating activations learn: faster, with steadier inputs, and deep ones at all?

Trains perceptrons of 100 units a layer, with sigmoid and with tanh, with and without batch normalisation, and follows the inputs of one unit of the last hidden
layer (its percentiles over the test images, as fig. 1b, c) and the biases. A third contestant normalises by statistics that are not differentiated: section 2
says that its biases then grow without bound while the loss does not fall by it.

    python -m recipes.saturating_sigmoid                     digits, three and ten layers, four minutes on 2 cores
    python -m recipes.saturating_sigmoid --seeds=0,1,2       with a spread, which claims need
    python -m recipes.saturating_sigmoid --preset=paper --data_dir=DIR

Not as in the paper, which does not state learning rate and initial weights: SGD with 0.1, Glorot's initializer, images normalised instead of binary.

Source: Ioffe & Szegedy 2015, fig. 1, sec. 2, 3.2 and 4.1.
"""

from recipes.frame import Claim, Picture, Recipe, claims, evidence, flags, program, usual

PLAIN, BATCH_NORM, UNDIFFERENTIATED = "plain", "batch_norm", "undifferentiated"
CONTESTANTS = PLAIN, BATCH_NORM, UNDIFFERENTIATED
UNITS, PERCENTILES = 100, (15, 50, 85)
SIGMOID, SHALLOW = "sigmoid", 3

FLAGS = [
    flags.Flag("contestants", list(CONTESTANTS), flags.Listed(flags.Choice(CONTESTANTS)), "Which nets are trained.", axis="contestant"),
    flags.Flag("activations", [SIGMOID, "tanh"], flags.Listed(flags.Choice((SIGMOID, "tanh"))), "Of the hidden layers.", axis="activation"),
    flags.Flag("depth", [SHALLOW, 10], flags.Listed(flags.Integer(1, 100)), "Hidden layers; undifferentiated nets have 3.", axis="depth"),
    *flags.shared(dataset=..., data_dir=..., image_size=8, initializers=..., learning_rates=[0.1], seeds=..., batch_size=60, epochs=..., steps=3000),
    *flags.shared(jit_compile=..., measure_every=50),
]
PRESETS = {"paper": {"dataset": "mnist", "image_size": 28, "steps": 50_000, "depth": [SHALLOW], "activations": [SIGMOID], "initializers": ["normal_0.1"]}}


def trainings(settings, data):
    chosen = flags.combinations(FLAGS, settings)
    return [
        training(settings, data, one)
        for one in chosen
        if one["contestant"] != UNDIFFERENTIATED or (one["depth"] == min(settings.depth) and one["activation"] == settings.activations[0])
    ]


def training(settings, data, chosen):
    from recipes.frame import probe
    from recipes.nets import perceptron

    def net(_):
        return perceptron.perceptron(
            data.image_shape,
            data.classes,
            depth=chosen["depth"],
            units=UNITS,
            activation=chosen["activation"],
            kernel_initializer=chosen["initializer"],
            normalisation="none" if chosen["contestant"] == PLAIN else chosen["contestant"],
        )

    def instruments(net, log_dir):
        if not settings.measure_every:
            return []
        x, _ = data.whole(data.test)
        return [probe.Probe(input_and_biases(net, chosen["depth"], x), settings.measure_every, log_dir)]

    return usual.training(settings, data, chosen, net, instruments=instruments)


def input_and_biases(net, depth, x):
    """Function that returns percentiles of what the first unit of the last hidden layer receives in inference, over the images, and the norm of all biases."""
    import keras
    import numpy as np

    inputs = keras.Model(net.inputs, net.get_layer(f"activation{depth}").input)
    biases = [net.get_layer(f"dense{number}").bias for number in range(1, depth + 1)]

    def measure(_):
        of_unit = np.percentile(inputs.predict_on_batch(x)[:, 0], PERCENTILES)
        norm = np.sqrt(sum(np.sum(np.square(bias.numpy())) for bias in biases))
        return {**{f"input_percentile/{percent}": value for percent, value in zip(PERCENTILES, of_unit)}, "bias_norm": norm}

    return measure


def wander(low, median, high):
    """How far the median moves over the training, in widths of the band between the outer percentiles: the smaller the steadier."""
    return float(median.std() / (high - low).mean())


def growth(norms):
    """Of the biases, in the second half of the training."""
    return float(norms[-1] - norms[len(norms) // 2])


MEASURED = [f"input_percentile/{percent}" for percent in PERCENTILES]
THREE_SIGMOIDS = {one: {"contestant": one, "activation": SIGMOID, "depth": SHALLOW} for one in CONTESTANTS}
PLAIN_AND_BN = {one: THREE_SIGMOIDS[one] for one in (PLAIN, BATCH_NORM)}
TEN_SIGMOIDS = {one: {**chosen, "depth": 10} for one, chosen in PLAIN_AND_BN.items()}
CLAIMS = [
    Claim(
        "sigmoid_faster",
        "The net of three sigmoid layers learns faster with batch normalisation",
        "Ioffe & Szegedy, fig. 1a",
        evidence.by_seed(PLAIN_AND_BN, ["test_accuracy"], evidence.mean),
        claims.better(BATCH_NORM, PLAIN, what="mean test accuracy over the training"),
    ),
    Claim(
        "percentiles_steadier",
        "Inputs of a sigmoid are steadier with batch normalisation",
        "Ioffe & Szegedy, fig. 1b, c",
        evidence.by_seed(PLAIN_AND_BN, MEASURED, wander),
        claims.better(PLAIN, BATCH_NORM, what="wander of the median, in widths between the percentiles 15 and 85:"),
    ),
    Claim(
        "saturating_trainable",
        "Deep nets of sigmoids train with batch normalisation and not without",
        "Ioffe & Szegedy, sec. 3.2, 4.2.2",
        evidence.by_seed(TEN_SIGMOIDS, ["test_accuracy"], evidence.last_accuracy),
        claims.better(BATCH_NORM, PLAIN, by=0.1),
    ),
    Claim(
        "bias_blow_up",
        "Biases grow without bound where the statistics are not differentiated",
        "Ioffe & Szegedy, sec. 2",
        evidence.by_seed({one: THREE_SIGMOIDS[one] for one in (UNDIFFERENTIATED, BATCH_NORM)}, ["bias_norm"], growth),
        claims.better(UNDIFFERENTIATED, BATCH_NORM, by=0.1, what="growth of the biases' norm in the second half of the training"),
    ),
]


def accuracy(experiment):
    from recipes.frame import pictures, tables

    rows, data = tables.of(experiment.table, "test_accuracy"), experiment.data
    label, reference = f"test accuracy on {data.name}", (data.chance, "chance")
    return pictures.curves(rows, label, pictures.outcomes(experiment), order=CONTESTANTS, panels=("activation", "depth"), limits=(0, 1), reference=reference)


def percentiles(experiment):
    from recipes.frame import pictures

    rows = experiment.table[experiment.table["quantity"].isin(MEASURED)]
    rows = rows[(rows["activation"] == SIGMOID) & (rows["depth"] == SHALLOW) & (rows["seed"] == rows["seed"].min())]
    if rows.empty:
        return None
    rows = rows.assign(percentile=rows["quantity"].str.rsplit("/").str[-1])
    title = "Percentiles, over the test images, of what one sigmoid of the last hidden layer receives"
    return pictures.curves(rows, "input of the sigmoid", title, hue="percentile", panels=["contestant"])


PICTURES = [
    Picture("curves", "test accuracy over optimizer steps", accuracy),
    Picture("percentiles", "percentiles of the input of one sigmoid over optimizer steps", percentiles),
]
RECIPE = Recipe("saturating_sigmoid", __doc__, FLAGS, usual.images, trainings, CLAIMS, PICTURES, PRESETS)

if __name__ == "__main__":
    program.run(RECIPE)
