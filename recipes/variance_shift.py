"""What does Dropout do to batch normalisation: how far do variances shift, what does that cost, and does re-estimating the statistics repair it?

Trains a small residual net with Dropout in front of the last batch normalisation of each block (a), in front of the last convolution of each block (b), behind
all batch normalisation, and with uniform noise at (b). Of each trained net it measures the variance shift of every layer over training images, the shift that
the closed form predicts, and the test accuracy before and after the statistics are re-estimated without Dropout (the paper's remedy) and with it.

    python -m recipes.variance_shift                     digits, rates 0, 0.3, 0.5 and 0.7, five minutes on 2 cores
    python -m recipes.variance_shift --seeds=0,1,2       with a spread, which claims need
    python -m recipes.variance_shift --preset=paper --data_dir=DIR

Not as in the paper: a net of three blocks instead of PreResNet-110 and its like; no augmentation; a constant learning rate.
Source: Li, Chen, Hu & Yang 2018, eq. 7, 8, 12-14, sec. 4, fig. 4, tables 3, 4 and 6.
"""

from recipes.frame import Claim, Picture, Recipe, claims, drawn, evidence, flags, program, usual
from recipes.nets.residual import BEFORE_CONVOLUTION, BEFORE_NORM, BEHIND_ALL, NONE, PLACES, UNIFORM

SAMPLE, RATE = 1000, 0.5  # Training images that shifts are measured over; the rate of the paper's tables.

FLAGS = [
    flags.Flag(
        "contestants",
        list(PLACES),
        flags.Listed(flags.Choice(PLACES)),
        "Where Dropout is. none: nowhere; a: in front of the last batch normalisation of each block; b: in front of its last convolution; behind_all: in front "
        "of the logits; uniform: UniformDropout at b.",
        axis="contestant",
    ),
    flags.Flag("rates", [0.3, RATE, 0.7], flags.Listed(flags.Float(positive=True, upper_bound=0.95)), "Of Dropout; beta of UniformDropout.", axis="rate"),
    flags.Flag("width", 16, flags.Integer(1, 1024), "Filters of the first block."),
    *flags.shared(dataset=..., data_dir=..., image_size=16, learning_rates=[0.05], seeds=..., batch_size=64, epochs=12, steps=..., momentum=...),
    *flags.shared(jit_compile=...),
]
PRESETS = {
    "paper": {"dataset": "cifar10", "image_size": 32, "width": 64, "batch_size": 128, "epochs": 160, "rates": [0.1, 0.3, 0.5, 0.7], "learning_rates": [0.1]}
}


def trainings(settings, data):
    """Nets without Dropout have no rate, and are trained once."""
    chosen = [{**one, "rate": 0.0} if one["contestant"] == NONE else one for one in flags.combinations(FLAGS, settings)]
    return [training(settings, data, one) for one in {tuple(one.values()): one for one in chosen}.values()]


def training(settings, data, chosen):
    from recipes.frame import instruments, tasks
    from recipes.nets import residual

    def net(_):
        return residual.residual(data.image_shape, data.classes, place=chosen["contestant"], rate=chosen["rate"], width=settings.width)

    task = tasks.Classification()
    at_end = [shifts(data, settings.batch_size), instruments.recalibrated(data, task), instruments.recalibrated(data, task, with_dropout=True)]
    return usual.training(settings, data, chosen, net, task=task, at_end=at_end)


def shifts(data, batch_size):
    """Function of the net: the shift of each layer, the one that Dropout is predicted to make, and what of it is Dropout's part."""
    import numpy as np
    import tensorflow as tf

    from keras_bn import measures

    def measure(net):
        x, _ = data.sample(SAMPLE)
        found = measures.variance_shift(net, tf.data.Dataset.from_tensor_slices(x).batch(batch_size, drop_remainder=True))
        result = {f"variance_shift/ratio/{one.layer}": one.ratio for one in found}
        predicted = [one for one in found if one.predicted_ratio is not None]
        result |= {f"variance_shift/predicted_ratio/{one.layer}": one.predicted_ratio for one in predicted}
        result |= {f"variance_shift/dropout_ratio/{one.layer}": float(np.exp(abs(np.log(one.mode)))) for one in predicted}
        return result | {"largest_shift": max(one.ratio for one in found)}

    return measure


