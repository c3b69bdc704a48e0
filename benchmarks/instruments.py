"""What does measuring cost? Each callback alone, and all together, beside the same training unmeasured.

Trains VGG (`recipes.nets.vgg`), or Keras's ResNet-50 of 53 convolutions or EfficientNetB0 of 82, with keras_bn.BatchNormalization, on random images by
`model.fit`, or by a loop. A training is as many steps as the interval, 8 at least; the contestants train in turns in one process, and the slowdown is the
time of a training by that of the unmeasured one in the same repetition, shown as median (lower to upper quartile). VarianceShift looks at --images images.
Nothing is logged to a file. Apart from that:

* train steps per measurement: (measured - unmeasured training) / measurements / unmeasured step, at the first of the intervals;
* by_hand: the internal covariate shift as one would write it down: weights swapped by `assign`, one eager gradient a layer; in train steps;
* first: seconds that the first measurement takes longer than a later one, for tracing and TensorFlow's optimisation of the graph, once a model;
* memory: the peak of a process that measures, by that of one that only trains; and the same without what Python, TensorFlow and Keras hold before.

    python -m benchmarks.instruments                                      VGG-16 of quarter width, batches of 128: an hour on 2 cores
    python -m benchmarks.instruments --intervals=4 --net=vgg11            how it grows with depth
    python -m benchmarks.instruments --intervals=4 --batch_size=512       and with the batch
"""

import contextlib
import multiprocessing
import resource
import statistics
import time

from absl import app, flags

from benchmarks import networks, program, timing
from recipes.frame import quiet

NEVER, DEFAULT, SHORT, BY_LOOP = "never", "default", "short", "loop"
INTERVALS = ("1", "4", "16", "64", "256", NEVER, DEFAULT, SHORT, BY_LOOP)
PLAIN, ALL = "unmeasured", "all together"
BY_HAND = "by_hand"
IMPORTED = "imported"
INSTRUMENTS = ("InternalCovariateShift", "VarianceShift", "LossLandscape", "ActivationStatistics", BY_HAND)
APPLICATIONS = {"resnet50": ("ResNet50", 32), "efficientnet_b0": ("EfficientNetB0", 64)}  # Names in keras.applications, and pixels.
SHORTEST = 8  # Steps of a training; where the interval is smaller, more of them are measured.
UNMEASURED_STEPS = 64  # Of those in which nothing is ever due.
DEFAULT_STEPS, SHORT_STEPS = 1000, 24  # Of those at the callbacks' own schedules, which measure a shorter training more often.
LOOP_INTERVAL = 4


def define_flags():
    """Called where this is the program only: recipes have flags of the same names, and a process may import both."""
    flags.DEFINE_enum("net", "vgg16", ("vgg11", "vgg13", "vgg16", "vgg19", *APPLICATIONS), "What is trained.")
    flags.DEFINE_float("width", 0.25, "Multiplies the number of filters and dense units of VGG; 1 is the paper's net.", lower_bound=1e-6)
    flags.DEFINE_integer("batch_size", 128, "Images a step, of 32 by 32 pixels; of EfficientNetB0 64 by 64.", lower_bound=1)
    flags.DEFINE_integer("images", 512, "Images that VarianceShift looks at.", lower_bound=1)
    program.define_choices("instruments", INSTRUMENTS, "What is measured.")
    program.define_choices(
        "intervals",
        INTERVALS,
        "Steps from one measurement to the next; never: callbacks that have nothing to do; default: as they come, all together only; short: the same in a "
        "training of 24 steps; loop: every 4 steps of a loop by hand around a `tf.function`, with the loss as a function.",
    )
    flags.adopt_module_key_flags(program)


