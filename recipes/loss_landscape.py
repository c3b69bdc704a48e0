"""Does batch normalisation smooth the loss landscape, and do other normalisations as well?

Trains a VGG and a deep linear network, plain, with batch normalisation, and normalised by l1, l2 and l-infinity norms. Along the gradient of each measured step
it takes the range of the loss, the largest change of the gradient and the effective smoothness, at step sizes from a half to four times the learning rate (the
linear network: a hundredth to thirty times). Theorems 4.1 and 4.2 are checked on random numbers.

    python -m recipes.loss_landscape                     digits, VGG-13 and 25 matrices, five minutes on 2 cores
    python -m recipes.loss_landscape --seeds=0,1,2       with a spread, which claims need
    python -m recipes.loss_landscape --preset=paper --data_dir=DIR

The bound that is printed as theorem 4.1 has 1 / sqrt(m) where it has to be 1 / m, by which it is an equality without epsilon; checked is the latter.

Source: Santurkar et al. 2018, sec. 3, 4, figs. 4-6, 10-13, app. A.
"""

from recipes.frame import Claim, Picture, Recipe, claims, evidence, flags, program, usual
from recipes.nets import santurkar

PLAIN, BATCH_NORM, L1, L2, LINF = CONTESTANTS = "plain", "batch_norm", "l1", "l2", "linf"
MULTIPLES = {santurkar.VGG: (0.5, 1.0, 2.0, 4.0), santurkar.LINEAR: (0.01, 0.1, 1.0, 10.0, 30.0)}  # Of the learning rate.
LOWEST, HIGHEST, CHANGE, SMOOTHNESS = (f"loss_landscape/{name}" for name in ("loss_min", "loss_max", "gradient_change_max", "effective_smoothness"))
FEATURES, EXAMPLES, GAMMA = 5, 12, 1.7  # Of the numbers that the theorems are checked on.

FLAGS = [
    flags.Flag(
        "contestants",
        [PLAIN, BATCH_NORM, L1, LINF],
        flags.Listed(flags.Choice(CONTESTANTS)),
        "l1, l2, linf: LpBatchNormalization behind every convolution or matrix.",
        axis="contestant",
    ),
    *santurkar.FLAGS,
]


def trainings(settings, data):
    import dataclasses
    import functools

    import keras_bn
    from keras_bn import callbacks

    def instruments(net, data, chosen, log_dir):
        sizes = [chosen["learning_rate"] * multiple for multiple in MULTIPLES[chosen["net"]]]
        return [callbacks.LossLandscape(log_dir, settings.measure_every, sizes)] if settings.measure_every else []

    by_norm = {name: functools.partial(keras_bn.LpBatchNormalization, p) for name, p in ((L1, 1), (L2, 2), (LINF, float("inf")))}
    normalisations = {PLAIN: None, BATCH_NORM: keras_bn.BatchNormalization, **by_norm}
    made = santurkar.trainings(FLAGS, settings, data, normalisations, instruments)
    is_checked = [one.hyperparameters["contestant"] == BATCH_NORM for one in made]
    return [dataclasses.replace(one, at_end=[*one.at_end, theorems(one.hyperparameters["seed"])]) if check else one for one, check in zip(made, is_checked)]


