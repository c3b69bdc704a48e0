"""How do gradients grow with depth before the first step, with and without batch normalisation, and how far can one step go?

Builds deep perceptrons and trains nothing. Of each net, on one batch, it measures how the squared norm of the gradient with respect to a layer's outputs grows
from layer to layer towards the input, and the loss along the gradient, relative to where it begins, by the size of the step.

    python -m recipes.gradient_growth                          digits, fifty layers, three minutes on 2 cores
    python -m recipes.gradient_growth --seeds=0,1,2,3,4        with a spread, which claims need
    python -m recipes.gradient_growth --preset=paper

Not as in the papers: perceptrons instead of Bjorck's ResNet-110 without shortcuts.

Source: Yang et al. 2019 (growth by 1.467 a layer in a ReLU net, by (B - 2) / (B - 3) in a linear one, whatever the initial weights); Bjorck et al. 2018.
"""

import math

from recipes.frame import Claim, Picture, Recipe, Training, claims, evidence, flags, program, usual

PLAIN, BATCH_NORM, LINEAR = CONTESTANTS = "plain", "batch_norm", "linear_batch_norm"
UNITS, EDGE = 128, 5  # Units a layer; layers at either end that do not count, as the growth settles there.
PREDICTED = {8: 1.788, 32: 1.522, 128: 1.480, 256: 1.473}  # Batch size -> growth in a ReLU net, Yang et al. 2019, eq. 25.
STEP_SIZES = tuple(10.0**exponent for exponent in range(-5, 3))
LARGEST_RISE = 10.0  # Of the loss, of a step that is said to be too large.
GROWTH, REACH = "gradient_growth", "largest_step"

FLAGS = [
    flags.Flag(
        "contestants",
        list(CONTESTANTS),
        flags.Listed(flags.Choice(CONTESTANTS)),
        "plain: ReLU; batch_norm: batch normalisation and ReLU; linear_batch_norm: batch normalisation alone.",
        axis="contestant",
    ),
    flags.Flag("depth", [50], flags.Listed(flags.Integer(2 * EDGE + 2, 1000)), "Hidden layers.", axis="depth"),
    flags.Flag("batch_sizes", [8, 32, 128], flags.Listed(flags.Integer(2, 4096)), "Images of the one batch.", axis="batch_size"),
    *flags.shared(dataset=..., data_dir=..., image_size=8, initializers=["he_normal", "glorot_uniform"], seeds=...),
]
PRESETS = {"paper": {"batch_sizes": [8, 32, 128, 256], "depth": [50, 100], "seeds": [0, 1, 2, 3, 4]}}


def trainings(settings, data):
    return [training(settings, data, one) for one in flags.combinations(FLAGS, settings)]


def training(settings, data, chosen):
    import keras

    from recipes.frame import tasks
    from recipes.nets import perceptron

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
        at_end=[measure],
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


def nets(contestant, batch_size, initializer="he_normal"):
    return {"contestant": contestant, "batch_size": batch_size, "initializer": initializer, "depth": 50}


def grows(name, contestant, batch_size, value, source):
    """A claim that gradients grow by that a layer."""
    sentence = f"At initialisation squared gradients grow by {value:.3f} a layer ({contestant}, batches of {batch_size})"
    measured = evidence.by_seed({contestant: nets(contestant, batch_size)}, [GROWTH])
    return Claim(name, sentence, source, measured, claims.near(contestant, value, within=0.05, what="growth"))


def by_initializer(experiment):
    """Evidence: how much faster gradients grow from he_normal than from glorot_uniform, with batch normalisation and without."""
    found = {}
    for contestant in (BATCH_NORM, PLAIN):
        groups = {name: nets(contestant, 128, name) for name in ("he_normal", "glorot_uniform")}
        growth = evidence.by_seed(groups, [GROWTH])(experiment)
        if growth is None:
            return None
        found[contestant] = [abs(he - glorot) for he, glorot in zip(growth["he_normal"], growth["glorot_uniform"], strict=True)]
    return found


CLAIMS = [
    *(grows(f"growth_{size}", BATCH_NORM, size, value, "Yang et al., eq. 25") for size, value in PREDICTED.items()),
    grows("growth_linear", LINEAR, 32, (32 - 2) / (32 - 3), "Yang et al., linear nets"),
    Claim(
        "initializer_does_not_matter",
        "With batch normalisation gradients depend less on the scale of the initial weights",
        "Ioffe & Szegedy, sec. 3.3; Yang et al.",
        by_initializer,
        claims.better(PLAIN, BATCH_NORM, what="what two initializers differ by in growth:"),
    ),
    Claim(
        "larger_steps",
        "Without batch normalisation the loss explodes at smaller steps along the gradient",
        "Bjorck et al.",
        evidence.by_seed({one: nets(one, 128) for one in (PLAIN, BATCH_NORM)}, [REACH], lambda steps: math.log10(steps[-1]) if steps[-1] > 0 else math.nan),
        claims.better(BATCH_NORM, PLAIN, what="power of ten of the largest step before the loss rises tenfold:"),
    ),
]


def growth(experiment):
    from recipes.frame import pictures, tables

    rows = tables.by_layer(experiment.table, "squared_gradient_norm")
    title = "Squared norm of the gradient with respect to a layer's outputs, before the first step"
    return pictures.curves(rows, "squared gradient norm", title, x="layer_number", panels=("batch_size", "initializer"), order=CONTESTANTS, log="y")


def reach(experiment):
    from recipes.frame import pictures, tables

    rows = tables.by_layer(experiment.table, "relative_loss")
    rows = rows.assign(step_size=rows["layer"].astype(float)).dropna(subset="value")
    title = "Loss after one step along the gradient, relative to before"
    return pictures.curves(rows, "relative loss", title, x="step_size", panels=("batch_size", "initializer"), order=CONTESTANTS, log="xy", limits=(0.01, 1e4))


PICTURES = [Picture("growth", "squared gradient norm over depth", growth), Picture("reach", "relative loss over the size of the step", reach)]
RECIPE = Recipe("gradient_growth", __doc__, FLAGS, usual.images, trainings, CLAIMS, PICTURES, PRESETS)

if __name__ == "__main__":
    program.run(RECIPE)
