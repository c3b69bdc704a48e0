"""Can a 19-layer VGG be trained from random weights: plain, grown from a shallow net, with auxiliary classifiers, with batch normalisation?

Trains every contestant under every combination of depth, initializer, learning rate and seed, and leaves a report with tables and pictures, TensorBoard logs
and checkpoints in --workdir. Interrupted, the same command with the same --workdir goes on where it was; with more seeds, contestants or learning rates it adds
to what is there. A grown net has trained for as long as the others, and its shallow start as long before.

    python -m recipes.deep_vgg                                     the default: 19 layers, real handwritten digits, one and a half minutes on 2 cores
    python -m recipes.deep_vgg --seeds=0,1,2                       with a spread
    python -m recipes.deep_vgg --seeds=0,1,2 --contestants=plain,grown,auxiliary,batch_norm
    python -m recipes.deep_vgg --seeds=0,1,2 --initializers=glorot_uniform,he_normal,normal_0.01,normal_0.1
    python -m recipes.deep_vgg --seeds=0,1,2 --learning_rates=0.01,0.1 --depth=11,16
    python -m recipes.deep_vgg --learning_rates=0.01,0.05,0.3 --depth=11 --seeds=0,1,2
    python -m recipes.deep_vgg --dataset=cifar10 --data_dir=DIR --width=1 --batch_size=128 --epochs=40

Source: Simonyan & Zisserman 2015 (the nets, growing), Szegedy et al. 2015 (auxiliary classifiers), Ioffe & Szegedy 2015 (batch normalisation).
"""

from recipes.frame import Claim, Picture, Recipe, claims, drawn, evidence, flags, program, usual
from recipes.frame.comparisons import larger

PLAIN, GROWN, AUXILIARY, BATCH_NORM, SHALLOW = "plain", "grown", "auxiliary", "batch_norm", "shallow"
CONTESTANTS = PLAIN, GROWN, AUXILIARY, BATCH_NORM
DEPTHS, SHALLOW_DEPTH, RATE = (11, 13, 16, 19), 11, 0.01
INITIALIZERS = "glorot_uniform", "he_normal", "normal_0.01", "normal_0.1"

FLAGS = [
    flags.contestants(
        CONTESTANTS,
        "plain: from random weights; grown: from a trained 11-layer net, whose first four convolutions and dense layers are copied, for depths above 11; "
        "auxiliary: with classifiers on inner stages; batch_norm: keras_bn.BatchNormalization after every convolution.",
        [PLAIN, GROWN, BATCH_NORM],
    ),
    flags.Flag("depth", [19], flags.Listed(flags.Choice(DEPTHS)), "Weight layers: VGG's configurations A, B, D, E.", axis="depth"),
    flags.Flag("width", 0.25, flags.Float(lower_bound=1 / 64), "Multiplies the number of filters and dense units; 1 is the paper's net."),
    flags.Flag("dropout", 0.5, flags.Float(upper_bound=0.99), "Rate of the Dropout behind the first two dense layers."),
    flags.IMAGE_SIZE_OF_VGG,
    *flags.shared("dataset", "data_dir", "seeds", "learning_rates", "initializers", "batch_size", "epochs", "steps", "momentum"),
    *flags.shared("weight_decay", "jit_compile", "measure_every"),
]
PRESETS = {"paper": {"dataset": "cifar10", "width": 1.0, "batch_size": 256, "epochs": 74, "weight_decay": 5e-4, "initializers": ["normal_0.1"]}}


def trainings(settings, data):
    """Each contestant under each combination; for grown nets the shallow ones that they grow from, too."""
    shallow = {}

    def start(chosen):
        if chosen["contestant"] != GROWN:
            return None
        of_start = {**chosen, "contestant": SHALLOW, "depth": SHALLOW_DEPTH}
        return shallow.setdefault(tuple(of_start.values()), training(settings, data, of_start))

    chosen = [one for one in flags.combinations(FLAGS, settings) if not (one["contestant"] == GROWN and one["depth"] == SHALLOW_DEPTH)]
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


