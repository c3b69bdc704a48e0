"""What does Dropout do to batch normalisation: how far do variances shift, what does that cost, and does re-estimating the statistics repair it?

Trains a small residual net with Dropout in front of the last batch normalisation of each block (a in the paper), in front of the last convolution of each block
(b), behind all batch normalisation, and with uniform noise at (b). Of each trained net it measures the variance shift of every layer over training images, the
shift that the closed form predicts, and the test accuracy before and after the statistics are re-estimated without Dropout (the paper's remedy) and with it.

    python -m recipes.variance_shift                     digits, rates 0, 0.3, 0.5 and 0.7, five minutes on 2 cores
    python -m recipes.variance_shift --seeds=0,1,2       three seeds: without a spread no claim is judged
    python -m recipes.variance_shift --preset=paper --data_dir=DIR

Not as in the paper: a net of three blocks instead of PreResNet-110 and its like; no augmentation; a constant learning rate.
Source: Li, Chen, Hu & Yang 2018, eq. 7, 8, 12-14, sec. 4, fig. 4, tables 3, 4 and 6.
"""

from recipes.frame import Claim, Picture, Recipe, claims, drawn, evidence, flags, program, usual
from recipes.frame.comparisons import larger
from recipes.nets.residual import BEFORE_CONVOLUTION, BEFORE_NORM, BEHIND_ALL, NONE, PLACES, UNIFORM

SAMPLE, RATE = 1000, 0.5  # Training images that shifts are measured over; the rate of the paper's tables.

FLAGS = [
    flags.contestants(
        PLACES,
        "Where Dropout is. none: nowhere; before_norm: in front of the last batch normalisation of each block; before_convolution: in front of its last "
        "convolution; behind_all: in front of the logits; uniform: UniformDropout in front of the last convolution.",
    ),
    flags.Flag(
        "rates", [0.3, RATE, 0.7], flags.Listed(flags.Float(positive=True, upper_bound=0.95)), "Rates of Dropout, or betas of UniformDropout.", axis="rate"
    ),
    flags.Flag("width", 16, flags.Integer(1, 1024), "Filters of the first block."),
    *flags.shared(
        "dataset", "data_dir", "seeds", "steps", "momentum", "weight_decay", "jit_compile", image_size=16, learning_rates=[0.05], batch_size=64, epochs=12
    ),
]
OF_THE_PAPER = {"batch_size": 128, "epochs": 164, "learning_rates": [0.1], "weight_decay": 1e-4}
PRESETS = {"paper": {"dataset": "cifar10", "image_size": 32, "width": 64, "rates": [0.1, 0.3, 0.5, 0.7], **OF_THE_PAPER}}


def trainings(settings, data):
    """Nets without Dropout have no rate, and are trained once."""
    chosen = [{**one, "rate": 0.0} if one["contestant"] == NONE else one for one in flags.combinations(FLAGS, settings)]
    return [training(settings, data, one) for one in {tuple(one.values()): one for one in chosen}.values()]


def training(settings, data, chosen):
    from recipes.frame import instruments, tasks
    from recipes.nets import residual

    def net(_):
        size = dict(width=settings.width, weight_decay=settings.weight_decay)
        return residual.residual(data.image_shape, data.classes, place=chosen["contestant"], rate=chosen["rate"], **size)

    task = tasks.Classification()
    at_end = [shifts(data, settings.batch_size), instruments.recalibrated(data, task), instruments.recalibrated(data, task, with_dropout=True)]
    return usual.training(settings, data, chosen, net, task=task, at_end=at_end)


def shifts(data, batch_size):
    """Function of the net: the shift of each layer, the one that Dropout is predicted to make, and what of it is Dropout's part."""
    import numpy as np

    from keras_bn import measures

    def measure(net):
        found = measures.variance_shift(net, data.drawn_in_whole_batches(SAMPLE, batch_size))
        result = {f"variance_shift/ratio/{one.layer}": one.ratio for one in found}
        predicted = [one for one in found if one.predicted_ratio is not None]
        result |= {f"variance_shift/predicted_ratio/{one.layer}": one.predicted_ratio for one in predicted}
        result |= {f"variance_shift/dropout_ratio/{one.layer}": float(np.exp(abs(np.log(one.mode)))) for one in predicted}
        return result | {"largest_shift": max(one.ratio for one in found)}

    return measure


def deviation(measured, predicted):
    """The root of the mean square of what the layers' ratios are off by, relative to the prediction."""
    return float(((measured / predicted - 1) ** 2).mean() ** 0.5)


def at(*contestants, rate=RATE):
    return {one: {"contestant": one, "rate": 0.0 if one == NONE else rate} for one in contestants}


def closed_form(name, sentence, source, contestant):
    """A claim that the measured ratios are those of the closed form, to a tenth; beside it how far they are from 1, which is no shift."""
    [chosen], measured, predicted = at(contestant).values(), "variance_shift/dropout_ratio/", "variance_shift/predicted_ratio/"
    off_from_1 = (chosen, [measured], lambda ratios: deviation(ratios, 1.0))
    both = evidence.Evidence({"closed form": (chosen, [measured, predicted], deviation), "no shift": off_from_1})
    return Claim(name, sentence, source, both, claims.Within(("closed form",), "relative error (root mean square over the layers) of", upper=0.1))


