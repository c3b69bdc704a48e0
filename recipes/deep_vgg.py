"""Can a 19-layer VGG be trained from random weights: plain, grown from a shallow net, with auxiliary classifiers, with batch normalisation?

Trains every contestant under every combination of depth, initializer, learning rate and seed, and leaves a report with tables and pictures, TensorBoard logs
and checkpoints in --workdir. Interrupted, the same command with the same --workdir goes on where it was; with more seeds, contestants or learning rates it adds
to what is there.

    python -m recipes.deep_vgg                                     the default: 19 layers, real handwritten digits, one and a half minutes on 2 cores
    python -m recipes.deep_vgg --seeds=0,1,2                       with a spread
    python -m recipes.deep_vgg --initializers=glorot_uniform,he_normal,normal_0.01,normal_0.1
    python -m recipes.deep_vgg --learning_rates=0.01,0.1 --depth=11,16
    python -m recipes.deep_vgg --dataset=cifar10 --data_dir=DIR --width=1 --batch_size=128 --epochs=40

Source: Simonyan & Zisserman 2015 (the nets, growing), Szegedy et al. 2015 (auxiliary classifiers), Ioffe & Szegedy 2015 (batch normalisation).
"""

from recipes.frame import Claim, Picture, Recipe, claims, evidence, flags, program, usual
from recipes.frame.refusal import Refusal

PLAIN, GROWN, AUXILIARY, BATCH_NORM, SHALLOW = "plain", "grown", "auxiliary", "batch_norm", "shallow"
CONTESTANTS = PLAIN, GROWN, AUXILIARY, BATCH_NORM
DEPTHS, SHALLOW_DEPTH = (11, 13, 16, 19), 11

FLAGS = [
    flags.Flag(
        "contestants",
        [PLAIN, GROWN, BATCH_NORM],
        flags.Listed(flags.Choice(CONTESTANTS)),
        "plain: from random weights; grown: from a trained 11-layer net, whose first four convolutions and dense layers are copied; auxiliary: with "
        "classifiers on inner stages; batch_norm: keras_bn.BatchNormalization after every convolution.",
        axis="contestant",
    ),
    flags.Flag("depth", [19], flags.Listed(flags.Choice(DEPTHS)), "Weight layers: VGG's configurations A, B, D, E.", axis="depth"),
    flags.Flag("width", 0.25, flags.Float(lower_bound=1 / 64), "Multiplies the number of filters and dense units; 1 is the paper's net."),
    flags.Flag("dropout", 0.5, flags.Float(upper_bound=0.99), "Rate of the Dropout behind the first two dense layers."),
    *flags.shared(
        dataset=..., data_dir=..., image_size=..., seeds=..., learning_rates=..., initializers=..., batch_size=..., epochs=..., steps=..., momentum=...
    ),
    *flags.shared(weight_decay=..., jit_compile=..., measure_every=...),
]
PRESETS = {"paper": {"dataset": "cifar10", "width": 1.0, "batch_size": 128, "epochs": 74, "weight_decay": 5e-4, "initializers": ["normal_0.1"]}}


def trainings(settings, data):
    """Each contestant under each combination; for grown nets the shallow ones that they grow from, too."""
    shallow = {}

    def start(chosen):
        if chosen["contestant"] != GROWN:
            return None
        of_start = {**chosen, "contestant": SHALLOW, "depth": SHALLOW_DEPTH}
        return shallow.setdefault(tuple(of_start.values()), training(settings, data, of_start))

    chosen = [one for one in flags.combinations(FLAGS, settings) if not (one["contestant"] == GROWN and one["depth"] == SHALLOW_DEPTH)]
    if not chosen:
        raise Refusal(f"--contestants=grown --depth={SHALLOW_DEPTH} leaves nothing to train; expected a depth above {SHALLOW_DEPTH} for grown.")
    return [training(settings, data, one, start(one)) for one in chosen]


def training(settings, data, chosen, start=None):
    import keras_bn
    from recipes.frame import tasks
    from recipes.nets import vgg

    contestant = chosen["contestant"]
    weights = [1.0] + [vgg.AUXILIARY_LOSS_WEIGHT] * len(vgg.AUXILIARY_STAGES) if contestant == AUXILIARY else None

    def net(shallow):
        kind = dict(normalisation=keras_bn.BatchNormalization if contestant == BATCH_NORM else None, auxiliary=contestant == AUXILIARY)
        size = dict(width=settings.width, dropout=settings.dropout, weight_decay=settings.weight_decay, kernel_initializer=chosen["initializer"])
        deep = vgg.vgg(chosen["depth"], data.image_shape, data.classes, **size, **kind)
        if shallow is not None:
            vgg.grow(shallow, deep)
        return deep

    return usual.training(settings, data, chosen, net, task=tasks.Classification(weights), start=start)


def compared(contestant):
    """Evidence: the test accuracies of that contestant and of the plain net."""
    usual_otherwise = {"depth": 19, "initializer": "glorot_uniform", "learning_rate": 0.01}
    return evidence.by_seed({one: {"contestant": one, **usual_otherwise} for one in (contestant, PLAIN)}, ["test_accuracy"], evidence.last_accuracy)


CLAIMS = [
    Claim(
        "grown_start",
        "A deep VGG needs the weights of a trained shallow one to start from",
        "VGG, sec. 2.3, 3.1",
        compared(GROWN),
        claims.better(GROWN, PLAIN, by=0.1),
    ),
    Claim(
        "auxiliary_heads",
        "Classifiers on inner stages let a deep net train",
        "GoogLeNet, sec. 5",
        compared(AUXILIARY),
        claims.better(AUXILIARY, PLAIN, by=0.1),
    ),
    Claim(
        "bn_trains_deep",
        "With batch normalisation a deep net trains from random weights",
        "Ioffe & Szegedy, sec. 1",
        compared(BATCH_NORM),
        claims.better(BATCH_NORM, PLAIN, by=0.1),
    ),
]


def accuracy(experiment):
    from recipes.frame import pictures, tables

    rows, data = tables.of(experiment.table, "test_accuracy"), experiment.data
    return pictures.curves(
        rows[rows["contestant"] != SHALLOW],
        f"test accuracy on {data.name}",
        pictures.outcomes(experiment),
        order=CONTESTANTS,
        panels=("depth", "initializer", "learning_rate"),
        limits=(0, 1),
        reference=(data.chance, "chance"),
    )


def sweep(experiment):
    from recipes.frame import pictures, tables

    rows, data = tables.at_end(experiment.table, "test_accuracy"), experiment.data
    rows = rows[rows["contestant"] != SHALLOW]
    if not any(rows[name].nunique() > 1 for name in ("depth", "initializer", "learning_rate")):
        return None
    label = f"test accuracy on {data.name}, mean over seeds"
    return pictures.heatmap(
        rows, label, pictures.outcomes(experiment), index=["contestant", "depth"], columns=["initializer", "learning_rate"], limits=(data.chance, 1)
    )


def notes(settings):
    if GROWN in settings.contestants and SHALLOW_DEPTH in settings.depth:
        return [f"There is no grown net of depth {SHALLOW_DEPTH}: that is the shallow net which the others grow from."]
    return []


RECIPE = Recipe(
    "deep_vgg",
    __doc__,
    FLAGS,
    usual.images,
    trainings,
    CLAIMS,
    [Picture("curves", "test accuracy over optimizer steps", accuracy), Picture("sweep", "test accuracy of every combination", sweep)],
    PRESETS,
    notes,
)

if __name__ == "__main__":
    program.run(RECIPE)
