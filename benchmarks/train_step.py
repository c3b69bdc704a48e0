"""How much does batch normalisation slow down a whole net, Keras's and ours?

Measures an optimizer step and the inference of one net plain, with keras.layers.BatchNormalization and with keras_bn.BatchNormalization, in turns in one
process: `model.train_on_batch` with SGD and momentum, and `model.predict_on_batch`, on one batch of random inputs that is held as tensors. The plain VGG
(`recipes.nets.vgg`) has a bias in its convolutions; in the other plain nets a layer that returns its inputs stands for each normalisation. `kernel`, for
images as a graph, trains by nothing but TensorFlow's kernel and the update of the moving statistics: a layer around that kernel cannot be faster. The overhead
is what a net takes beyond the plain net in the same repetition, in per cent of that; times and overheads are shown as median (lower to upper quartile). The
nets with batch normalisation start from the same weights.

    python -m benchmarks.train_step                                      VGG-16 of quarter width, batches of 128, as a graph: a minute on 2 cores
    python -m benchmarks.train_step --jit_compile                        compiled by XLA
    python -m benchmarks.train_step --depth=11 --batch_size=64           a smaller one
    python -m benchmarks.train_step --net=mobilenet_v2                   a net of keras.applications, or `tabular`
    python -m benchmarks.train_step --net=resnet50 --dtype_policy=mixed_bfloat16
"""

from absl import app, flags

from benchmarks import networks, program, timing

VGG = "vgg"
PLAIN, KERAS, KERNEL, OURS = "plain", "keras", "kernel", "keras_bn"
TRAINING, INFERENCE = "train step", "inference"
LEARNING_RATE, MOMENTUM = 1e-3, 0.9


def define_flags():
    """Called where this is the program only: recipes have flags of the same names, and a process may import both."""
    flags.DEFINE_enum("net", VGG, (VGG, *networks.NETS), "Which net: VGG by --depth and --width, or one whose size is fixed.")
    flags.DEFINE_enum("dtype_policy", "float32", ("float32", "mixed_bfloat16", "mixed_float16"), "Keras's dtype policy of all layers.")
    flags.DEFINE_enum("depth", "16", ("11", "13", "16", "19"), "Weight layers of VGG.")
    flags.DEFINE_float("width", 0.25, "Multiplies the number of filters and dense units; 1 is the paper's net.", lower_bound=1e-6)
    flags.DEFINE_integer("batch_size", None, "Examples a step. Default: 128 for VGG, else what benchmarks/networks.py has for the net.", lower_bound=1)
    flags.DEFINE_bool("jit_compile", False, "Compile the train step and the inference by XLA.")
    flags.adopt_module_key_flags(program)


def nets(settings):
    """The models, compiled, by contestant."""
    import keras

    import keras_bn

    keras.config.set_dtype_policy(settings["dtype_policy"])
    if settings["net"] == VGG:
        plain, ours = (networks.vgg(int(settings["depth"]), settings["width"], batch_norm) for batch_norm in (False, True))
        models = {PLAIN: plain, KERAS: networks.exchanged(ours, keras_bn.BatchNormalization, keras.layers.BatchNormalization), OURS: ours}
    else:
        theirs = networks.NETS[settings["net"]][0]()
        plain, ours = networks.plain(theirs), networks.exchanged(theirs, keras.layers.BatchNormalization, keras_bn.BatchNormalization)
        models = {PLAIN: plain, KERAS: theirs, OURS: ours}
    if len(ours.input_shape) == 4 and not settings["jit_compile"]:
        models[KERNEL] = networks.exchanged(models[KERAS], keras.layers.BatchNormalization, networks.bare_kernel())
    for model in models.values():
        model.compile(
            optimizer=keras.optimizers.SGD(LEARNING_RATE, momentum=MOMENTUM),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=settings["jit_compile"],
        )
    return models


def batch_size(settings):
    default = 128 if settings["net"] == VGG else networks.NETS[settings["net"]][1]
    return settings["batch_size"] or default


def measured(what, models, settings):
    """One comparison, as the JSON file has it: `milliseconds` of each net, `overhead_percent` of those with batch normalisation, and
    how they compare."""
    import numpy as np
    import tensorflow as tf

    rng = np.random.default_rng(0)
    examples = batch_size(settings)
    inputs = tf.constant(rng.standard_normal((examples, *models[OURS].input_shape[1:]), np.float32))
    labels = tf.constant(rng.integers(networks.CLASSES, size=examples))

    def contestant(model):
        # Both return NumPy arrays, so that the work is done then.
        return (lambda: model.train_on_batch(inputs, labels)) if what == TRAINING else (lambda: model.predict_on_batch(inputs))

    times = timing.interleaved({name: contestant(model) for name, model in models.items()}, settings["repetitions"], settings["seconds"])
    return {
        "what": what,
        "repetitions": len(times[OURS]),
        "milliseconds": {name: timing.summary([1000 * time for time in each]) for name, each in times.items()},
        "overhead_percent": {name: timing.overheads(times[name], times[PLAIN]) for name in times if name != PLAIN},
        "overhead_ratio": timing.overhead_ratio(times[OURS], times[KERAS], times[PLAIN]),
        "ratios": {f"{KERAS}/{name}": timing.ratios(times[KERAS], times[name]) for name in times if name != KERAS},
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
            f"{KERAS} / this": program.shown(each["ratios"].get(f"{KERAS}/{name}"), 2),
        }
        for each in comparisons
        for name in each["milliseconds"]
    ]
    return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True, colalign=["left", "left", "right", "right", "right"])


def sentence(comparison):
    """What the comparison comes to, in words."""
    whole = program.shown(comparison["ratios"][f"{KERAS}/{OURS}"], 2)
    share = comparison["overhead_ratio"]
    if share is None:
        share_in_words = f"{KERAS}'s overhead cannot be told from none here, so neither can {OURS}'s share of it"
    else:
        share_in_words = f"{OURS}'s overhead is {share['median']:.2f} times {KERAS}'s (95 % interval {share['lower']:.2f} to {share['upper']:.2f})"
    return f"{comparison['what']}: {share_in_words}; time {KERAS}/{OURS} {whole}."


def conduct(settings, about, save):
    import tensorflow as tf

    from recipes.frame import machine

    tf.get_logger().setLevel("ERROR")  # Three models trace the same code, as they should; TensorFlow would warn of that.
    net = f"VGG-{settings['depth']} at width {settings['width']:g}" if settings["net"] == VGG else settings["net"]
    how = f"batches of {batch_size(settings)}, {settings['dtype_policy']}, {'XLA' if settings['jit_compile'] else 'graph'}"
    print(f"{net}, {how}; {machine.device(about)}; TensorFlow {about['tensorflow']}, Keras {about['keras']}", flush=True)
    models = nets(settings)
    comparisons = []
    for what in (TRAINING, INFERENCE):
        contestants = {name: model for name, model in models.items() if what == TRAINING or name != KERNEL}
        comparisons.append(measured(what, contestants, settings))
        save({"comparisons": comparisons})
    print("", table(comparisons), *map(sentence, comparisons), sep="\n\n")


if __name__ == "__main__":
    define_flags()
    app.run(program.main("train_step", conduct))