def gained(name, sentence, cases, by=0.0):
    """A claim about what re-estimated statistics add to the test accuracy, more in the first of two cases: what it is called to (place, quantity)."""

    def gain(re_estimated, as_trained):
        return re_estimated[-1] - as_trained[-1]

    parts = {case: (at(place)[place], [quantity, "test_accuracy"], gain) for case, (place, quantity) in cases.items()}
    rule = claims.Better(*cases, by, "test accuracy gained by re-estimated statistics")
    return Claim(name, sentence, "Li, sec. 4.3, table 3", evidence.Evidence(parts), rule)


DIRECTLY, BEFORE = "Dropout directly before batch normalisation", "Dropout before the convolution in front of batch normalisation"
AS_EQUATION_8 = f"{DIRECTLY} shifts the variance as eq. 8 predicts"
AS_EQUATION_14 = f"{BEFORE} shifts the variance as the form behind eq. 14 predicts, which does without equal correlations"
REPAIRS, IN_VAIN = (
    f"After {DIRECTLY}, re-estimating the statistics repairs accuracy",
    "Re-estimating the statistics repairs more with Dropout off than with it on",
)
MILDER = f"Uniform noise of beta {RATE} shifts the variance less than Dropout of rate {RATE}, whose noise has twelve times the variance"
RE_ESTIMATED, WITH_DROPOUT = "recalibrated_test_accuracy", "recalibrated_with_dropout_test_accuracy"
CLAIMS = [
    closed_form("delta_a", AS_EQUATION_8, "Li, eq. 7, 8", BEFORE_NORM),
    closed_form("delta_b", AS_EQUATION_14, "Li, eq. 12-14", BEFORE_CONVOLUTION),
    larger("shift_above_1", f"{DIRECTLY} shifts the variance", "Li, fig. 4", at(BEFORE_NORM, NONE), ["largest_shift"], by=0.1),
    gained("recalibration_helps", REPAIRS, {"with Dropout": (BEFORE_NORM, RE_ESTIMATED), "none": (NONE, RE_ESTIMATED)}),
    gained("repairs_without_dropout", IN_VAIN, {"Dropout off": (BEFORE_NORM, RE_ESTIMATED), "Dropout on": (BEFORE_NORM, WITH_DROPOUT)}),
    larger(
        "behind_all_harmless",
        "Dropout after all batch normalisation costs no accuracy",
        "Li, table 4",
        at(BEHIND_ALL, NONE),
        [RE_ESTIMATED],
        evidence.last_accuracy,
        -0.01,
    ),
    larger("uniform_milder", MILDER, "Li, sec. 5", at(BEFORE_CONVOLUTION, UNIFORM), ["largest_shift"]),
    larger("uniform_harmless", "Uniform noise costs no accuracy", "Li, table 6", at(UNIFORM, NONE), [RE_ESTIMATED], evidence.last_accuracy, -0.01),
]


def accuracies(experiment):
    from recipes.frame import tables

    quantities = {"as trained": "test_accuracy", "re-estimated": RE_ESTIMATED, "re-estimated with Dropout": WITH_DROPOUT}
    return tables.stacked({name: tables.at_end(experiment.table, quantity) for name, quantity in quantities.items()}, "statistics")


def closed_forms(experiment):
    from recipes.frame import pictures, tables

    measured, predicted = (tables.by_layer(experiment.table, f"variance_shift/{name}") for name in ("dropout_ratio", "predicted_ratio"))
    rows = measured.rename(columns={"value": "measured"}).merge(predicted.rename(columns={"value": "predicted"})[["run", "layer", "predicted"]])
    labels = "measured variance shift of a layer", "shift by the closed form"
    return pictures.agreement(rows, *labels, "Variance shift by its closed form", order=PLACES)


def at_usual_rate(rows):
    return rows[rows["rate"].isin([0.0, RATE])]


RATIOS = drawn.curves("largest_shift", "largest variance shift of a layer", "Variance shift by where Dropout is", x="rate", order=PLACES)
SHIFTS_OF_LAYERS = drawn.by_layer("variance_shift/ratio")
LAYERS = drawn.curves(SHIFTS_OF_LAYERS, "variance shift", f"Shift of each layer, Dropout of {RATE}", keep=at_usual_rate, x="layer_number", order=PLACES)
ACCURACIES = drawn.curves(accuracies, "test accuracy on {data}", "What re-estimated statistics give", x="rate", order=PLACES, panels=["statistics"])
PICTURES = [
    Picture("shifts", "variance shift over the rate of Dropout", RATIOS, ["shift_above_1", "uniform_milder"]),
    Picture("layers", "variance shift of each layer", LAYERS, ["shift_above_1"]),
    Picture("closed_forms", "measured variance shifts over those of the closed form", closed_forms, ["delta_a", "delta_b"]),
    Picture("accuracies", "test accuracy over the rate", ACCURACIES, ["recalibration_helps", "repairs_without_dropout", "behind_all_harmless"]),
]


def in_words(settings):
    return f"residual nets of three blocks of two convolutions, {settings.width} filters in the first"


RECIPE = Recipe("variance_shift", __doc__, FLAGS, in_words, usual.images, trainings, CLAIMS, PICTURES, PRESETS)

if __name__ == "__main__":
    program.run(RECIPE)
