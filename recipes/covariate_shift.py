"""Does batch normalisation reduce internal covariate shift, and is it that which helps?

Trains a VGG without batch normalisation, with it, and with noise behind it that moves the distribution of the activations at every step; and a deep linear
network, by full batches, without and with it. Measures the internal covariate shift of each layer by its definition (l2 norm, relative to the gradient, cosine)
and how the first moments of one activation move.

    python -m recipes.covariate_shift                     digits, VGG-13 and 25 matrices, five minutes on 2 cores
    python -m recipes.covariate_shift --seeds=0,1,2       with a spread, which claims need
    python -m recipes.covariate_shift --seeds=0,1,2 --learning_rates=0.1,0.5
    python -m recipes.covariate_shift --preset=paper --data_dir=DIR

Not as in the paper: moments are those of one channel on a fixed batch of 128 training images.

Source: Santurkar et al. 2018, Def. 2.1, figs. 1-3, 8, 9, app. A.
"""

from recipes.frame import Claim, Picture, Recipe, claims, drawn, evidence, flags, program, usual
from recipes.nets import santurkar

PLAIN, BATCH_NORM, NOISY = CONTESTANTS = "plain", "batch_norm", "noisy"
MEASURE = "internal_covariate_shift"
L2, COSINE, MEAN = f"{MEASURE}/l2/", f"{MEASURE}/cosine/", "moment/mean"
PERCENTILES = 5, 25, 50, 75, 95

FLAGS = [
    flags.Flag("contestants", list(CONTESTANTS), flags.Listed(flags.Choice(CONTESTANTS)), "noisy: NoisyBatchNormalization, VGG only.", axis="contestant"),
    *santurkar.FLAGS,
]


def trainings(settings, data):
    import keras_bn
    from keras_bn import callbacks
    from recipes.frame import probe

    def instruments(net, data, chosen, log_dir):
        every = settings.measure_every
        if not every:
            return []
        moments = [probe.Probe(moments_of_one(net, data), every, log_dir)] if chosen["net"] == santurkar.VGG else []
        return [callbacks.InternalCovariateShift(log_dir, every), *moments]

    normalisations = {PLAIN: None, BATCH_NORM: keras_bn.BatchNormalization, NOISY: keras_bn.NoisyBatchNormalization}
    return santurkar.trainings(FLAGS, settings, data, normalisations, instruments, vgg_only=[NOISY])


def moments_of_one(net, data):
    """Function of the net: mean, variance and percentiles of the first channel that enters the last convolution's ReLU, in training mode, on a fixed batch."""
    import keras
    import numpy as np

    x, _ = data.sample(santurkar.BATCH)
    last = [layer for layer in net.layers if isinstance(layer, keras.layers.ReLU)][-1]
    activation = keras.Model(net.input, last.input)

    def measure(_):
        with keras.StatelessScope():  # Moving statistics and seeds stay.
            channel = np.asarray(activation(x, training=True)[..., 0], np.float64)
        percentiles = zip(PERCENTILES, np.percentile(channel, PERCENTILES))
        return {MEAN: channel.mean(), "moment/variance": channel.var()} | {f"moment/percentile/{percent}": value for percent, value in percentiles}

    return measure


def jumps(means):
    """Mean size of the change between two measurements."""
    return float(abs(means[1:] - means[:-1]).mean()) if len(means) > 1 else float("nan")


def fits(name, sentence, source, one, other, by, learning_rate=0.1):
    """A claim that the training accuracy of the one is larger than that of the other by so much."""
    accuracies = evidence.by_seed(santurkar.groups(one, other, learning_rate=learning_rate), ["training_accuracy"], evidence.last_accuracy)
    return Claim(name, sentence, source, accuracies, claims.Better(one, other, by=by, what="training accuracy"))


def shifts(name, sentence, source, one, other, quantity, summarise, what, by=0.0, net=santurkar.VGG):
    """A claim that a quantity of the one is larger than that of the other by so much."""
    return Claim(name, sentence, source, evidence.by_seed(santurkar.groups(one, other, net=net), [quantity], summarise), claims.Better(one, other, by, what))