class Training:
    """A net, its data, and trainings of it."""

    def __init__(self, settings):
        import keras
        import numpy as np
        import tensorflow as tf

        self.settings, self._step = settings, None
        keras.utils.set_random_seed(0)
        rng = np.random.default_rng(0)
        batch, (_, pixels) = settings["batch_size"], APPLICATIONS.get(settings["net"], (None, networks.IMAGE_SHAPE[0]))
        self.images = rng.standard_normal((max(batch, settings["images"]), pixels, pixels, 3), np.float32)
        self.labels = rng.integers(networks.CLASSES, size=len(self.images))
        self.batch = tf.constant(self.images[:batch]), tf.constant(self.labels[:batch])
        self.looked_at = self.images[: settings["images"]]
        self.model = _net(settings)
        self.model.compile(keras.optimizers.SGD(1e-3, momentum=0.9), keras.losses.SparseCategoricalCrossentropy(from_logits=True))

    def instruments(self, name, **schedule):
        """The callbacks of a contestant, to be kept for all its trainings; schedule: `every`, or nothing for their own."""
        from keras_bn import callbacks

        data = {"VarianceShift": (self.looked_at,), "ActivationStatistics": (self.batch,)}
        chosen = [kind for kind in _callbacks(self.settings) if name in (kind, ALL)]
        without_loss = {name: value for name, value in schedule.items() if name != "loss"}
        return [getattr(callbacks, kind)(*data.get(kind, ()), strict=True, **(without_loss if kind == "VarianceShift" else schedule)) for kind in chosen]

    def fit(self, steps, instruments):
        import tensorflow as tf

        options = tf.data.Options()
        options.autotune.enabled = False  # Its thread sleeps longer and longer, and `fit` does not end before it wakes: up to a second of chance.
        data = tf.data.Dataset.from_tensors(self.batch).repeat(steps).with_options(options)
        self.model.optimizer.iterations.assign(0)
        self.model.fit(data, verbose=0, shuffle=False, callbacks=instruments)

    def loss(self, model, x, y, sample_weight):
        return self.model.loss(y, model(x, training=True))

    def loop(self, steps, instruments):
        """The same by hand, each step within the contexts of the instruments."""
        import tensorflow as tf

        model = self.model
        if self._step is None:

            @tf.function(autograph=False)
            def step(x, y):
                with tf.GradientTape() as tape:
                    value = self.loss(model, x, y, None)
                model.optimizer.apply(tape.gradient(value, model.trainable_variables), model.trainable_variables)
                return value

            self._step = step
        model.optimizer.iterations.assign(0)
        for _ in range(steps):
            with contextlib.ExitStack() as contexts:
                for instrument in instruments:
                    contexts.enter_context(instrument.watching(model, *self.batch))
                value = self._step(*self.batch)
        for instrument in instruments:
            instrument.on_train_end()
        float(value)


def _net(settings):
    if settings["net"] in APPLICATIONS:
        return networks.normalised_by_ours(*APPLICATIONS[settings["net"]])
    return networks.vgg(int(settings["net"].removeprefix("vgg")), settings["width"], batch_norm=True)


def contestants(settings):
    """Those that measure: each callback, and where there are several all together."""
    chosen = _callbacks(settings)
    return [*chosen, *([ALL] if len(chosen) > 1 else [])]


def _callbacks(settings):
    return [name for name in settings["instruments"] if name != BY_HAND]


def slowdowns(training, interval, settings):
    """One comparison, as the JSON file has it: the times of all contestants at this interval."""
    names, schedule = [PLAIN, *contestants(settings)], {}
    train = training.fit
    if interval in (DEFAULT, SHORT):
        names, steps, measurements = [PLAIN, names[-1]], DEFAULT_STEPS if interval == DEFAULT else SHORT_STEPS, None
    elif interval == BY_LOOP:
        train, steps, schedule = training.loop, SHORTEST, {"every": LOOP_INTERVAL, "loss": training.loss}
        measurements = steps // LOOP_INTERVAL
    elif interval == NEVER:
        steps, measurements, schedule["every"] = UNMEASURED_STEPS, None, lambda step: False
    else:
        schedule["every"] = int(interval)
        steps = max(schedule["every"], SHORTEST)
        measurements = steps // schedule["every"]
    callbacks_of = {name: training.instruments(name, **schedule) for name in names}
    trainings = {name: lambda name=name: train(steps, callbacks_of[name]) for name in names}
    times = timing.interleaved(trainings, settings["repetitions"], settings["seconds"], warm_up=1, settling=0)
    step = [time / steps for time in times[PLAIN]]
    results = {
        "interval": interval,
        "steps": steps,
        "repetitions": len(step),
        "step_milliseconds": timing.summary([1000 * time for time in step]),
        "slowdown": {name: timing.ratios(times[name], times[PLAIN]) for name in names[1:]},
    }
    if measurements:
        results["steps_per_measurement"] = {
            name: timing.summary([(one - plain) / measurements / each for one, plain, each in zip(times[name], times[PLAIN], step)]) for name in names[1:]
        }
    return results


