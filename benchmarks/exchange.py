"""What do replicas exchange for batch normalisation in a training step, and what would 1,024 of them?

Counts the all-reduces of one layer of 64 channels, and the numbers in them, by tracing a step of two replicas: of Keras's layer and of ours, each
synchronized, and of nine, for which our layer has another form. From that follow messages and bytes of a whole net, by replicas. With
--workers it also times steps of a VGG-11 in that many processes of this machine, which share its cores: that says nothing of other machines.

    python -m benchmarks.exchange                      counts, and the model of ResNet-50; ten seconds
    python -m benchmarks.exchange --workers=1,2,4      and times, three minutes on 2 cores

The model: a ring all-reduce sends 2 (R - 1) / R of its size from each of R replicas; float32; gradients of weights, which are exchanged as well, are not
counted; messages of different layers are not merged, as each layer needs its own before the next can go on.
"""

import json
import pathlib
import statistics
import tempfile
import time

from absl import app, flags, logging

from benchmarks import program
from recipes.frame import launch

CHANNELS = 64
REPLICAS = 2, 8, 64, 1024
BYTES = 4
DEVICES = 9  # More than eight, from which on our layer has another form.
BATCH, STEPS, WARM_UP = 64, 30, 5
KERAS, FEW, MANY = "Keras's layer", "ours, up to 8 replicas", "ours, more replicas"
MODULE = "benchmarks.exchange"


def define_flags():
    """Called where this is the program only."""
    flags.DEFINE_list("workers", [], "Numbers of processes in which steps are timed.")
    flags.register_validator("workers", lambda values: all(value.isdigit() and int(value) > 0 for value in values), message="expected positive integers.")
    flags.DEFINE_string("times", None, "Of a worker: the file that worker 0 writes.")
    flags.DEFINE_bool("synchronized", True, "Of a worker: whether its layers are.")
    flags.adopt_module_key_flags(program)


def counted():
    """Of each form: the numbers in each all-reduce of one replica, forward and backward."""
    import keras
    import tensorflow as tf

    import keras_bn

    devices = [f"CPU:{number}" for number in range(DEVICES)]
    few, many = (tf.distribute.MirroredStrategy(devices[:number], tf.distribute.ReductionToOneDevice()) for number in (2, DEVICES))
    kinds = {KERAS: (few, keras.layers.BatchNormalization), FEW: (few, keras_bn.BatchNormalization), MANY: (many, keras_bn.BatchNormalization)}
    return {name: _counted(*kind) for name, kind in kinds.items()}


def _counted(strategy, kind):
    import tensorflow as tf

    with strategy.scope():
        layer = kind(synchronized=True)
        layer.build((None, 8, 8, CHANNELS))
    sizes, phase = {"forward": [], "backward": []}, "forward"
    all_reduce = tf.distribute.ReplicaContext.all_reduce

    def counting(context, operation, value, *rest):
        if context.replica_id_in_sync_group is not None and _is_first(context):
            sizes[phase] += [one.shape.num_elements() for one in tf.nest.flatten(value)]
        return all_reduce(context, operation, value, *rest)

    def step(x):
        nonlocal phase
        phase = "forward"
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(layer(x, training=True) ** 3)
        phase = "backward"
        return tape.gradient(loss, [x, *(variable.value for variable in layer.trainable_variables)])

    tf.distribute.ReplicaContext.all_reduce = counting
    try:
        x = strategy.experimental_distribute_values_from_function(lambda _: tf.random.normal((4, 8, 8, CHANNELS)))
        tf.function(lambda x: strategy.run(step, args=(x,))).get_concrete_function(x)
    finally:
        tf.distribute.ReplicaContext.all_reduce = all_reduce
    return sizes


def _is_first(context):
    import tensorflow as tf

    return tf.get_static_value(context.replica_id_in_sync_group) in (0, None)


def numbers_a_channel(sizes, replicas, grows):
    """All that one replica puts into all-reduces of one layer, forward and backward, a channel: counted of two replicas; a table grows with their number."""
    counted = sum(sizes["forward"] + sizes["backward"]) / CHANNELS
    return counted * replicas / 2 if grows else counted


