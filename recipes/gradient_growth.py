"""How do gradients grow with depth before the first step, with and without batch normalisation, and how far can one step go?

Builds deep perceptrons and trains nothing. Of each net, on one batch, it measures how the squared norm of the gradient with respect to a layer's outputs grows
from layer to layer towards the input, and the loss along the gradient, relative to where it begins, by the size of the step. What holds of one normalised
layer whatever the numbers (scale of the weights, bias) is checked on random ones. Not as in the papers: perceptrons instead of Bjorck's ResNet-110.

    python -m recipes.gradient_growth                          digits, fifty layers, three minutes on 2 cores
    python -m recipes.gradient_growth --seeds=0,1,2,3,4        five seeds: without a spread most claims are not judged
    python -m recipes.gradient_growth --seeds=0,1,2,3,4 --batch_sizes=8,32,128,256
    python -m recipes.gradient_growth --preset=paper --data_dir=DIR

Source: Yang et al. 2019 (growth by 1.467 a layer in a ReLU net, by (B - 2) / (B - 3) in a linear one, whatever the initial weights); Bjorck et al. 2018;
Ioffe & Szegedy 2015, sec. 3.2, 3.3.
"""

from recipes.frame import Claim, Picture, Recipe, Training, claims, drawn, evidence, flags, program, usual
from recipes.frame.comparisons import equal, larger

PLAIN, BATCH_NORM, LINEAR = CONTESTANTS = "plain", "batch_norm", "linear_batch_norm"
INITIALIZERS = HE, GLOROT = "he_normal", "glorot_uniform"
UNITS, EDGE = 128, 5  # Units a layer; layers at either end that do not count, as the growth settles there.
PREDICTED = {8: 1.788, 32: 1.522, 128: 1.480, 256: 1.473}  # Batch size -> growth in a ReLU net, Yang et al. 2019, eq. 25.
STEP_SIZES = tuple(10.0 ** (quarters / 4) for quarters in range(-20, 9))  # 1e-5 to 100.
LARGEST_RISE = 10.0  # Of the loss, of a step that is said to be too large.
GROWTH, REACH = "gradient_growth", "largest_step"
CASES = "without epsilon", "with epsilon 0.001"

FLAGS = [
    flags.contestants(CONTESTANTS, "plain: ReLU; batch_norm: batch normalisation and ReLU; linear_batch_norm: batch normalisation alone."),
    flags.Flag("depth", [50], flags.Listed(flags.Integer(2 * EDGE + 2, 1000)), "Numbers of hidden layers.", axis="depth"),
    flags.Flag("batch_sizes", [8, 32, 128], flags.Listed(flags.Integer(2, 4096)), "Batch sizes, each of one batch of images.", axis="batch_size"),
    *flags.shared("dataset", "data_dir", "seeds", image_size=8, initializers=list(INITIALIZERS)),
]
OF_THE_PAPER = {"batch_sizes": [8, 32, 128, 256], "depth": [50, 100], "seeds": [0, 1, 2, 3, 4]}
PRESETS = {"paper": {"dataset": "cifar10", "image_size": 32, **OF_THE_PAPER}}


def trainings(settings, data):
    return [training(settings, data, one) for one in flags.combinations(FLAGS, settings)]


def training(settings, data, chosen):
    import keras

    from recipes.frame import tasks
    from recipes.nets import identities, perceptron

    def net(_):
        return perceptron.perceptron(
            data.image_shape,
            data.classes,
            depth=chosen["depth"],
            units=UNITS,
            activation="linear" if chosen["contestant"] == LINEAR else "relu",
            kernel_initializer=chosen["initializer"],
            normalisation="none" if chosen["contestant"] == PLAIN else "batch_norm",
        )

    def measure(net):
        [(x, y)] = data.training_batches(chosen["batch_size"], chosen["seed"]).take(1)
        return gradients(net, chosen["depth"], x, y) | steps_along_the_gradient(net, x, y)

    return Training(
        hyperparameters=chosen,
        build=net,
        data=data,
        task=tasks.Untrained(GROWTH, "growth of the squared gradient norm, a layer"),
        optimizer=keras.optimizers.SGD,
        batch_size=chosen["batch_size"],
        steps=0,
        at_end=[measure, lambda _: identities.of_weights(chosen["seed"])],
    )


def gradients(net, depth, x, y):
    """The squared norms of the gradients with respect to what each hidden Dense returns, and their growth towards the input."""
    import keras
    import numpy as np
    import tensorflow as tf

    names = [f"dense{number}" for number in range(1, depth + 1)]
    outputs = keras.Model(net.inputs, [net.get_layer(name).output for name in names] + [net.output])
    with tf.GradientTape() as tape:
        *hidden, logits = outputs(x, training=True)
        loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(y, logits, from_logits=True))
    norms = [float(tf.reduce_sum(tf.cast(gradient, tf.float64) ** 2)) for gradient in tape.gradient(loss, hidden)]
    inner = np.log(norms[EDGE : depth - EDGE])
    growth = np.exp((inner[0] - inner[-1]) / (len(inner) - 1))
    return {**{f"squared_gradient_norm/{number:03d}": norm for number, norm in enumerate(norms, start=1)}, GROWTH: growth}


