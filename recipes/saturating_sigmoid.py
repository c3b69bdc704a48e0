"""Does batch normalisation let nets of saturating activations learn: faster, with steadier inputs, and deep ones at all?

Trains perceptrons of 100 units a layer, with sigmoid and with tanh, with and without batch normalisation, and follows the inputs of one unit of the last hidden
layer (its percentiles over the test images, as fig. 1b, c) and the biases. A third contestant normalises by statistics that are not differentiated: section 2
says that its biases then grow without bound while the loss stays as it is, which holds of a step of the bias alone; here all weights move.

    python -m recipes.saturating_sigmoid                     digits, three and ten layers, four minutes on 2 cores
    python -m recipes.saturating_sigmoid --seeds=0,1,2       three seeds: without a spread no claim is judged
    python -m recipes.saturating_sigmoid --preset=paper --data_dir=DIR

Not as in the paper, which does not state learning rate and initial weights: SGD with 0.1, Glorot's initializer, images normalised instead of binary.

Source: Ioffe & Szegedy 2015, fig. 1, sec. 2, 3.2 and 4.1.
"""

from recipes.frame import Claim, Picture, Recipe, claims, drawn, evidence, flags, program, usual
from recipes.frame.comparisons import equal, larger

PLAIN, BATCH_NORM, UNDIFFERENTIATED = "plain", "batch_norm", "undifferentiated"
CONTESTANTS = PLAIN, BATCH_NORM, UNDIFFERENTIATED
UNITS, PERCENTILES, IMAGES = 100, (15, 50, 85), 2000  # Test images, at most, whose percentiles are taken.
SIGMOID, SHALLOW = "sigmoid", 3
ACTIVATIONS = SIGMOID, "tanh"
FORMULAS = {"1 / (1 - exp(-x))": -1, "1 / (1 + exp(-x))": 1}

CONTESTANTS_HELP = (
    "plain: no normalisation; batch_norm: keras_bn.BatchNormalization in front of each activation; undifferentiated: normalised by statistics that are not "
    f"differentiated, with {SHALLOW} {SIGMOID} layers only."
)

FLAGS = [
    flags.contestants(CONTESTANTS, CONTESTANTS_HELP),
    flags.Flag("activations", list(ACTIVATIONS), flags.Listed(flags.Choice(ACTIVATIONS)), "Activations of the hidden layers.", axis="activation"),
    flags.Flag("depth", [SHALLOW, 10], flags.Listed(flags.Integer(1, 100)), "Numbers of hidden layers.", axis="depth"),
    *flags.shared(
        "dataset", "data_dir", "initializers", "seeds", "steps", "jit_compile", image_size=8, learning_rates=[0.1], batch_size=60, epochs=130, measure_every=50
    ),
]
PRESETS = {"paper": {"dataset": "mnist", "image_size": 28, "steps": 50_000, "depth": [SHALLOW], "activations": [SIGMOID], "initializers": ["normal_0.1"]}}


def trainings(settings, data):
    chosen = flags.combinations(FLAGS, settings)
    return [
        training(settings, data, one) for one in chosen if one["contestant"] != UNDIFFERENTIATED or (one["depth"] == SHALLOW and one["activation"] == SIGMOID)
    ]


def training(settings, data, chosen):
    from recipes.frame import probe, tasks
    from recipes.frame.instruments import recalibrated
    from recipes.nets import identities, perceptron

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

    at_end = [recalibrated(data, task), formulas, lambda _: identities.of_a_bias(chosen["seed"])]
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


def slowing(norms):
    """Growth of the biases in the second half of the training, in shares of that in the first."""
    half = len(norms) // 2
    return float((norms[-1] - norms[half]) / (norms[half] - norms[0]))


def formulas(net):
    """By how much two formulas differ from the sigmoid that nets use."""
    import keras
    import numpy as np

    x = np.linspace(-5, 5, 100)
    sigmoid = keras.ops.convert_to_numpy(keras.activations.sigmoid(x))
    return {f"sigmoid/{name}": abs(1 / (1 + sign * np.exp(-x)) - sigmoid).max() for name, sign in FORMULAS.items()}


def nets(*contestants, activation=SIGMOID, depth=SHALLOW):
    return {one: {"contestant": one, "activation": activation, "depth": depth} for one in contestants}


