"""The two nets of Santurkar et al. 2018, app. A, as trainings: a VGG on images, and a deep linear network on the data of a random matrix, by full batches."""

from recipes.frame import Training, flags, usual

VGG, LINEAR = NETS = "vgg", "linear"
MATRICES, LINEAR_RATE, BATCH = 25, 1e-6, 128
FLAGS = [
    flags.Flag(
        "nets", list(NETS), flags.Listed(flags.Choice(NETS)), f"vgg: of --depth; linear: {MATRICES} matrices, with a learning rate of 1e-6.", axis="net"
    ),
    flags.Flag("depth", 13, flags.Choice((11, 13, 16, 19)), "Weight layers of the VGG."),
    flags.Flag("width", 0.25, flags.Float(lower_bound=1 / 64), "Multiplies its filters and dense units."),
    flags.Flag("linear_steps", 1000, flags.Integer(lower_bound=1), "Optimizer steps of the linear network."),
    flags.IMAGE_SIZE_OF_VGG,
    *flags.shared("dataset", "data_dir", "seeds", "steps", "weight_decay", "jit_compile", learning_rates=[0.1], batch_size=BATCH, epochs=23, measure_every=25),
]
PAPER = {
    "dataset": "cifar10",
    "depth": 16,
    "width": 1.0,
    "steps": 15_000,
    "linear_steps": 10_000,
    "learning_rates": [0.1, 0.5],
    "measure_every": 250,
}


def trainings(own_flags, settings, data, normalisations, instruments, vgg_only=()):
    """One for each combination; the linear network with its own learning rate.

    Args:
        own_flags: list of `flags.Flag`, the recipe's.
        settings: namespace, with what FLAGS has.
        data: `images.Images`, for the VGG.
        normalisations: dict, contestant to a function of a name that returns a layer, or to None.
        instruments: function of (net, its data, hyperparameters, log_dir) that returns callbacks.
        vgg_only: contestants that the linear network has not.
    """
    chosen = [{**one, "learning_rate": LINEAR_RATE} if one["net"] == LINEAR else one for one in flags.combinations(own_flags, settings)]
    chosen = {tuple(one.values()): one for one in chosen if not (one["net"] == LINEAR and one["contestant"] in vgg_only)}
    make = {VGG: _vgg, LINEAR: _linear}
    return [make[one["net"]](settings, data, one, normalisations[one["contestant"]], instruments) for one in chosen.values()]


def in_words(settings):
    """What is trained, for `Recipe.nets`."""
    words = {VGG: f"VGG of {settings.depth} layers, {settings.width:g} times the paper's width", LINEAR: f"{MATRICES} matrices, one behind the other"}
    return "; ".join(words[name] for name in settings.nets)


def groups(*contestants, net=VGG, learning_rate=0.1):
    """For `evidence.by_seed`: the trainings of those contestants."""
    return {one: {"contestant": one, "net": net, "learning_rate": LINEAR_RATE if net == LINEAR else learning_rate} for one in contestants}


def _vgg(settings, data, chosen, normalisation, instruments):
    from recipes.nets import vgg

    size = dict(width=settings.width, kernel_initializer="glorot_uniform", weight_decay=settings.weight_decay, dropout=0.0)

    def net(_):
        return vgg.vgg(settings.depth, data.image_shape, data.classes, **size, normalisation=normalisation)

    return usual.training(settings, data, chosen, net, instruments=lambda net, log_dir: instruments(net, data, chosen, log_dir))


def _linear(settings, data, chosen, normalisation, instruments):
    import keras

    from recipes.datasets.linear import LinearMap
    from recipes.frame import tasks
    from recipes.nets import linear

    numbers = LinearMap(seed=chosen["seed"])
    return Training(
        hyperparameters=chosen,
        build=lambda _: linear.deep_linear(numbers.features, MATRICES, normalisation),
        data=numbers,
        task=tasks.Regression(),
        optimizer=lambda: keras.optimizers.SGD(chosen["learning_rate"]),
        batch_size=numbers.size,
        steps=settings.linear_steps,
        record_every=max(1, settings.linear_steps // 20),
        instruments=lambda net, log_dir: instruments(net, numbers, chosen, log_dir),
        jit_compile=settings.jit_compile,
    )
