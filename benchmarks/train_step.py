"""How much does batch normalisation slow down a whole net, Keras's and ours?

Measures an optimizer step and the inference of VGG (`recipes.models.vgg`) as a plain net, whose convolutions have a bias, with keras.layers.BatchNormalization
and with keras_bn.BatchNormalization, the three in turns in one process: `model.train_on_batch` with SGD and momentum, and `model.predict_on_batch`, on one
batch of random images that is held as tensors. The overhead is what a net takes beyond the plain net in the same repetition, in per cent of that; times and
overheads are shown as median (lower to upper quartile). The nets with batch normalisation start from the same weights.

    python -m benchmarks.train_step                                      VGG-16 of quarter width, batches of 128, as a graph: a minute on 2 cores
    python -m benchmarks.train_step --jit_compile                        compiled by XLA
"""

from absl import app, flags

from benchmarks import networks, program, timing

PLAIN, KERAS, OURS = "plain", "keras", "keras_bn"
TRAINING, INFERENCE = "train step", "inference"
LEARNING_RATE, MOMENTUM = 1e-3, 0.9


def define_flags():
    """Called where this is the program only: recipes have flags of the same names, and a process may import both."""
    flags.DEFINE_enum("depth", "16", ("11", "13", "16", "19"), "Weight layers of VGG.")
    flags.DEFINE_float("width", 0.25, "Multiplies the number of filters and dense units; 1 is the paper's net.", lower_bound=1e-6)
    flags.DEFINE_integer("batch_size", 128, "Images of 32 by 32 pixels a step.", lower_bound=1)
    flags.DEFINE_bool("jit_compile", False, "Compile the train step and the inference by XLA.")
    flags.adopt_module_key_flags(program)


def nets(settings):
    """The three models, compiled, by contestant."""
    import keras

    import keras_bn

    plain, ours = (networks.vgg(int(settings["depth"]), settings["width"], batch_norm) for batch_norm in (False, True))
    found = {PLAIN: plain, KERAS: networks.exchanged(ours, keras_bn.BatchNormalization, keras.layers.BatchNormalization), OURS: ours}
    for model in found.values():
        model.compile(
            optimizer=keras.optimizers.SGD(LEARNING_RATE, momentum=MOMENTUM),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=settings["jit_compile"],
        )
    return found


def measured(what, models, settings):
    """One comparison, as the JSON file has it: `milliseconds` of each net, `overhead_percent` of the two with batch normalisation and how they compare."""
    import numpy as np
    import tensorflow as tf

    rng = np.random.default_rng(0)
    images = tf.constant(rng.standard_normal((settings["batch_size"], *networks.IMAGE_SHAPE), np.float32))
    labels = tf.constant(rng.integers(networks.CLASSES, size=settings["batch_size"]))

    def contestant(model):
        # Both return NumPy arrays, so that the work is done then.
        return (lambda: model.train_on_batch(images, labels)) if what == TRAINING else (lambda: model.predict_on_batch(images))

    times = timing.interleaved({name: contestant(model) for name, model in models.items()}, settings["repetitions"], settings["seconds"])
    return {
        "what": what,
        "repetitions": len(times[PLAIN]),
        "milliseconds": {name: timing.summary([1000 * time for time in each]) for name, each in times.items()},
        "overhead_percent": {name: timing.overheads(times[name], times[PLAIN]) for name in (KERAS, OURS)},
        "overhead_ratio": timing.overhead_ratio(times[OURS], times[KERAS], times[PLAIN]),
        "ratios": {f"{KERAS}/{OURS}": timing.ratios(times[KERAS], times[OURS])},
    }


def table(comparisons):
    """Comparisons in Markdown, a row for each net."""
    from tabulate import tabulate

    rows = [
        {
            "": each["what"],
            "net": name,
            "ms": program.shown(each["milliseconds"][name], 1),
            "overhead, %": program.shown(each["overhead_percent"].get(name), 1),
        }
        for each in comparisons
        for name in (PLAIN, KERAS, OURS)
    ]
    return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True, colalign=["left", "left", "right", "right"])


def sentence(comparison):
    """What the comparison comes to, in words."""
    whole = program.shown(comparison["ratios"][f"{KERAS}/{OURS}"], 2)
    share = comparison["overhead_ratio"]
    if share is None:
        told = f"{KERAS}'s overhead cannot be told from none here, nor then what share of it {OURS}'s is"
    else:
        told = f"{OURS}'s overhead is {share['median']:.2f} times {KERAS}'s (95 % interval {share['lower']:.2f} to {share['upper']:.2f})"
    return f"{comparison['what']}: {told}; time {KERAS}/{OURS} {whole}."


def conduct(settings, about, save):
    import tensorflow as tf

    from recipes import machine

    tf.get_logger().setLevel("ERROR")  # Three models trace the same code, as they should; TensorFlow would warn of that.
    net = f"VGG-{settings['depth']} at width {settings['width']:g}, batches of {settings['batch_size']}, {'XLA' if settings['jit_compile'] else 'graph'}"
    print(f"{net}; {machine.device(about)}; TensorFlow {about['tensorflow']}, Keras {about['keras']}", flush=True)
    models = nets(settings)
    comparisons = []
    for what in (TRAINING, INFERENCE):
        comparisons.append(measured(what, models, settings))
        save({"comparisons": comparisons})
    print("", table(comparisons), *map(sentence, comparisons), sep="\n\n")


if __name__ == "__main__":
    define_flags()
    app.run(program.main("train_step", conduct))