def steps_along_the_gradient(net, x, y):
    """The loss after one step along the gradient, relative to before, and the largest step before it rises tenfold."""
    from keras_bn import measures

    landscape = measures.loss_landscape(net, x, y, STEP_SIZES)
    relative = [float(loss) / float(landscape.loss) for loss in landscape.losses]
    reached = 0
    while reached < len(relative) and relative[reached] < LARGEST_RISE:
        reached += 1
    found = {f"relative_loss/{size:g}": value for size, value in zip(STEP_SIZES, relative)}
    return {**found, REACH: STEP_SIZES[reached - 1] if reached else 0.0}


def nets(*contestants, batch_size=128, initializer=HE):
    return {one: {"contestant": one, "batch_size": batch_size, "initializer": initializer, "depth": 50} for one in contestants}


def grows(name, contestant, batch_size, value, source):
    """A claim that gradients grow by that a layer; the mean may miss it by a quarter of what it exceeds 1 by."""
    kind = "linear net" if contestant == LINEAR else "ReLU net"
    sentence = f"At initialisation, the squared gradient norm grows by a factor of {value:.3f} per layer ({kind}, batch size {batch_size})"
    measured = evidence.by_seed(nets(contestant, batch_size=batch_size), [GROWTH])
    return Claim(name, sentence, source, measured, claims.near(contestant, value, within=(value - 1) / 4, what="growth"))


def identity(name, sentence, section, quantity):
    """A claim about the layer alone, on random numbers."""
    cases = {case: f"{quantity}/{case}" for case in CASES}
    return equal(name, sentence, f"Ioffe & Szegedy, {section}", {"contestant": BATCH_NORM}, cases, "largest relative difference")


def explodes(name, initializer):
    """A claim that without batch normalisation smaller steps along the gradient are too large."""
    sentence = f"Without batch normalisation, the loss explodes at smaller step sizes ({initializer})"
    groups, what = nets(BATCH_NORM, PLAIN, initializer=initializer), "log10 of the largest step size before the loss rises tenfold"
    return larger(name, sentence, "Bjorck et al.", groups, [REACH], evidence.middle_logarithm, what=what)


def by_initializer(contestant):
    """Two cases: a contestant's growth from the one initializer and from the other."""
    return tuple((nets(contestant, initializer=initializer)[contestant], [GROWTH], evidence.last) for initializer in INITIALIZERS)


LESS_DEPENDENT = "With batch normalisation, gradients depend less on the scale of the initial weights"
OF_BOTH = evidence.Differences({one: by_initializer(one) for one in (PLAIN, BATCH_NORM)}, absolute=True)
APART = claims.Better(PLAIN, BATCH_NORM, what=f"how far the growth with {HE} is from that with {GLOROT}")
CLAIMS = [
    identity("scale_invariance", "Scaling the weights does not change the output of batch normalisation", "sec. 3.3", "scale/outputs"),
    identity("gradient_of_scaled", "Scaling the weights by a scales their gradient by 1 / a", "sec. 3.3", "scale/gradient"),
    identity("cancelled_bias", "Batch normalisation cancels the bias of the layer before it", "sec. 3.2", "bias/gradient"),
    *(grows(f"growth_{size}", BATCH_NORM, size, value, "Yang et al., eq. 25") for size, value in PREDICTED.items()),
    grows("growth_linear", LINEAR, 32, (32 - 2) / (32 - 3), "Yang et al., linear nets"),
    Claim("initializer_does_not_matter", LESS_DEPENDENT, "Ioffe & Szegedy, sec. 3.3; Yang et al.", OF_BOTH, APART),
    *(explodes(f"larger_steps_{initializer}", initializer) for initializer in INITIALIZERS),
]


def by_step_size(experiment):
    from recipes.frame import tables

    rows = tables.by_layer(experiment.table, "relative_loss")
    return rows.assign(step_size=rows["layer"].astype(float))


LOOK = dict(panels=("batch_size", "initializer"), order=CONTESTANTS)
NORMS = drawn.by_layer("squared_gradient_norm")
DEPTH = drawn.curves(NORMS, "squared gradient norm", "Gradient with respect to a layer's outputs, at initialisation", x="layer_number", log="y", **LOOK)
REACHED = "Loss after one step along the gradient, relative to before"
STEPS = drawn.curves(by_step_size, "relative loss", REACHED, x="step_size", log="xy", limits=(0.01, 1e4), **LOOK)
PICTURES = [
    Picture("growth", "squared gradient norm over depth", DEPTH, [f"growth_{size}" for size in PREDICTED]),
    Picture("reach", "relative loss over the size of the step", STEPS, [f"larger_steps_{initializer}" for initializer in INITIALIZERS]),
]


def in_words(settings):
    return f"untrained perceptrons of {flags.written(settings.depth)} layers of {UNITS} units"


RECIPE = Recipe("gradient_growth", __doc__, FLAGS, in_words, usual.images, trainings, CLAIMS, PICTURES, PRESETS)

if __name__ == "__main__":
    program.run(RECIPE)
