"""What does folding batch normalisation gain, and what does it cost in accuracy?

Folds nets of keras.applications (random weights, random moving statistics, gamma and beta; `keras_bn.surgery.fold`), and says how many layers are gone, why the
others are not, and how far outputs differ, relative to the largest, from the net's and from those of the net in float64. Then it times the inference of both,
in turns in one process: as a graph, compiled by XLA, and by ONNX Runtime, which folds what it can by itself, on batches of random inputs. What is shown is the
time of the net by that of the folded one, as median (lower to upper quartile).

    python -m benchmarks.folding                                      ten nets, half an hour on 2 cores
    python -m benchmarks.folding --nets=ResNet50,MobileNetV2          some
    python -m benchmarks.folding --ways=none                          counts and accuracy only
"""

import collections
import logging
import re
import tempfile
import warnings

from absl import app, flags

from benchmarks import networks, program, timing

GRAPH, XLA, ONNX, NONE = "graph", "xla", "onnxruntime", "none"
NETS = {  # Name in keras.applications: pixels.
    "ResNet50": 64,
    "ResNet50V2": 64,
    "MobileNetV2": 64,
    "MobileNetV3Small": 64,
    "EfficientNetB0": 64,
    "EfficientNetV2B0": 64,
    "DenseNet121": 64,
    "InceptionV3": 96,
    "Xception": 96,
    "NASNetMobile": 64,
}


def define_flags():
    """Called where this is the program only."""
    program.define_choices("nets", tuple(NETS), "Nets of keras.applications.")
    program.define_choices("ways", (GRAPH, XLA, ONNX, NONE), "How inference is computed; none: it is not timed.", [GRAPH, XLA, ONNX])
    flags.DEFINE_list("batch_sizes", ["1", "32"], "Images a batch.")
    flags.adopt_module_key_flags(program)


def randomised(name):
    """A net without an activation at its end, of which no weight of batch normalisation is what a new layer has."""
    import keras
    import numpy as np

    keras.utils.set_random_seed(0)
    model, rng = networks.application(name, NETS[name]), np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            for weight in layer.weights:
                positive = weight.name in ("gamma", "moving_variance")
                weight.assign(rng.uniform(0.5, 1.5, weight.shape) if positive else rng.normal(0, 0.3, weight.shape))
    return model


def in_double(model):
    """The same net in float64."""
    import keras

    def copied(layer):
        return type(layer).from_config({**layer.get_config(), "dtype": "float64"}) if isinstance(layer, keras.Layer) else layer

    double = keras.models.clone_model(model, clone_function=copied)
    double.set_weights(model.get_weights())
    return double


def accuracy(model, folded):
    """How far outputs are from each other, and each from those in float64, relative to the largest."""
    import numpy as np

    x = np.random.default_rng(1).normal(size=(4, *model.input_shape[1:])).astype("float32")
    outputs, of_folded, exact = (np.asarray(each(x, training=False), "float64") for each in (model, folded, in_double(model)))
    scale = abs(exact).max()
    return {
        "difference": abs(outputs - of_folded).max() / scale,
        "error": abs(outputs - exact).max() / scale,
        "error when folded": abs(of_folded - exact).max() / scale,
    }


def reasons(model):
    """What kinds of layers are in front of those that stay, and how many."""
    from keras_bn import surgery

    kinds = (re.sub(r"^.*\((\w+)\).*$", r"\1", each.reason) for each in surgery.foldable(model) if each.reason is not None)
    return dict(collections.Counter(kinds))


def inference(model, way, size):
    """A function without arguments that computes one batch; None where the exported net cannot be run."""
    import numpy as np
    import tensorflow as tf

    x = np.random.default_rng(1).normal(size=(size, *model.input_shape[1:])).astype("float32")
    if way == ONNX:
        import onnxruntime

        logging.getLogger("tf2onnx").setLevel(logging.ERROR)  # It tells what it does, line by line.
        with tempfile.NamedTemporaryFile(suffix=".onnx") as file, warnings.catch_warnings(action="ignore"):
            model.export(file.name, format="onnx", verbose=False)
            session = onnxruntime.InferenceSession(file.name, providers=["CPUExecutionProvider"])
        names = [each.name for each in session.get_inputs()]
        # tf2onnx takes constants of EfficientNetB0's Normalization for inputs, whose values the file does not hold.
        return (lambda: session.run(None, {names[0]: x})) if len(names) == 1 else None
    function, inputs = tf.function(lambda values: model(values, training=False), jit_compile=way == XLA), tf.constant(x)
    return lambda: function(inputs).numpy()


def table(rows, ways, sizes):
    from tabulate import tabulate

    cells = []
    for row in rows:
        others = ", ".join(f"{number} {kind}" for kind, number in row["reasons"].items())
        times = {f"{way}, {size}": program.shown(row["ratios"].get(f"{way} {size}"), 2) for way in ways for size in sizes}
        errors = {name: f"{value:.1e}" for name, value in row["accuracy"].items()}
        cells.append({"net": row["net"], "gone": f"{row['gone']} of {row['layers']}", "stay behind": others or "-", **errors, **times})
    return tabulate(cells, headers="keys", tablefmt="github", disable_numparse=True)


def conduct(settings, about, save):
    import keras
    import tensorflow as tf

    from keras_bn import surgery
    from recipes.frame import machine

    tf.get_logger().setLevel("ERROR")  # Several nets trace the same code.
    ways = [way for way in settings["ways"] if way != NONE]
    sizes = [int(size) for size in settings["batch_sizes"]]
    print(f"{machine.device(about)}; TensorFlow {about['tensorflow']}, Keras {about['keras']}", flush=True)
    rows = []
    for name in settings["nets"]:
        keras.backend.clear_session()
        model = randomised(name)
        folded = surgery.fold(model)
        number, left = (sum(isinstance(layer, keras.layers.BatchNormalization) for layer in each.layers) for each in (model, folded))
        row = {"net": name, "layers": number, "gone": number - left, "reasons": reasons(model), "accuracy": accuracy(model, folded), "ratios": {}}
        for way in ways:
            for size in sizes:
                contestants = {"net": inference(model, way, size), "folded": inference(folded, way, size)}
                if None in contestants.values():
                    print(f"{name} is not timed by {way}: its export has inputs that the net has not.", flush=True)
                    continue
                times = timing.interleaved(contestants, settings["repetitions"], settings["seconds"])
                row["ratios"][f"{way} {size}"] = timing.ratios(times["net"], times["folded"])
                row.setdefault("milliseconds", {})[f"{way} {size}"] = timing.summary([1000 * time for time in times["folded"]])
        rows.append(row)
        save({"comparisons": rows})
        print(f"{name}: {row['gone']} of {number}", flush=True)
    print("", table(rows, ways, sizes), sep="\n\n")


if __name__ == "__main__":
    define_flags()
    app.run(program.main("folding", conduct))
