"""Does batch normalisation smooth the loss landscape, and do other normalisations as well?

Trains a VGG and a deep linear network, plain, with batch normalisation, and normalised by l1, l2 and l-infinity norms. Along the gradient of each measured step
it takes the range of the loss, the largest change of the gradient and the effective smoothness, at step sizes from a half to four times the learning rate (the
linear network: a hundredth to thirty times). Theorems 4.1 and 4.2 are checked on random numbers.

    python -m recipes.loss_landscape                     digits, VGG-13 and 25 matrices, five minutes on 2 cores
    python -m recipes.loss_landscape --seeds=0,1,2       three seeds: without a spread no claim is judged
    python -m recipes.loss_landscape --seeds=0,1,2 --contestants=plain,batch_norm,l1,l2,linf
    python -m recipes.loss_landscape --preset=paper --data_dir=DIR

The bound that is printed as theorem 4.1 has 1 / sqrt(m) where it has to be 1 / m, by which it is an equality without epsilon; checked is the latter.

Source: Santurkar et al. 2018, sec. 3, 4, figs. 4-6, 10-13, app. A.
"""

from recipes.frame import Picture, Recipe, drawn, evidence, flags, program, usual
from recipes.frame.comparisons import equal, larger
from recipes.nets import santurkar

PLAIN, BATCH_NORM, L1, L2, LINF = CONTESTANTS = "plain", "batch_norm", "l1", "l2", "linf"
MULTIPLES = {santurkar.VGG: (0.5, 1.0, 2.0, 4.0), santurkar.LINEAR: (0.01, 0.1, 1.0, 10.0, 30.0)}  # Of the learning rate.
MEASURED = "loss_min", "loss_max", "gradient_change_max", "effective_smoothness", "grid_limit"
LOWEST, HIGHEST, CHANGE, SMOOTHNESS, LIMIT = (f"loss_landscape/{name}" for name in MEASURED)
NEAR_LIMIT = 0.05  # Share by which the effective smoothness differs from 1 / step where it says nothing of the net.
GRID = "1 / step: not of the net"
LINEAR_FIGURES, L1_BEST = "Santurkar, figs. 10-13", "In a deep linear network, normalising by the l1 norm reaches a lower loss than batch normalisation"

FLAGS = [
    flags.contestants(
        CONTESTANTS, "plain: no normalisation; l1, l2, linf: LpBatchNormalization behind every convolution or matrix.", [PLAIN, BATCH_NORM, L1, LINF]
    ),
    *santurkar.FLAGS,
]


def trainings(settings, data):
    import dataclasses
    import functools

    import keras_bn
    from keras_bn import callbacks
    from recipes.nets import identities

    def instruments(net, data, chosen, log_dir):
        sizes = [chosen["learning_rate"] * multiple for multiple in MULTIPLES[chosen["net"]]]
        return [callbacks.LossLandscape(log_dir, settings.measure_every, sizes)] if settings.measure_every else []

    by_norm = {name: functools.partial(keras_bn.LpBatchNormalization, p) for name, p in ((L1, 1), (L2, 2), (LINF, float("inf")))}
    normalisations = {PLAIN: None, BATCH_NORM: keras_bn.BatchNormalization, **by_norm}
    made = santurkar.trainings(FLAGS, settings, data, normalisations, instruments)
    theorems = [lambda _, seed=one.hyperparameters["seed"]: identities.theorems(seed) for one in made]
    return [dataclasses.replace(one, at_end=[*one.at_end, checked]) for one, checked in zip(made, theorems)]


def middle_range(highest, lowest):
    return evidence.middle_logarithm(highest - lowest)


def logarithm_at_end(losses):
    return evidence.middle_logarithm(losses[-1:])


def middle_of_the_determined(smoothness, limits):
    """Without the measurements that say something of the grid alone: where the gradient is about 0 behind the smallest step, the ratio is 1 / step."""
    return evidence.middle_logarithm(smoothness[~(abs(smoothness / limits - 1) < NEAR_LIMIT)])


def rougher(name, sentence, source, quantities, summarise, what):
    """Claims about the VGG and the linear network that without batch normalisation a quantity is larger, in powers of ten."""
    sentences = {santurkar.VGG: sentence, santurkar.LINEAR: f"In a deep linear network: {sentence[0].lower()}{sentence[1:]}"}
    names, sources = {santurkar.VGG: name, santurkar.LINEAR: f"{name}_linear"}, {santurkar.VGG: source, santurkar.LINEAR: LINEAR_FIGURES}
    of_nets = {net: santurkar.groups(PLAIN, BATCH_NORM, net=net) for net in santurkar.NETS}
    return [larger(names[net], sentences[net], sources[net], groups, quantities, summarise, what=what) for net, groups in of_nets.items()]


