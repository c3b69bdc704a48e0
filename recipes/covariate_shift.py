"""Does batch normalisation reduce internal covariate shift, and is it that which helps?

Trains a VGG without batch normalisation, with it, and with noise behind it that moves the distribution of the activations at every step; and a deep linear
network, by full batches, without and with it. Measures the internal covariate shift of each layer by its definition (l2 norm, relative to the gradient, cosine)
and how the moments of one activation move; TensorBoard shows histograms of what enters each batch normalisation.

    python -m recipes.covariate_shift                     digits, VGG-13 and 25 matrices, five minutes on 2 cores
    python -m recipes.covariate_shift --seeds=0,1,2       three seeds: without a spread no claim is judged
    python -m recipes.covariate_shift --seeds=0,1,2 --learning_rates=0.1,0.5
    python -m recipes.covariate_shift --preset=paper --data_dir=DIR

Not as in the paper: moments are those of one channel on a fixed batch of 128 training images.

Source: Santurkar et al. 2018, Def. 2.1, figs. 1-3, 8, 9, app. A.
"""

import re

from recipes.frame import Picture, Recipe, drawn, evidence, flags, program, usual
from recipes.frame.comparisons import larger
from recipes.nets import santurkar

PLAIN, BATCH_NORM, NOISY = CONTESTANTS = "plain", "batch_norm", "noisy"
MEASURE = "internal_covariate_shift"
L2, RELATIVE, COSINE = (re.compile(f"{MEASURE}/{one}/(?!01_)") for one in ("l2", "relative", "cosine"))  # Of the first layer, 0 and 1 by definition.
MEAN, VARIANCE = "moment/mean", "moment/variance"
PERCENTILES = 5, 25, 50, 75, 95

FLAGS = [
    flags.contestants(CONTESTANTS, "noisy: NoisyBatchNormalization, in the VGG only."),
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
        if chosen["net"] == santurkar.LINEAR:
            return [callbacks.InternalCovariateShift(log_dir, every)]
        moments = probe.Probe(moments_of_one(net, data), every, log_dir)
        histograms = [callbacks.ActivationStatistics(data.sample(santurkar.BATCH), log_dir, every)] if chosen["contestant"] != PLAIN else []
        return [callbacks.InternalCovariateShift(log_dir, every), moments, *histograms]

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


def vgg(*contestants, learning_rate=0.1):
    return santurkar.groups(*contestants, learning_rate=learning_rate)


def linear(*contestants):
    return santurkar.groups(*contestants, net=santurkar.LINEAR)


SHIFT, AT_END, ON_THE_WAY = "log10 of the shift", (["training_accuracy"], evidence.last_accuracy), (["training_accuracy"], evidence.mean_accuracy)
MIDDLE, MIDDLE_RELATIVE = ([L2], evidence.middle_logarithm), ([RELATIVE], evidence.middle_logarithm)
FIGURE_1, FIGURE_2, FIGURE_3, FIGURE_8 = (f"Santurkar, fig. {number}" for number in ("1", "2", "3", "2, 8"))
CONTRADICTED = "often said; contradicted by Santurkar, fig. 3"
AS_WELL, ONLY_BN = (
    "At learning rate 0.1, a VGG without batch normalisation fits the training images as well",
    "At learning rate 0.5, a VGG trains only with batch normalisation",
)
NOISE, BN = "Noise after batch normalisation", "Batch normalisation"
CLAIMS = [
    larger("vgg_curves", AS_WELL, FIGURE_1, vgg(PLAIN, BATCH_NORM), *AT_END, by=-0.05),
    larger("vgg_high_rate", ONLY_BN, FIGURE_1, vgg(BATCH_NORM, PLAIN, learning_rate=0.5), *AT_END, by=0.5),
    larger("noisy_as_well", f"{NOISE} does not slow training down", FIGURE_2, vgg(NOISY, BATCH_NORM), *ON_THE_WAY, by=-0.05),
    larger("noise_moves_means", f"{NOISE} makes the means of activations jump more", FIGURE_8, vgg(NOISY, BATCH_NORM), [MEAN], jumps, what="change of a mean"),
    larger(
        "noise_moves_variances",
        f"{NOISE} makes the variances of activations jump more",
        FIGURE_8,
        vgg(NOISY, BATCH_NORM),
        [VARIANCE],
        jumps,
        what="change of a variance",
    ),
    larger("shift_not_lower", f"{BN} does not lower internal covariate shift", FIGURE_3, vgg(BATCH_NORM, PLAIN), *MIDDLE, -0.1, SHIFT),
    larger("popular_lower", f"{BN} reduces internal covariate shift", CONTRADICTED, vgg(PLAIN, BATCH_NORM), *MIDDLE, what=SHIFT),
    larger("relative_not_lower", f"{BN} does not lower the shift relative to the gradient", FIGURE_3, vgg(BATCH_NORM, PLAIN), *MIDDLE_RELATIVE, -0.1, SHIFT),
    larger(
        "cosine_not_higher",
        f"{BN} keeps gradients no closer to their old direction",
        FIGURE_3,
        vgg(PLAIN, BATCH_NORM),
        [COSINE],
        evidence.mean,
        -0.05,
        "cosine",
    ),
    larger("linear_shift", f"In a deep linear network, {BN.lower()} raises the shift", FIGURE_3, linear(BATCH_NORM, PLAIN), *MIDDLE, what=SHIFT),
]


def at_lowest_rate(rows):
    return rows[rows["learning_rate"] == rows["learning_rate"].min()]


LOOK = dict(order=CONTESTANTS, panels=("net", "learning_rate"), share=False)
SHIFTS = drawn.curves(drawn.mean_of_layers(f"{MEASURE}/l2", 2), "l2 norm, mean over the layers", "Internal covariate shift", log="y", **LOOK)
RELATIVES = drawn.curves(drawn.mean_of_layers(f"{MEASURE}/relative", 2), "relative to the gradient, mean over the layers", "Relative shift", log="y", **LOOK)
COSINES = drawn.curves(
    drawn.mean_of_layers(f"{MEASURE}/cosine", 2), "cosine, mean over the layers", "Direction of the gradient, the layers before moved", **LOOK
)
MOMENTS = drawn.curves(MEAN, "mean of one channel", "Mean of an activation over the training", **LOOK)
DISTRIBUTION = drawn.percentiles("moment/percentile", "value of the channel", "Values of one channel in front of the last ReLU", keep=at_lowest_rate)
PICTURES = [
    Picture("l2", "internal covariate shift over optimizer steps", SHIFTS, ["shift_not_lower", "linear_shift"]),
    Picture("relative", "internal covariate shift relative to the gradient over optimizer steps", RELATIVES, ["relative_not_lower"]),
    Picture("cosine", "cosine of the gradients before and after", COSINES, ["cosine_not_higher"]),
    Picture("moments", "mean of an activation over optimizer steps", MOMENTS, ["noise_moves_means", "noise_moves_variances"]),
    Picture("distribution", "percentiles of an activation over optimizer steps", DISTRIBUTION, ["noise_moves_means", "noise_moves_variances"]),
    Picture(
        "accuracy",
        "training accuracy over optimizer steps",
        drawn.curves("training_accuracy", "training accuracy", limits=(0, 1), **LOOK),
        ["vgg_curves", "noisy_as_well"],
    ),
]
RECIPE = Recipe("covariate_shift", __doc__, FLAGS, santurkar.in_words, usual.images, trainings, CLAIMS, PICTURES, {"paper": santurkar.PAPER})

if __name__ == "__main__":
    program.run(RECIPE)