def theorems(seed):
    """Function of the net, which does not matter: the left by the right side of theorems 4.1 and 4.2, summed over the channels of random y (m, features)."""
    import numpy as np
    import tensorflow as tf

    from keras_bn import functional

    def measure(_):
        rng = np.random.default_rng(seed)
        y = tf.constant(rng.normal(2, 3, (EXAMPLES, FEATURES)))
        square, slope = rng.normal(size=(2 * EXAMPLES * FEATURES, EXAMPLES * FEATURES)), rng.normal(size=EXAMPLES * FEATURES)
        hessian = square.T @ square / len(square)
        gamma, beta = tf.fill([FEATURES], tf.constant(GAMMA, tf.float64)), tf.zeros([FEATURES], tf.float64)

        def normalised(y):
            return functional.batch_norm_training(y, gamma, beta, axis=-1, epsilon=0.0)[0]

        def loss(z):
            flat = tf.reshape(z, [-1])
            return 0.5 * tf.tensordot(flat, tf.linalg.matvec(hessian, flat), 1) + tf.tensordot(flat, slope, 1)

        with tf.GradientTape() as outer:
            outer.watch(y)
            with tf.GradientTape() as inner:
                inner.watch(y)
                hat_loss = loss(normalised(y))
            hat_gradient = inner.gradient(hat_loss, y)
        hat_curvature = outer.jacobian(hat_gradient, y).numpy()
        z = normalised(y).numpy()
        gradient = (hessian @ z.ravel() + slope).reshape(z.shape)
        blocks = hessian.reshape(EXAMPLES, FEATURES, EXAMPLES, FEATURES)
        sides = np.zeros((2, 2))
        for channel in range(FEATURES):
            g, hat, unit, deviation = gradient[:, channel], hat_gradient.numpy()[:, channel], z[:, channel] / GAMMA, y.numpy()[:, channel].std()
            scale = GAMMA**2 / deviation**2
            sides[0] += hat @ hat, scale * (g @ g - g.sum() ** 2 / EXAMPLES - (g @ unit) ** 2 / EXAMPLES)
            curved = hat @ blocks[:, channel, :, channel] @ hat
            sides[1] += hat @ hat_curvature[:, channel, :, channel] @ hat, scale * curved - GAMMA / (EXAMPLES * deviation**2) * (g @ unit) * (hat @ hat)
        return {f"theorem/4.{number}": left / right for number, (left, right) in enumerate(sides, start=1)}

    return measure


def logarithm_of_range(highest, lowest):
    return evidence.mean_logarithm(highest - lowest)


def rougher(name, sentence, source, quantities, summarise, what):
    """A claim that without batch normalisation a quantity is larger, in powers of ten."""
    measured = evidence.by_seed(santurkar.groups(PLAIN, BATCH_NORM), quantities, summarise)
    return Claim(name, sentence, source, measured, claims.better(PLAIN, BATCH_NORM, what=f"power of ten of the {what}"))


def as_good(norm):
    accuracies = evidence.by_seed(santurkar.groups(norm, BATCH_NORM), ["training_accuracy"], evidence.last_accuracy)
    rule = claims.better(norm, BATCH_NORM, by=-0.05, what="training accuracy")
    return Claim(f"{norm}_as_good", f"Normalisation by the {norm} norm trains as well", "Santurkar, sec. 3.3, fig. 5", accuracies, rule)


def theorem(number, sentence):
    ratio = evidence.by_seed(santurkar.groups(BATCH_NORM), [f"theorem/{number}"])
    return Claim(f"theorem_{number}", sentence, f"Santurkar, theorem {number}", ratio, claims.near(BATCH_NORM, 1.0, within=1e-3, what="left by right side"))


CLAIMS = [
    rougher("loss_range", "The loss varies less along the gradient", "Santurkar, fig. 4a", [HIGHEST, LOWEST], logarithm_of_range, "range"),
    rougher("predictiveness", "Gradients change less along the gradient", "Santurkar, fig. 4b", [CHANGE], evidence.mean_logarithm, "change"),
    rougher("smoothness", "The effective smoothness is better", "Santurkar, fig. 4c", [SMOOTHNESS], evidence.mean_logarithm, "effective beta"),
    *(as_good(norm) for norm in (L1, L2, LINF)),
    theorem("4.1", "The gradient's norm is as theorem 4.1 says, with 1 / m"),
    theorem("4.2", "The curvature along the gradient is as theorem 4.2 says"),
]


def over_training(quantity, label, title):
    """A picture's function: a quantity over optimizer steps, a panel a net."""

    def draw(experiment):
        from recipes.frame import pictures, tables

        rows = tables.of(experiment.table, f"loss_landscape/{quantity}").dropna(subset="value")
        look = dict(panels=("net", "learning_rate"), order=CONTESTANTS, log="y")
        return None if rows.empty else pictures.curves(rows, label, title, **look)

    return draw


SMOOTH = over_training("effective_smoothness", "effective beta", "Effective smoothness: the smaller, the smoother")
CHANGES = over_training("gradient_change_max", "largest change of the gradient", "Predictiveness of the gradient: the smaller, the better")
PICTURES = [
    Picture("effective_smoothness", "effective smoothness over optimizer steps", SMOOTH),
    Picture("gradient_changes", "change of the gradient over optimizer steps", CHANGES),
]
RECIPE = Recipe("loss_landscape", __doc__, FLAGS, usual.images, trainings, CLAIMS, PICTURES, {"paper": santurkar.PAPER})

if __name__ == "__main__":
    program.run(RECIPE)
