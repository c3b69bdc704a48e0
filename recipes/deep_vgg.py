"""Can a 19-layer VGG be trained from random weights: plain, grown from a shallow net, with auxiliary classifiers, with batch normalisation?

Trains every contestant under every combination of depth, initializer, learning rate and seed, and leaves a report with tables and pictures, TensorBoard logs
and checkpoints in --workdir. Interrupted, the same command with the same --workdir goes on where it was; with more seeds, contestants or learning rates it adds
to what is there.

    python -m recipes.deep_vgg                                     the default: 19 layers, real handwritten digits, one and a half minutes on 2 cores
    python -m recipes.deep_vgg --seeds=0,1,2                       with a spread
    python -m recipes.deep_vgg --seeds=0,1,2 --contestants=plain,grown,auxiliary,batch_norm
    python -m recipes.deep_vgg --initializers=glorot_uniform,he_normal,normal_0.01,normal_0.1
    python -m recipes.deep_vgg --learning_rates=0.01,0.1 --depth=11,16
    python -m recipes.deep_vgg --learning_rates=0.01,0.05,0.3 --depth=11 --seeds=0,1,2
    python -m recipes.deep_vgg --dataset=cifar10 --data_dir=DIR --width=1 --batch_size=128 --epochs=40

Source: Simonyan & Zisserman 2015 (the nets, growing), Szegedy et al. 2015 (auxiliary classifiers), Ioffe & Szegedy 2015 (batch normalisation).
"""

from recipes.frame import Claim, Picture, Recipe, claims, drawn, evidence, flags, program, usual
from recipes.frame.refusal import Refusal

PLAIN, GROWN, AUXILIARY, BATCH_NORM, SHALLOW = "plain", "grown", "auxiliary", "batch_norm", "shallow"
CONTESTANTS = PLAIN, GROWN, AUXILIARY, BATCH_NORM
DEPTHS, SHALLOW_DEPTH, RATE = (11, 13, 16, 19), 11, 0.01
INITIALIZERS = "glorot_uniform", "he_normal", "normal_0.01", "normal_0.1"

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
    from recipes.frame import instruments, tasks
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

    task = tasks.Classification(weights)
    return usual.training(settings, data, chosen, net, task=task, start=start, at_end=[instruments.recalibrated(data, task), weight_layers])


def weight_layers(net):
    """How many layers with a kernel there are up to the logits."""
    import keras

    return {"weight_layers": sum(hasattr(layer, "kernel") for layer in keras.Model(net.inputs, net.outputs[0]).layers)}


def nets(contestant, depth=19, initializer=INITIALIZERS[0], times=1):
    return {"contestant": contestant, "depth": depth, "initializer": initializer, "learning_rate": times * RATE}


def trains(name, contestant, sentence, source):
    """A claim that a contestant reaches more than the plain net."""
    accuracies = evidence.by_seed({one: nets(one) for one in (contestant, PLAIN)}, ["test_accuracy"], evidence.last_accuracy)
    return Claim(name, sentence, source, accuracies, claims.Better(contestant, PLAIN, by=0.1))


def faster(name, sentence, contestant, better, worse, by, summarise, what="test accuracy"):
    """A claim that shallow nets reach more with the one multiple of the usual learning rate than with the other."""
    label = {times: f"at {times} x {RATE}" for times in (better, worse)}
    accuracies = evidence.by_seed({label[times]: nets(contestant, SHALLOW_DEPTH, times=times) for times in label}, ["test_accuracy"], summarise)
    return Claim(name, sentence, "Ioffe & Szegedy, sec. 4.2", accuracies, claims.Better(label[better], label[worse], by, f"{what} of {contestant}"))


def worst_start(experiment):
    """Evidence: the lowest test accuracy of the four initializers."""
    groups = {(one, initializer): nets(one, initializer=initializer) for one in (BATCH_NORM, PLAIN) for initializer in INITIALIZERS}
    found = evidence.by_seed(groups, ["test_accuracy"], evidence.last_accuracy)(experiment)
    return found and {one: [min(of_seed) for of_seed in zip(*(found[one, name] for name in INITIALIZERS))] for one in (BATCH_NORM, PLAIN)}


OVER_TRAINING = "mean test accuracy over the training"
CLAIMS = [
    trains("grown_start", GROWN, "A deep VGG trains only when it starts from the weights of a trained shallow one", "VGG, sec. 2.3, 3.1"),
    trains("auxiliary_heads", AUXILIARY, "Auxiliary classifiers let a deep net train", "GoogLeNet, sec. 5"),
    trains("bn_trains_deep", BATCH_NORM, "With batch normalisation, a deep net trains from random weights", "Ioffe & Szegedy, sec. 1"),
    Claim(
        "any_initialisation",
        "With batch normalisation, a bad initialisation costs less",
        "Ioffe & Szegedy, sec. 1",
        worst_start,
        claims.Better(BATCH_NORM, PLAIN, by=0.1, what="lowest test accuracy of four initialisations"),
    ),
    faster("rate_x5_plain", "Without batch normalisation, five times the learning rate ruins training", PLAIN, 1, 5, 0.1, evidence.last_accuracy),
    faster(
        "rate_x5", "With batch normalisation, five times the learning rate speeds up training", BATCH_NORM, 5, 1, 0.0, evidence.mean_accuracy, OVER_TRAINING
    ),
    faster("rate_x30", "With batch normalisation, thirty times the learning rate reaches a higher accuracy", BATCH_NORM, 30, 1, 0.0, evidence.last_accuracy),
    Claim(
        "eight_layers",
        "The shallow VGG that the deep ones grow from has 8 layers",
        "often said; VGG, table 1, says 11",
        evidence.by_seed({SHALLOW: {"contestant": SHALLOW}}, ["weight_layers"]),
        claims.Near(SHALLOW, 8, within=0, what="layers with weights"),
    ),
]


def without_shallow(rows):
    return rows[rows["contestant"] != SHALLOW]


def sweep(experiment):
    from recipes.frame import pictures, tables

    rows, data = without_shallow(tables.at_end(experiment.table, "test_accuracy")), experiment.data
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


LOOK = dict(order=CONTESTANTS, panels=("depth", "initializer", "learning_rate"), limits=(0, 1), chance=True)
ACCURACY = drawn.curves("test_accuracy", "test accuracy on {data}", keep=without_shallow, **LOOK)
RECIPE = Recipe(
    "deep_vgg",
    __doc__,
    FLAGS,
    lambda settings: f"VGG of {flags.written(settings.depth)} layers, {settings.width:g} times the paper's width, Dropout {settings.dropout:g}",
    usual.images,
    trainings,
    CLAIMS,
    [Picture("curves", "test accuracy over optimizer steps", ACCURACY), Picture("sweep", "test accuracy of every combination", sweep)],
    PRESETS,
    notes,
)

if __name__ == "__main__":
    program.run(RECIPE)