def nets(*contestants, depth=19, initializer=INITIALIZERS[0]):
    return {one: {"contestant": one, "depth": depth, "initializer": initializer, "learning_rate": RATE} for one in contestants}


def at_rates(contestant, *multiples):
    """Shallow nets, trained with multiples of the usual learning rate."""
    [chosen] = nets(contestant, depth=SHALLOW_DEPTH).values()
    return {f"{times} x {RATE}": {**chosen, "learning_rate": times * RATE} for times in multiples}


FITS, REACHES = ["training_accuracy"], ([evidence.WITH_GOOD_STATISTICS], evidence.last_accuracy)
FROM_EACH = {one: nets(BATCH_NORM, initializer=one)[BATCH_NORM] for one in INITIALIZERS}
OF_PLAIN, OF_BN, OVER_TRAINING = "training accuracy of plain", "test accuracy of batch_norm", "training accuracy of batch_norm, mean over the training"
IOFFE, IOFFE_RATES, ELEVEN = "Ioffe & Szegedy, sec. 1", "Ioffe & Szegedy, sec. 4.2", "often said; VGG, table 1, says 11"
READINGS = {"normal_0.1": "of variance 0.01, as the paper says", "normal_0.01": "of standard deviation 0.01, as most code has it"}
ONLY_GROWN = "From normal initial weights {}, a 19-layer VGG trains only when it starts from a trained shallow one"
ANY_START = "With batch normalisation, a 19-layer VGG trains from each of four initialisations"
X5_RUINS, X5 = (
    "Without batch normalisation, five times the learning rate ruins training",
    "With batch normalisation, five times the learning rate speeds up training",
)
X30 = "With batch normalisation, thirty times the learning rate reaches a higher accuracy"
CLAIMS = [
    *(
        larger(f"grown_start_{one}", ONLY_GROWN.format(said), "VGG, sec. 2.3, 3.1", nets(GROWN, PLAIN, initializer=one), *REACHES, by=0.1)
        for one, said in READINGS.items()
    ),
    larger("glorot_suffices", "From Glorot's initial weights, a deep VGG needs no grown start", "VGG, sec. 3.1", nets(PLAIN, GROWN), *REACHES, by=-0.05),
    larger("auxiliary_heads", "Auxiliary classifiers let a deep net train", "GoogLeNet, sec. 5", nets(AUXILIARY, PLAIN), *REACHES, by=0.1),
    larger("bn_trains_deep", "With batch normalisation, a deep net trains from random weights", IOFFE, nets(BATCH_NORM, PLAIN), *REACHES, by=0.1),
    Claim("any_initialisation", ANY_START, IOFFE, evidence.by_seed(FROM_EACH, *REACHES, settled=True), claims.Within(INITIALIZERS, OF_BN, lower=0.5)),
    larger("rate_x5_plain", X5_RUINS, IOFFE_RATES, at_rates(PLAIN, 1, 5), FITS, evidence.last_accuracy, 0.1, OF_PLAIN),
    larger("rate_x5", X5, IOFFE_RATES, at_rates(BATCH_NORM, 5, 1), FITS, evidence.mean_accuracy, what=OVER_TRAINING),
    larger("rate_x30", X30, IOFFE_RATES, at_rates(BATCH_NORM, 30, 1), *REACHES, what=OF_BN),
    Claim(
        "eight_layers",
        "The shallow VGG that the deep ones grow from has 8 layers",
        ELEVEN,
        evidence.by_seed({SHALLOW: {"contestant": SHALLOW, "initializer": INITIALIZERS[0]}}, ["weight_layers"], lambda layers: abs(layers[-1] - 8)),
        claims.Exact((SHALLOW,), 0, "layers with weights, how far from 8"),
    ),
]


def without_shallow(rows):
    return rows[rows["contestant"] != SHALLOW]


def sweep(experiment):
    from recipes.frame import pictures, tables

    rows, data = without_shallow(tables.at_end(experiment.table, *evidence.WITH_GOOD_STATISTICS.split(" or "))), experiment.data
    if not any(rows[name].nunique() > 1 for name in ("depth", "initializer", "learning_rate")):
        return None
    label = f"test accuracy on {data.name}, re-estimated statistics, mean over seeds"
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