def model_of_a_net(counts, layers):
    """Rows: messages and bytes of one replica a step, by the number of replicas.

    Args:
        counts: as of `counted`.
        layers: channels of each batch normalisation of the net.
    """
    rows = []
    for replicas in REPLICAS:
        ours = FEW if replicas <= 8 else MANY
        for name in (KERAS, ours):
            sizes = counts[name]
            size = BYTES * sum(layers) * numbers_a_channel(sizes, replicas, name == FEW)
            rows.append(
                {
                    "replicas": replicas,
                    "layer": name,
                    "messages": len(layers) * len(sizes["forward"] + sizes["backward"]),
                    "MB": size * 2 * (replicas - 1) / replicas / 1e6,
                }
            )
    return rows


def channels_of_resnet50():
    import keras

    net = keras.applications.ResNet50(weights=None)
    return [int(layer.gamma.shape[0]) for layer in net.layers if isinstance(layer, keras.layers.BatchNormalization)]


def train(path, synchronized):
    """In a worker: times steps of a VGG-11 of a quarter of its width on random images; worker 0 writes the seconds."""
    import keras
    import numpy as np
    import tensorflow as tf

    import keras_bn
    from recipes.nets import vgg

    launch.end_with_parent()
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    with strategy.scope():
        layer = lambda name: keras_bn.BatchNormalization(synchronized=synchronized, name=name)  # noqa: E731
        options = dict(width=0.25, kernel_initializer="he_normal", weight_decay=0.0, dropout=0.0, normalisation=layer)
        net = keras_bn.distribute.enable_fit(vgg.vgg(11, (32, 32, 3), 10, **options))
        net.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    seconds = []

    class Clock(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            self.began = time.perf_counter()

        def on_train_batch_end(self, batch, logs=None):
            seconds.append(time.perf_counter() - self.began)

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(BATCH * (WARM_UP + STEPS), 32, 32, 3)).astype("float32"), rng.integers(0, 10, BATCH * (WARM_UP + STEPS))
    net.fit(x, y, batch_size=BATCH, verbose=0, callbacks=[Clock()])
    if keras_bn.distribute.is_chief(strategy):
        pathlib.Path(path).write_text(json.dumps(seconds[WARM_UP:]))


def timed(workers, synchronized):
    """Seconds of each step."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "seconds.json"
        launch.run(workers, MODULE, f"--times={path}", f"--synchronized={str(synchronized).lower()}")
        return json.loads(path.read_text())


def conduct(settings, about, save):
    import tensorflow as tf
    from tabulate import tabulate

    def show(rows):
        print("\n" + tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True))

    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * DEVICES)
    counts = counted()
    show([{"layer": name, **{f"{phase}: numbers in each all-reduce": sizes[phase] for phase in sizes}} for name, sizes in counts.items()])
    layers = channels_of_resnet50()
    model = model_of_a_net(counts, layers)
    print(f"\nResNet-50, {len(layers)} layers of {sum(layers):,} channels in all, from each replica in each step:")
    show([{**row, "MB": f"{row['MB']:.2f}"} for row in model])
    save({"counts": counts, "model": model})
    times = []
    for workers in map(int, settings["workers"]):
        for synchronized in (False, True):
            seconds = timed(workers, synchronized)
            times.append({"workers": workers, "synchronized": synchronized, "seconds": seconds})
            save({"counts": counts, "model": model, "times": times})
    if times:
        print(f"\nA step of VGG-11, a quarter of its width, {BATCH} images of 32x32 in all, ms, median (quartiles):")
        show([{"workers": row["workers"], "synchronized": row["synchronized"], "ms": _quartiles(row["seconds"])} for row in times])


def _quartiles(seconds):
    lower, median, upper = statistics.quantiles([1000 * one for one in seconds], n=4)
    return f"{median:.0f} ({lower:.0f} to {upper:.0f})"


def main(arguments):
    logging.set_verbosity(logging.ERROR)  # TensorFlow tells of each all-reduce.
    if flags.FLAGS.times:
        train(flags.FLAGS.times, flags.FLAGS.synchronized)
    else:
        program.main("exchange", conduct)(arguments)


if __name__ == "__main__":
    define_flags()
    app.run(main)