def trainable(activation):
    """A claim that ten layers train only with batch normalisation."""
    groups, sentence = nets(BATCH_NORM, PLAIN, activation=activation, depth=10), f"Ten {activation} layers train only with batch normalisation"
    return larger(f"deep_{activation}", sentence, "Ioffe & Szegedy, sec. 3.2, 4.2.2", groups, *REACHES, by=0.1)


REACHES, ON_THE_WAY = ([evidence.WITH_GOOD_STATISTICS], evidence.last_accuracy), (["test_accuracy"], evidence.mean_accuracy, 0.0, "mean test accuracy")
MEASURED, STEADY = [f"input_percentile/{percent}" for percent in PERCENTILES], "deviation of the median over training / (85th - 15th percentile)"
FASTER, STEADIER = "A net of three sigmoid layers learns faster with batch normalisation", "Batch normalisation keeps the inputs of a sigmoid steadier"
IGNORING, SECTION_2, SLOWING = "Where gradients ignore the batch statistics, ", "Ioffe & Szegedy, sec. 2", "growth of the biases, second half / first half"
IN_VAIN, STEPS = f"{IGNORING}a step of the bias changes nothing, and the next is the same", {"the loss": "bias/loss", "the next step": "bias/step"}
GROWN, UNBOUNDED = ["bias_norm"], claims.Within((UNDIFFERENTIATED,), SLOWING, lower=0.5)
SIGN, PRINTED, WRONG = "often printed, with the wrong sign", {name: f"sigmoid/{name}" for name in FORMULAS}, [next(iter(FORMULAS))]
CLAIMS = [
    larger("sigmoid_faster", FASTER, "Ioffe & Szegedy, fig. 1a", nets(BATCH_NORM, PLAIN), *ON_THE_WAY),
    larger("percentiles_steadier", STEADIER, "Ioffe & Szegedy, fig. 1b, c", nets(PLAIN, BATCH_NORM), MEASURED, wander, what=STEADY),
    *(trainable(activation) for activation in ACTIVATIONS),
    equal("bias_step_in_vain", IN_VAIN, SECTION_2, {"contestant": UNDIFFERENTIATED}, STEPS, "relative change of"),
    larger("bias_blow_up", f"{IGNORING}biases grow more", SECTION_2, nets(UNDIFFERENTIATED, BATCH_NORM), GROWN, by=0.1, what="norm of all biases"),
    Claim("bias_unbounded", f"{IGNORING}biases grow on without slowing down", SECTION_2, evidence.by_seed(nets(UNDIFFERENTIATED), GROWN, slowing), UNBOUNDED),
    equal("popular_sigmoid", f"The sigmoid is {WRONG[0]}", SIGN, {"contestant": BATCH_NORM}, PRINTED, "largest difference from the sigmoid", WRONG, 1e-6),
]


def three_sigmoids(rows):
    return rows[(rows["activation"] == SIGMOID) & (rows["depth"] == SHALLOW)]


LOOK = dict(order=CONTESTANTS, panels=("activation", "depth"), limits=(0, 1), chance=True)
ACCURACY = drawn.curves("test_accuracy", "test accuracy on {data}", **LOOK)
RECEIVED = "What one sigmoid of the last hidden layer receives of the test images"
INPUTS = drawn.percentiles("input_percentile", "input of the sigmoid", RECEIVED, keep=three_sigmoids)
BIASES = drawn.curves("bias_norm", "norm of all biases", "Biases over the training", keep=three_sigmoids, order=CONTESTANTS)
PICTURES = [
    Picture("curves", "test accuracy over optimizer steps", ACCURACY, ["sigmoid_faster", *(f"deep_{activation}" for activation in ACTIVATIONS)]),
    Picture("percentiles", "percentiles of the input of one sigmoid over optimizer steps", INPUTS, ["percentiles_steadier"]),
    Picture("biases", "norm of the biases over optimizer steps", BIASES, ["bias_blow_up", "bias_unbounded"]),
]


def in_words(settings):
    return f"perceptrons of {flags.written(settings.depth)} layers of {UNITS} units, {flags.written(settings.activations)}"


RECIPE = Recipe("saturating_sigmoid", __doc__, FLAGS, in_words, usual.images, trainings, CLAIMS, PICTURES, PRESETS)

if __name__ == "__main__":
    program.run(RECIPE)
