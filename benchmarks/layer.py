"""How fast is the layer beside Keras's, PyTorch's and a copy of its inputs?

Measures keras_bn.BatchNormalization, keras.layers.BatchNormalization and, where torch is installed and TensorFlow computes on CPUs, torch.nn.BatchNorm2d, in
turns in one process. A row is a shape and a mode; ratios are of the same repetition, shown as median (lower to upper quartile).

    python -m benchmarks.layer                                           all, an hour at most on 2 cores
    python -m benchmarks.layer --dtypes=float32 --compile=graph          the most usual
    python -m benchmarks.layer --shapes=64x32x32x64,64x64x32x32@1 --modes=forward_backward --repetitions=200

Modes: `forward` is the call in training with its assignment of the moving statistics; `forward_backward` the same and the gradients to the inputs, gamma and
beta for a given one to the outputs; `inference` the call with the moving statistics. All outputs are returned, and one value of them is read by the host.
Half precision is Keras's mixed policy: inputs and outputs are half, weights and statistics float32.

`--compile`: `graph` is a tf.function for inputs whose shape is known, `unknown_batch` one for any number of examples, `eager` the call as it is, `xla` a
tf.function that XLA compiles. Small inputs, for which a call costs more than its arithmetic, are called 30 times a turn.

The copy is `tf.raw_ops.DeepCopy` in graph mode: it reads the inputs once and writes as many bytes, which inference cannot do without. Where the inputs do not
stay in a cache, forward has to read them twice, and forward_backward, which has two inputs and two outputs of that size, moves three to four times as much.
It is TensorFlow's limit, with its call and its memory for the outputs: PyTorch's inference can be quicker than that.
PyTorch is not compiled, and gets the same memory layout: channels_last for the last axis, contiguous for axis 1. Unless OMP_WAIT_POLICY says otherwise its
threads sleep while they wait (PASSIVE): else, on two cores of which one was busy, the forward call at 64x32x32x64 took 44 to 92 ms (medians) instead of 1.6.
"""

import contextlib
import os
import re

from absl import app, flags

from benchmarks import program, timing

RANK_4 = ("64x32x32x64", "128x16x16x128", "128x32x32x16", "128x4x4x128", "32x112x112x64")
OTHERS = ("256x512", "8192x128", "64x128x64", "64x64x32x32@1")  # By default in float32 only, as SMALL.
SMALL = ("4x2x2x320", "4x8x8x96", "32x16", "256x64")  # By default the only ones for compilations that differ in what a call costs.
SMALL_VALUES, CALLS_OF_SMALL = 2**16, 30
POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}
FORWARD, BACKWARD, INFERENCE = MODES = ("forward", "forward_backward", "inference")
GRAPH, UNKNOWN_BATCH, EAGER, XLA = COMPILE = ("graph", "unknown_batch", "eager", "xla")
OURS, KERAS, TORCH, COPY = "keras_bn", "keras", "torch", "copy"

flags.DEFINE_list(
    "shapes",
    None,
    "Shapes of the inputs, such as 64x32x32x64, or with the channels' axis, if that is not the last, 64x64x32x32@1. "
    f"Default: {', '.join(RANK_4)}; in float32 {', '.join(OTHERS + SMALL)}, too; with unknown_batch and eager {', '.join(SMALL)} only.",
)
program.define_choices("modes", MODES, "What is timed.")
program.define_choices("dtypes", POLICIES, "Of inputs and outputs.")
program.define_choices("compile", COMPILE, "How TensorFlow's contestants are called and compiled.")
flags.register_validator("shapes", lambda shapes: shapes is None or (bool(shapes) and all(map(parsed, shapes))), "expected at least one shape.")
flags.adopt_module_key_flags(program)


def parsed(shape):
    """(sizes, axis) of a shape as it is written on the command line."""
    match = re.fullmatch(r"([1-9]\d*(?:x[1-9]\d*)+)(?:@(\d+))?", shape)
    sizes = tuple(map(int, match[1].split("x"))) if match else ()
    axis = int(match[2]) if match and match[2] else -1
    if not match or axis >= len(sizes):
        raise flags.ValidationError(f"{shape!r} is no shape; expected sizes such as 64x32x32x64, or with the channels' axis behind them 64x64x32x32@1.")
    return sizes, axis