SHIFT = "log10 of the shift"
CLAIMS = [
    fits(
        "vgg_curves", "At learning rate 0.1, a VGG without batch normalisation fits the training images as well", "Santurkar, fig. 1", PLAIN, BATCH_NORM, -0.05
    ),
    fits("vgg_high_rate", "At learning rate 0.5, a VGG trains only with batch normalisation", "Santurkar, fig. 1", BATCH_NORM, PLAIN, 0.5, learning_rate=0.5),
    fits("noisy_as_well", "Noise after batch normalisation does not slow down training", "Santurkar, fig. 2", NOISY, BATCH_NORM, -0.05),
    shifts(
        "noise_moves_moments",
        "Noise after batch normalisation makes the moments of activations jump more",
        "Santurkar, fig. 2, 8",
        NOISY,
        BATCH_NORM,
        MEAN,
        jumps,
        "change of a mean",
    ),
    shifts(
        "shift_not_lower",
        "Batch normalisation does not lower internal covariate shift",
        "Santurkar, fig. 3",
        BATCH_NORM,
        PLAIN,
        L2,
        evidence.mean_logarithm,
        SHIFT,
    ),
    shifts(
        "popular_lower",
        "Batch normalisation reduces internal covariate shift",
        "often said; contradicted by Santurkar, fig. 3",
        PLAIN,
        BATCH_NORM,
        L2,
        evidence.mean_logarithm,
        SHIFT,
    ),
    shifts(
        "cosine_not_higher",
        "Batch normalisation does not keep gradients closer to their old direction",
        "Santurkar, fig. 3",
        PLAIN,
        BATCH_NORM,
        COSINE,
        evidence.mean,
        "cosine",
        by=-0.05,
    ),
    shifts(
        "linear_shift",
        "In a deep linear network, batch normalisation raises internal covariate shift",
        "Santurkar, fig. 3",
        BATCH_NORM,
        PLAIN,
        L2,
        evidence.mean_logarithm,
        SHIFT,
        net=santurkar.LINEAR,
    ),
]


def at_lowest_rate(rows):
    return rows[rows["learning_rate"] == rows["learning_rate"].min()]


LOOK = dict(order=CONTESTANTS, panels=("net", "learning_rate"))
SHIFTS = drawn.curves(drawn.mean_of_layers(f"{MEASURE}/l2"), "l2 norm, mean over the layers", "Internal covariate shift", log="y", **LOOK)
RELATIVE = drawn.curves(drawn.mean_of_layers(f"{MEASURE}/relative"), "relative to the gradient, mean over the layers", "Relative shift", log="y", **LOOK)
COSINES = drawn.curves(drawn.mean_of_layers(f"{MEASURE}/cosine"), "cosine, mean over the layers", "Direction of the gradient, the layers before moved", **LOOK)
MOMENTS = drawn.curves(MEAN, "mean of one channel", "Mean of an activation over the training", **LOOK)
DISTRIBUTION = drawn.percentiles("moment/percentile", "value of the channel", "Values of one channel in front of the last ReLU", keep=at_lowest_rate)
PICTURES = [
    Picture("l2", "internal covariate shift over optimizer steps", SHIFTS, ["shift_not_lower", "linear_shift"]),
    Picture("relative", "internal covariate shift relative to the gradient over optimizer steps", RELATIVE),
    Picture("cosine", "cosine of the gradients before and after", COSINES, ["cosine_not_higher"]),
    Picture("moments", "mean of an activation over optimizer steps", MOMENTS, ["noise_moves_moments"]),
    Picture("distribution", "percentiles of an activation over optimizer steps", DISTRIBUTION),
    Picture("accuracy", "training accuracy over optimizer steps", drawn.curves("training_accuracy", "training accuracy", limits=(0, 1), **LOOK)),
]
RECIPE = Recipe("covariate_shift", __doc__, FLAGS, santurkar.in_words, usual.images, trainings, CLAIMS, PICTURES, {"paper": santurkar.PAPER})

if __name__ == "__main__":
    program.run(RECIPE)