def deviation(measured, predicted):
    """The root of the mean square of what the layers' ratios are off by, relative to the prediction."""
    return float(((measured / predicted - 1) ** 2).mean() ** 0.5)


def with_rate(contestant, rate=RATE):
    return {"contestant": contestant, "rate": 0.0 if contestant == NONE else rate}


def closed_form(name, sentence, source, contestant):
    """A claim that the measured ratios are closer to the closed form's than to 1, which is no shift."""
    chosen, measured, predicted = with_rate(contestant), "variance_shift/dropout_ratio/", "variance_shift/predicted_ratio/"
    off_from_1 = (chosen, [measured], lambda ratios: deviation(ratios, 1.0))
    both = evidence.labelled({"closed form": (chosen, [measured, predicted], deviation), "no shift": off_from_1})
    return Claim(name, sentence, source, both, claims.Better("no shift", "closed form", what="root mean square relative error of the predicted ratio:"))


def recalibrated(contestant):
    """Evidence: test accuracies as trained and with re-estimated statistics."""
    quantities = {"as trained": "test_accuracy", "re-estimated": "recalibrated_test_accuracy"}
    return evidence.labelled({name: (with_rate(contestant), [quantity], evidence.last) for name, quantity in quantities.items()})


def more(name, sentence, source, one, other, quantity, by=0.0):
    """A claim that a quantity is larger where Dropout is at the one place than at the other."""
    values = evidence.by_seed({place: with_rate(place) for place in (one, other)}, [quantity])
    return Claim(name, sentence, source, values, claims.Better(one, other, by, quantity.replace("_", " ")))


CLAIMS = [
    closed_form("delta_a", "Dropout directly before batch normalisation shifts the variance as eq. 8 predicts", "Li, eq. 7, 8", BEFORE_NORM),
    closed_form("delta_b", "Dropout before the convolution shifts the variance as eq. 14 predicts", "Li, eq. 12-14", BEFORE_CONVOLUTION),
    more(
        "shift_above_1",
        "Dropout before batch normalisation shifts the variance between training and inference",
        "Li, fig. 4",
        BEFORE_NORM,
        NONE,
        "largest_shift",
        0.1,
    ),
    Claim(
        "recalibration_helps",
        "Re-estimating the statistics without Dropout improves accuracy",
        "Li, table 3",
        recalibrated(BEFORE_NORM),
        claims.Better("re-estimated", "as trained"),
    ),
    more("behind_all_harmless", "Dropout after all batch normalisation costs no accuracy", "Li, table 4", BEHIND_ALL, NONE, "test_accuracy", -0.01),
    more("uniform_milder", "Uniform noise shifts the variance less than Dropout", "Li, table 6", BEFORE_CONVOLUTION, UNIFORM, "largest_shift"),
]


def accuracies(experiment):
    from recipes.frame import tables

    before, after = tables.at_end(experiment.table, "test_accuracy"), tables.of(experiment.table, "recalibrated_test_accuracy")
    return tables.stacked({"as trained": before, "re-estimated": after}, "statistics")


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
    Picture("layers", "variance shift of each layer", LAYERS),
    Picture("closed_forms", "measured variance shifts over those of the closed form", closed_forms, ["delta_a", "delta_b"]),
    Picture("accuracies", "test accuracy over the rate", ACCURACIES, ["recalibration_helps", "behind_all_harmless"]),
]


def in_words(settings):
    return f"residual nets of three blocks of two convolutions, {settings.width} filters in the first"


RECIPE = Recipe("variance_shift", __doc__, FLAGS, in_words, usual.images, trainings, CLAIMS, PICTURES, PRESETS)

if __name__ == "__main__":
    program.run(RECIPE)