def as_good(norm):
    groups, sentence = santurkar.groups(norm, BATCH_NORM), f"Normalising by the {norm} norm trains as well as batch normalisation"
    return larger(f"{norm}_as_good", sentence, "Santurkar, sec. 3.3, fig. 5", groups, ["training_accuracy"], evidence.last_accuracy, by=-0.05)


OF_BN, SIDES = {"contestant": BATCH_NORM}, {"with 1 / m": "theorem/4.1", "with 1 / sqrt(m), as printed": "theorem/4.1 as printed"}
THEOREM_1, THEOREM_2 = "Santurkar, theorem 4.1", "Santurkar, theorem 4.2"
RANGE = "With batch normalisation, the loss varies less along the gradient"
PREDICTIVE = "With batch normalisation, the gradient changes less along its direction"
CLAIMS = [
    *rougher("loss_range", RANGE, "Santurkar, fig. 4a", [HIGHEST, LOWEST], middle_range, "log10 of the range"),
    *rougher("predictiveness", PREDICTIVE, "Santurkar, fig. 4b", [CHANGE], evidence.middle_logarithm, "log10 of the change"),
    *rougher(
        "smoothness",
        "Batch normalisation improves the effective smoothness",
        "Santurkar, fig. 4c",
        [SMOOTHNESS, LIMIT],
        middle_of_the_determined,
        "log10 of the effective beta",
    ),
    *(as_good(norm) for norm in (L1, L2, LINF)),
    larger("l1_best", L1_BEST, LINEAR_FIGURES, santurkar.groups(BATCH_NORM, L1, net=santurkar.LINEAR), ["loss"], logarithm_at_end, what="log10 of the loss"),
    equal("theorem_4.1", "Theorem 4.1 (norm of the gradient) is an equality with 1 / m", THEOREM_1, OF_BN, SIDES, "relative difference", ["with 1 / m"]),
    equal("theorem_4.2", "Theorem 4.2 (curvature along the gradient) is an equality", THEOREM_2, OF_BN, {"sides": "theorem/4.2"}, "relative difference"),
]


def ranges(experiment):
    """Rows of the largest less the smallest loss."""
    from recipes.frame import tables

    highest, lowest = (tables.of(experiment.table, name).reset_index(drop=True) for name in (HIGHEST, LOWEST))
    rows = highest.assign(value=highest["value"] - lowest["value"])
    return rows[rows["value"] > 0]


def smoothness_and_limit(experiment):
    """Rows of the effective smoothness, and of what it tends to where the gradient vanishes, as one more contestant."""
    import pandas as pd

    from recipes.frame import tables

    smoothness, limit = (tables.of(experiment.table, name) for name in (SMOOTHNESS, LIMIT))
    return pd.concat([smoothness, limit.assign(contestant=GRID)])


LOOK = dict(panels=("net", "learning_rate"), order=CONTESTANTS, log="y", share=False)
RANGES = drawn.curves(ranges, "largest less smallest loss", "Range of the loss along the gradient", **LOOK)
SMOOTH = drawn.curves(smoothness_and_limit, "effective beta", "Effective smoothness", **{**LOOK, "order": (*CONTESTANTS, GRID)})
CHANGES = drawn.curves(CHANGE, "largest change of the gradient", "Predictiveness of the gradient: the smaller, the better", **LOOK)
FITS = drawn.curves("training_accuracy", "training accuracy", limits=(0, 1), **{**LOOK, "log": ""})
PICTURES = [
    Picture("effective_smoothness", "effective smoothness over optimizer steps", SMOOTH, ["smoothness", "smoothness_linear"]),
    Picture("loss_ranges", "range of the loss along the gradient over optimizer steps", RANGES, ["loss_range", "loss_range_linear"]),
    Picture("gradient_changes", "change of the gradient over optimizer steps", CHANGES, ["predictiveness", "predictiveness_linear"]),
    Picture("accuracy", "training accuracy over optimizer steps", FITS, ["l1_as_good", "l2_as_good", "linf_as_good"]),
]
RECIPE = Recipe("loss_landscape", __doc__, FLAGS, santurkar.in_words, usual.images, trainings, CLAIMS, PICTURES, {"paper": santurkar.PAPER})

if __name__ == "__main__":
    program.run(RECIPE)