def arrays(sizes, axis):
    """Inputs whose channels have means within two standard deviations of 0, as activations have, and a gradient to the outputs: NumPy, float32."""
    import numpy as np

    rng = np.random.default_rng(0)
    along = [1] * len(sizes)
    along[axis] = sizes[axis]
    deviation = rng.uniform(0.5, 2, along).astype(np.float32)
    mean = deviation * rng.uniform(-2, 2, along).astype(np.float32)
    return rng.standard_normal(sizes, np.float32) * deviation + mean, rng.standard_normal(sizes, np.float32)


def tensorflow_contestant(layer, mode, inputs, gradient, compilation):
    """A call of a built Keras layer, as `timing.interleaved` takes it."""
    import tensorflow as tf

    weights = [variable.value for variable in layer.trainable_variables]

    def outputs(x, dy):
        if mode == INFERENCE:
            return [layer(x, training=False)]
        if mode == FORWARD:
            return [layer(x, training=True)]
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        return [y, *tape.gradient(y, [x, *weights], output_gradients=dy)]

    return _call(outputs, (inputs, gradient), compilation)


def copy_contestant(inputs):
    """A call that copies the inputs: the time that reading and writing them takes at least."""
    import tensorflow as tf

    return _call(lambda x: [tf.raw_ops.DeepCopy(x=x)], (inputs,), GRAPH)


def torch_contestant(mode, inputs, gradient, axis, dtype):
    """A call of torch.nn.BatchNorm2d on the same values, or None where torch has none for them.

    Args:
        mode: one of MODES.
        inputs, gradient: NumPy, float32.
        axis: the channel axis.
        dtype: name.
    """
    torch = _torch()
    if torch is None or inputs.ndim != 4 or axis not in (-1, 1, 3):
        return None

    def tensor(array):
        x = torch.from_numpy(array).to(getattr(torch, dtype))
        return x if axis == 1 else x.permute(0, 3, 1, 2)  # A view: its memory is what torch calls channels_last.

    x, dy = tensor(inputs), tensor(gradient)
    layer = torch.nn.BatchNorm2d(x.shape[1], eps=1e-3, momentum=0.01).train(mode != INFERENCE)
    if mode == BACKWARD:
        x.requires_grad_()

    def call():
        if mode == BACKWARD:
            y = layer(x)
            return y, torch.autograd.grad(y, [x, layer.weight, layer.bias], dy)
        with torch.no_grad():
            return layer(x)

    try:
        call()
    except RuntimeError:  # There are versions without kernels for half precision.
        return None
    return call


def measured(compilation, dtype, shape, mode, settings):
    """One comparison, as the JSON file has it: `milliseconds` of each contestant and the `ratios` that the table shows, each from `timing.summary`."""
    import keras
    import tensorflow as tf

    import keras_bn

    sizes, axis = parsed(shape)
    inputs, gradient = arrays(sizes, axis)
    tensors = [tf.cast(array, dtype) for array in (inputs, gradient)]
    contestants = {}
    for name, kind in ((OURS, keras_bn.BatchNormalization), (KERAS, keras.layers.BatchNormalization)):
        layer = kind(axis=axis, dtype=POLICIES[dtype])
        layer.build(sizes)
        contestants[name] = tensorflow_contestant(layer, mode, *tensors, compilation)
    torch_call = torch_contestant(mode, inputs, gradient, axis, dtype)
    if torch_call is not None:
        contestants[TORCH] = torch_call
    contestants[COPY] = copy_contestant(tensors[0])

    calls = CALLS_OF_SMALL if inputs.size <= SMALL_VALUES else 1
    times = timing.interleaved(contestants, settings["repetitions"], settings["seconds"], settling=calls, calls=calls)
    pairs = [(KERAS, OURS), (TORCH, OURS), (OURS, COPY)]
    return {
        "compile": compilation,
        "dtype": dtype,
        "shape": shape,
        "mode": mode,
        "repetitions": len(times[OURS]),
        "milliseconds": {name: timing.summary([1000 * time for time in each]) for name, each in times.items()},
        "ratios": {f"{one}/{other}": timing.ratios(times[one], times[other]) for one, other in pairs if one in times},
    }


def table(comparisons):
    """Comparisons of one compilation and dtype in Markdown, a row each."""
    from tabulate import tabulate

    names = [name for name in (OURS, KERAS, TORCH, COPY) if any(name in each["milliseconds"] for each in comparisons)]
    ratios = [name for name in (f"{KERAS}/{OURS}", f"{TORCH}/{OURS}", f"{OURS}/{COPY}") if any(name in each["ratios"] for each in comparisons)]
    rows = []
    for each in comparisons:
        times = {f"{name} ms": f"{each['milliseconds'][name]['median']:.3g}" if name in each["milliseconds"] else "-" for name in names}
        rows.append({"shape": each["shape"], "mode": each["mode"], **times, **{name: program.shown(each["ratios"].get(name), 2) for name in ratios}})
    return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True, colalign=["left", "left", *["right"] * (len(names) + len(ratios))])


