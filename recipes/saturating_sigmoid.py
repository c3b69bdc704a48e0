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

from recipes.frame import Claim, Picture, Recipe, claims, drawn, evidence, flags, program, usual

PLAIN, BATCH_NORM, UNDIFFERENTIATED = "plain", "batch_norm", "undifferentiated"
CONTESTANTS = PLAIN, BATCH_NORM, UNDIFFERENTIATED
UNITS, PERCENTILES, IMAGES = 100, (15, 50, 85), 2000  # Test images, at most, whose percentiles are taken.
SIGMOID, SHALLOW = "sigmoid", 3
FORMULAS = {"1 / (1 - exp(-x))": -1, "1 / (1 + exp(-x))": 1}

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
    from recipes.frame import probe, tasks
    from recipes.frame.instruments import recalibrated
    from recipes.nets import perceptron

    task = tasks.Classification()

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
        x, _ = data.sample(IMAGES, data.test)
        return [probe.Probe(input_and_biases(net, chosen["depth"], x), settings.measure_every, log_dir)]

    at_end = [recalibrated(data, task), formulas]
    return usual.training(settings, data, chosen, net, task=task, instruments=instruments, at_end=at_end)


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


def formulas(net):
    """By how much two formulas differ from the sigmoid that nets use."""
    import keras
    import numpy as np

    x = np.linspace(-5, 5, 100)
    sigmoid = keras.ops.convert_to_numpy(keras.activations.sigmoid(x))
    return {f"sigmoid/{name}": abs(1 / (1 + sign * np.exp(-x)) - sigmoid).max() for name, sign in FORMULAS.items()}


MEASURED = [f"input_percentile/{percent}" for percent in PERCENTILES]
THREE_SIGMOIDS = {one: {"contestant": one, "activation": SIGMOID, "depth": SHALLOW} for one in CONTESTANTS}
PLAIN_AND_BN = {one: THREE_SIGMOIDS[one] for one in (PLAIN, BATCH_NORM)}
TEN_SIGMOIDS = {one: {**chosen, "depth": 10} for one, chosen in PLAIN_AND_BN.items()}
CLAIMS = [
    Claim(
        "sigmoid_faster",
        "A net of three sigmoid layers learns faster with batch normalisation",
        "Ioffe & Szegedy, fig. 1a",
        evidence.by_seed(PLAIN_AND_BN, ["test_accuracy"], evidence.mean_accuracy),
        claims.Better(BATCH_NORM, PLAIN, what="mean test accuracy over the training"),
    ),
    Claim(
        "percentiles_steadier",
        "Batch normalisation keeps the inputs of a sigmoid steadier",
        "Ioffe & Szegedy, fig. 1b, c",
        evidence.by_seed(PLAIN_AND_BN, MEASURED, wander),
        claims.Better(PLAIN, BATCH_NORM, what="standard deviation of the median over training / (85th - 15th percentile):"),
    ),
    Claim(
        "saturating_trainable",
        "Ten sigmoid layers train only with batch normalisation",
        "Ioffe & Szegedy, sec. 3.2, 4.2.2",
        evidence.by_seed(TEN_SIGMOIDS, ["test_accuracy"], evidence.last_accuracy),
        claims.Better(BATCH_NORM, PLAIN, by=0.1),
    ),
    Claim(
        "bias_blow_up",
        "Biases keep growing when gradients ignore the batch statistics",
        "Ioffe & Szegedy, sec. 2",
        evidence.by_seed({one: THREE_SIGMOIDS[one] for one in (UNDIFFERENTIATED, BATCH_NORM)}, ["bias_norm"], growth),
        claims.Better(UNDIFFERENTIATED, BATCH_NORM, by=0.1, what="growth of the bias norm in the second half of training"),
    ),
    Claim(
        "popular_sigmoid",
        "The sigmoid is 1 / (1 - exp(-x))",
        "often printed, with the wrong sign",
        evidence.labelled({name: ({"contestant": BATCH_NORM}, [f"sigmoid/{name}"], evidence.last) for name in FORMULAS}),
        claims.Exact((next(iter(FORMULAS)),), 1e-6, "largest difference from the sigmoid:"),
    ),
]


def three_sigmoids(rows):
    return rows[(rows["activation"] == SIGMOID) & (rows["depth"] == SHALLOW)]


LOOK = dict(order=CONTESTANTS, panels=("activation", "depth"), limits=(0, 1), chance=True)
ACCURACY = drawn.curves("test_accuracy", "test accuracy on {data}", **LOOK)
RECEIVED = "What one sigmoid of the last hidden layer receives of the test images"
INPUTS = drawn.percentiles("input_percentile", "input of the sigmoid", RECEIVED, keep=three_sigmoids)
BIASES = drawn.curves("bias_norm", "norm of all biases", "Biases over the training", keep=three_sigmoids, order=CONTESTANTS)
PICTURES = [
    Picture("curves", "test accuracy over optimizer steps", ACCURACY),
    Picture("percentiles", "percentiles of the input of one sigmoid over optimizer steps", INPUTS, ["percentiles_steadier"]),
    Picture("biases", "norm of the biases over optimizer steps", BIASES, ["bias_blow_up"]),
]


def in_words(settings):
    return f"perceptrons of {flags.written(settings.depth)} layers of {UNITS} units, {flags.written(settings.activations)}"


RECIPE = Recipe("saturating_sigmoid", __doc__, FLAGS, in_words, usual.images, trainings, CLAIMS, PICTURES, PRESETS)

if __name__ == "__main__":
    program.run(RECIPE)
