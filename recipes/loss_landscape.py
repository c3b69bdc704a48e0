"""Does batch normalisation smooth the loss landscape, and do other normalisations as well?

Trains a VGG and a deep linear network, plain, with batch normalisation, and normalised by l1, l2 and l-infinity norms. Along the gradient of each measured step
it takes the range of the loss, the largest change of the gradient and the effective smoothness, at step sizes from a half to four times the learning rate (the
linear network: a hundredth to thirty times). Theorems 4.1 and 4.2 are checked on random numbers.

    python -m recipes.loss_landscape                     digits, VGG-13 and 25 matrices, five minutes on 2 cores
    python -m recipes.loss_landscape --seeds=0,1,2       with a spread, which claims need
    python -m recipes.loss_landscape --seeds=0,1,2 --contestants=plain,batch_norm,l1,l2,linf
    python -m recipes.loss_landscape --preset=paper --data_dir=DIR

The bound that is printed as theorem 4.1 has 1 / sqrt(m) where it has to be 1 / m, by which it is an equality without epsilon; checked is the latter.

Source: Santurkar et al. 2018, sec. 3, 4, figs. 4-6, 10-13, app. A.
"""

from recipes.frame import Claim, Picture, Recipe, claims, drawn, evidence, flags, program, usual
from recipes.nets import santurkar

PLAIN, BATCH_NORM, L1, L2, LINF = CONTESTANTS = "plain", "batch_norm", "l1", "l2", "linf"
MULTIPLES = {santurkar.VGG: (0.5, 1.0, 2.0, 4.0), santurkar.LINEAR: (0.01, 0.1, 1.0, 10.0, 30.0)}  # Of the learning rate.
LOWEST, HIGHEST, CHANGE, SMOOTHNESS = (f"loss_landscape/{name}" for name in ("loss_min", "loss_max", "gradient_change_max", "effective_smoothness"))

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
    from recipes.nets import identities

    def instruments(net, data, chosen, log_dir):
        sizes = [chosen["learning_rate"] * multiple for multiple in MULTIPLES[chosen["net"]]]
        return [callbacks.LossLandscape(log_dir, settings.measure_every, sizes)] if settings.measure_every else []

    by_norm = {name: functools.partial(keras_bn.LpBatchNormalization, p) for name, p in ((L1, 1), (L2, 2), (LINF, float("inf")))}
    normalisations = {PLAIN: None, BATCH_NORM: keras_bn.BatchNormalization, **by_norm}
    made = santurkar.trainings(FLAGS, settings, data, normalisations, instruments)
    theorems = [lambda _, seed=one.hyperparameters["seed"]: identities.theorems(seed) for one in made]
    return [dataclasses.replace(one, at_end=[*one.at_end, checked]) for one, checked in zip(made, theorems)]


def logarithm_of_range(highest, lowest):
    return evidence.mean_logarithm(highest - lowest)


def rougher(name, sentence, source, quantities, summarise, what):
    """A claim that without batch normalisation a quantity is larger, in powers of ten."""
    measured = evidence.by_seed(santurkar.groups(PLAIN, BATCH_NORM), quantities, summarise)
    return Claim(name, sentence, source, measured, claims.Better(PLAIN, BATCH_NORM, what=f"log10 of the {what}"))


def as_good(norm):
    accuracies = evidence.by_seed(santurkar.groups(norm, BATCH_NORM), ["training_accuracy"], evidence.last_accuracy)
    rule = claims.Better(norm, BATCH_NORM, by=-0.05, what="training accuracy")
    return Claim(f"{norm}_as_good", f"Normalising by the {norm} norm trains as well as batch normalisation", "Santurkar, sec. 3.3, fig. 5", accuracies, rule)


def theorem(number, sentence, *cases):
    """A claim that the sides of a theorem are equal in the first of the cases: name to quantity."""
    sides = evidence.labelled({case: ({"contestant": BATCH_NORM}, [quantity], evidence.last) for case, quantity in cases})
    rule = claims.Exact((cases[0][0],), 1e-10, "relative difference of the two sides")
    return Claim(f"theorem_{number}", sentence, f"Santurkar, theorem {number}", sides, rule)


CLAIMS = [
    rougher(
        "loss_range", "With batch normalisation, the loss varies less along the gradient", "Santurkar, fig. 4a", [HIGHEST, LOWEST], logarithm_of_range, "range"
    ),
    rougher(
        "predictiveness",
        "With batch normalisation, the gradient changes less along its direction",
        "Santurkar, fig. 4b",
        [CHANGE],
        evidence.mean_logarithm,
        "change",
    ),
    rougher(
        "smoothness", "Batch normalisation improves the effective smoothness", "Santurkar, fig. 4c", [SMOOTHNESS], evidence.mean_logarithm, "effective beta"
    ),
    *(as_good(norm) for norm in (L1, L2, LINF)),
    theorem(
        "4.1", "Theorem 4.1 (norm of the gradient) holds as an equality, with 1 / m", ("with 1 / m", "theorem/4.1"), ("as printed", "theorem/4.1 as printed")
    ),
    theorem("4.2", "Theorem 4.2 (curvature along the gradient) holds as an equality", ("as printed", "theorem/4.2")),
]


def ranges(experiment):
    """Rows of the largest less the smallest loss."""
    from recipes.frame import tables

    highest, lowest = (tables.of(experiment.table, name).reset_index(drop=True) for name in (HIGHEST, LOWEST))
    rows = highest.assign(value=highest["value"] - lowest["value"])
    return rows[rows["value"] > 0]


LOOK = dict(panels=("net", "learning_rate"), order=CONTESTANTS, log="y")
RANGES = drawn.curves(ranges, "largest less smallest loss", "Range of the loss along the gradient", **LOOK)
SMOOTH = drawn.curves(SMOOTHNESS, "effective beta", "Effective smoothness: the smaller, the smoother", **LOOK)
CHANGES = drawn.curves(CHANGE, "largest change of the gradient", "Predictiveness of the gradient: the smaller, the better", **LOOK)
PICTURES = [
    Picture("effective_smoothness", "effective smoothness over optimizer steps", SMOOTH, ["smoothness"]),
    Picture("loss_ranges", "range of the loss along the gradient over optimizer steps", RANGES, ["loss_range"]),
    Picture("gradient_changes", "change of the gradient over optimizer steps", CHANGES, ["predictiveness"]),
]
RECIPE = Recipe("loss_landscape", __doc__, FLAGS, santurkar.in_words, usual.images, trainings, CLAIMS, PICTURES, {"paper": santurkar.PAPER})

if __name__ == "__main__":
    program.run(RECIPE)