def firsts(settings):
    """Seconds that each callback's first measurement takes beyond a later one."""
    results = {}
    for name in contestants(settings):
        training = Training(settings)
        training.fit(2, [])
        instruments, times = training.instruments(name, every=1), []
        for _ in range(3):
            begin = time.perf_counter()
            training.fit(1, instruments)
            times.append(time.perf_counter() - begin)
        results[name] = times[0] - statistics.median(times[1:])
    return results


def by_hand(training, settings):
    """Train steps that the internal covariate shift takes without any of this package's means."""
    import tensorflow as tf

    model, (x, y) = training.model, training.batch
    kernels = [index for index, variable in enumerate(model.trainable_variables) if variable.name == "kernel"]
    before = [variable.numpy() for variable in model.trainable_variables]
    after = [0.99 * value for value in before]

    def gradient(values, index):
        for variable, value in zip(model.trainable_variables, values):
            variable.assign(value)
        with tf.GradientTape() as tape:
            loss = model.compute_loss(x=x, y=y, y_pred=model(x, training=True))
        return tape.gradient(loss, model.trainable_variables[index].value)

    def measure():
        for index in kernels:
            one, other = gradient(before, index), gradient([*after[:index], *before[index:]], index)
            float(tf.norm(one - other))

    in_turns = {BY_HAND: measure, PLAIN: lambda: training.fit(SHORTEST, [])}
    times = timing.interleaved(in_turns, timing.FEWEST, settings["seconds"], warm_up=1, settling=0)
    return timing.summary([SHORTEST * one / plain for one, plain in zip(times[BY_HAND], times[PLAIN])])


def peaks(settings):
    """Memory in MiB: what a process holds when all is imported, the peak of one that trains, and those of processes that measure, too."""
    spawning = multiprocessing.get_context("spawn")
    results = {}
    for name in (PLAIN, *contestants(settings)):
        with spawning.Pool(1) as pool:
            results[IMPORTED], results[name] = pool.apply(_peak, (settings, name))
    return results


def _peak(settings, name):
    with quiet.importing():
        import keras_bn.callbacks  # noqa: F401

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    imported = peak()
    training = Training(settings)
    training.fit(4, training.instruments(name, every=2))
    return imported, peak()


def table(comparisons):
    """Comparisons in Markdown, a row for each contestant."""
    from tabulate import tabulate

    counted = [each["steps_per_measurement"] for each in comparisons if "steps_per_measurement" in each]

    def row(name):
        cells = {"slowdown": name}
        for each in comparisons:
            interval = f"every {each['interval']}" if each["interval"].isdigit() else each["interval"]
            cells[interval] = program.shown(each["slowdown"].get(name), 2)
        if counted:
            cells["steps a measurement"] = program.shown(counted[0].get(name), 1)
        return cells

    rows = [row(name) for name in dict.fromkeys(name for each in comparisons for name in each["slowdown"])]
    return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True)


def conduct(settings, about, save):
    from recipes.frame import machine

    width = "" if settings["net"] in APPLICATIONS else f" at width {settings['width']:g}"
    net = f"{settings['net']}{width}, batches of {settings['batch_size']}"
    print(f"{net}; {machine.device(about)}; TensorFlow {about['tensorflow']}, Keras {about['keras']}", flush=True)
    results = {"peak_mebibytes": peaks(settings)}
    save(results)
    results["first_seconds"] = firsts(settings)
    save(results)
    training = Training(settings)
    if BY_HAND in settings["instruments"]:
        results["by_hand_steps"] = by_hand(training, settings)
    results["comparisons"] = []
    for interval in settings["intervals"] if _callbacks(settings) else []:
        results["comparisons"].append(slowdowns(training, interval, settings))
        save(results)
    print("", table(results["comparisons"]), sep="\n\n")
    print()
    if "by_hand_steps" in results:
        print(f"Internal covariate shift by hand: {program.shown(results['by_hand_steps'], 1)} train steps a measurement.")
    print("First measurement, seconds more than a later one: " + ", ".join(f"{name} {value:.1f}" for name, value in results["first_seconds"].items()) + ".")
    imported, plain = (results["peak_mebibytes"][name] for name in (IMPORTED, PLAIN))
    peak = {name: (value / plain, (value - imported) / (plain - imported)) for name, value in results["peak_mebibytes"].items() if name != IMPORTED}
    print("Peak memory by that of training (the same without what is there before): ", end="")
    print(", ".join(f"{name} {whole:.2f} ({beyond:.2f})" for name, (whole, beyond) in peak.items()) + ".")


if __name__ == "__main__":
    define_flags()
    app.run(program.main("instruments", conduct))