def geometric_means(comparisons):
    """For each compilation and mode the geometric means of each ratio over those of the shapes in RANK_4 that were measured in float32."""
    means = []
    for compilation in COMPILE:
        for mode in MODES:
            chosen = [
                each
                for each in comparisons
                if each["shape"] in RANK_4 and each["dtype"] == "float32" and each["compile"] == compilation and each["mode"] == mode
            ]
            if chosen:
                names = [name for name in chosen[0]["ratios"] if all(name in each["ratios"] for each in chosen)]
                ratios = {name: timing.geometric_mean([each["ratios"][name] for each in chosen]) for name in names}
                means.append({"compile": compilation, "mode": mode, "shapes": len(chosen), "ratios": ratios})
    return means


def shapes_of(dtype, compilation):
    """The shapes that are measured where none are asked for."""
    if compilation in (UNKNOWN_BATCH, EAGER):
        return SMALL
    return RANK_4 + OTHERS + SMALL if dtype == "float32" else RANK_4


def conduct(settings, about, save):
    import tensorflow as tf
    from tabulate import tabulate
    from tqdm import tqdm

    from recipes.frame import machine

    tf.get_logger().setLevel("ERROR")  # Each comparison traces functions of its own, as it should; TensorFlow would warn of that.
    torch = _torch()
    versions = {"torch": torch.__version__, "OMP_WAIT_POLICY": os.environ["OMP_WAIT_POLICY"]} if torch else {}
    print(f"{machine.device(about)}; TensorFlow {about['tensorflow']}, Keras {about['keras']}, PyTorch {versions.get('torch', 'not measured')}", flush=True)
    comparisons = []
    for compilation in settings["compile"]:
        for dtype in settings["dtypes"]:
            shapes = settings["shapes"] or shapes_of(dtype, compilation)
            cells = [(shape, mode) for shape in shapes for mode in settings["modes"]]
            section = []
            for shape, mode in tqdm(cells, desc=f"{dtype}, {compilation}", unit="comparison", leave=False, disable=None):
                section.append(measured(compilation, dtype, shape, mode, settings))
                save({"versions": versions, "comparisons": comparisons + section, "geometric_means": geometric_means(comparisons + section)})
            comparisons += section
            print("", f"## {dtype}, {compilation}", table(section), sep="\n\n", flush=True)
    means = geometric_means(comparisons)
    if means:
        rows = [{"compile": mean["compile"], "mode": mean["mode"], "shapes": f"{mean['shapes']} of {len(RANK_4)}"} for mean in means]
        for row, mean in zip(rows, means):
            row.update({name: program.shown(ratio, 2) for name, ratio in mean["ratios"].items()})
        print("", f"## float32, geometric means over {', '.join(RANK_4)}", tabulate(rows, headers="keys", tablefmt="github"), sep="\n\n")


def _call(outputs, arguments, compilation):
    """A call of `outputs(*arguments)`, compiled in that way; it returns when one value of the first of the outputs, a list, is with the host."""
    import tensorflow as tf

    def function(*arguments):
        results = outputs(*arguments)
        return tf.reshape(results[0], [-1])[0], results

    if compilation != EAGER:
        signature = [tf.TensorSpec([None, *each.shape[1:]], each.dtype) for each in arguments] if compilation == UNKNOWN_BATCH else None
        function = tf.function(function, autograph=False, input_signature=signature, jit_compile=compilation == XLA or None)

    def call():
        one, results = function(*arguments)
        one.numpy()
        return results

    return call


def _torch():
    """torch, or None where it is not installed, or where TensorFlow does not compute on CPUs as torch would here."""
    import tensorflow as tf

    if any(device.device_type != "CPU" for device in tf.config.list_physical_devices()):
        return None
    # Its threads wait for each other by spinning, which takes milliseconds a call wherever there are fewer free cores than threads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with contextlib.suppress(ImportError, OSError):  # OSError: a library of its own is missing.
        import torch

        return torch
    return None


if __name__ == "__main__":
    app.run(program.main("layer", conduct))
