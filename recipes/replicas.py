"""What does batch normalisation lose when replicas divide a batch and each normalises by its own part, and does synchronising give it back?

Trains a small residual net with the same batches on one device and on 2, 4 and 8 replicas, each of which has its share: with the statistics of that share, and
with synchronized ones, which are those of the whole batch. The moving statistics of replicas are averaged. Each net is tested with them and with re-estimated
ones, and its variance shift is measured.

    python -m recipes.replicas                     digits, 1 to 8 replicas on the CPU, four minutes on 2 cores
    python -m recipes.replicas --seeds=0,1,2       three seeds: without a spread no claim is judged
    python -m recipes.replicas --preset=paper --data_dir=DIR

Not as in the paper, which detects objects with two images a device: classification, and as many images a device as --batch_size and --replicas leave.

Source: Peng et al. 2018 (MegDet), sec. 3.3: statistics over all devices; Hoffer, Hubara & Soudry 2017: small parts may generalise better.
"""

from recipes.frame import Picture, Recipe, drawn, evidence, flags, program, usual
from recipes.frame.comparisons import larger

OWN, SYNCHRONIZED = CONTESTANTS = "own_part", "synchronized"
REPLICAS, MOST = (1, 2, 4, 8), 8
SAMPLE = 1000  # Training images that shifts are measured over.

FLAGS = [
    flags.contestants(CONTESTANTS, "own_part: each replica normalises by its part of the batch; synchronized: by all of it."),
    flags.Flag("replicas", list(REPLICAS), flags.Listed(flags.Choice(REPLICAS)), "Replicas, each a part of the CPU or an accelerator.", axis="replicas"),
    flags.Flag("width", 8, flags.Integer(1, 1024), "Filters of the first block."),
    *flags.shared("dataset", "data_dir", "seeds", "steps", "momentum", "weight_decay", image_size=8, learning_rates=[0.05], batch_size=32, epochs=3),
]
PRESETS = {"paper": {"dataset": "cifar10", "image_size": 32, "width": 16, "batch_size": 16, "epochs": 40}}


def trainings(settings, data):
    """One replica has no part of its own: it is trained once."""
    chosen = [one for one in flags.combinations(FLAGS, settings) if one["replicas"] > 1 or one["contestant"] == settings.contestants[0]]
    return [training(settings, data, one) for one in chosen]


def training(settings, data, chosen):
    from recipes.frame import instruments, tasks
    from recipes.nets import residual

    task = tasks.Classification()

    def net(_):
        size = dict(width=settings.width, weight_decay=settings.weight_decay)
        return residual.residual(data.image_shape, data.classes, place=residual.NONE, rate=0.0, **size)

    at_end = [instruments.recalibrated(data, task), largest_shift(data, settings.batch_size)]
    differing = dict(task=task, at_end=at_end, replicas=chosen["replicas"], synchronized=chosen["contestant"] == SYNCHRONIZED)
    return usual.training(settings, data, chosen, net, **differing)


def largest_shift(data, batch_size):
    """Function of the net: how far the moving variance of a layer is from what inference meets, of the layer where that is most."""
    from keras_bn import measures

    def measure(net):
        shifts = measures.variance_shift(net, data.drawn_in_whole_batches(SAMPLE, batch_size))
        return {"largest_shift": max(one.ratio for one in shifts)}

    return measure


def at(contestant, replicas):
    return {"contestant": contestant, "replicas": replicas}


def groups(*contestants):
    return {f"{one}, {MOST} replicas": at(one, MOST) for one in contestants}


ONE_DEVICE = {"one device": {"replicas": 1}}
ACCURACY, RE_ESTIMATED = (["test_accuracy"], evidence.last_accuracy), (["recalibrated_test_accuracy"], evidence.last_accuracy)
PARTS_COST = f"With {MOST} replicas, normalising by parts of the batch costs accuracy"
GIVES_BACK = f"With {MOST} replicas, synchronized statistics are better than those of parts"
AS_ONE = f"{MOST} replicas with synchronized statistics reach what one device does"
SHIFTED = f"The statistics of parts of {MOST} replicas are further from those of inference"
STILL = f"With {MOST} replicas, parts of the batch cost accuracy also with re-estimated statistics"
PENG = "Peng et al., sec. 3.3"
CLAIMS = [
    larger("parts_cost", PARTS_COST, PENG, ONE_DEVICE | groups(OWN), *ACCURACY),
    larger("synchronizing_helps", GIVES_BACK, PENG, groups(SYNCHRONIZED, OWN), *ACCURACY),
    larger("parts_cost_at_population", STILL, PENG, ONE_DEVICE | groups(OWN), *RE_ESTIMATED),
    larger("synchronized_as_one", AS_ONE, PENG, groups(SYNCHRONIZED) | ONE_DEVICE, *ACCURACY, by=-0.02),
    larger("shift_of_parts", SHIFTED, PENG, groups(OWN, SYNCHRONIZED), ["largest_shift"]),
]


def accuracies(experiment):
    from recipes.frame import tables

    quantities = {"moving": "test_accuracy", "re-estimated": "recalibrated_test_accuracy"}
    return tables.stacked({name: tables.at_end(experiment.table, quantity) for name, quantity in quantities.items()}, "statistics")


LOOK = dict(x="replicas", order=CONTESTANTS, log="x")
REACHED = drawn.curves(accuracies, "test accuracy on {data}", "Accuracy by the number of replicas", panels=["statistics"], **LOOK)
SHIFTS = drawn.curves("largest_shift", "largest variance shift of a layer", "Variance shift by the number of replicas", **LOOK)
PICTURES = [
    Picture("accuracies", "test accuracy over the number of replicas", REACHED, ["parts_cost", "synchronizing_helps"]),
    Picture("shifts", "variance shift over the number of replicas", SHIFTS, ["shift_of_parts"]),
]


def in_words(settings):
    return f"residual nets of three blocks of two convolutions, {settings.width} filters in the first; batches of {settings.batch_size} in all"


RECIPE = Recipe("replicas", __doc__, FLAGS, in_words, usual.images, trainings, CLAIMS, PICTURES, PRESETS)

if __name__ == "__main__":
    program.run(RECIPE)
