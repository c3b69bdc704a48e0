"""What each of two workers does for test_distribute.py, which starts it as a program: computes all cases and writes their numbers."""

import json
import sys

import keras
import numpy as np
import tensorflow as tf

import keras_bn
from keras_bn import callbacks, distribute

SIZES = [(6, 6), (9, 2), (7, 0)]  # Examples of each worker.
MOMENTUM, EPSILON = 0.7, 0.1


def shards(sizes):
    """(inputs, masks) of each worker: means away from 0, unequal variances, the second worker's shifted."""
    rng = np.random.default_rng(3)
    xs = [(rng.normal(size=(size, 5, 4)) * [0.5, 1, 2, 3] + [1, -2, 3, 4] + 3 * index).astype("float32") for index, size in enumerate(sizes)]
    return xs, [rng.random(x.shape[:2]) < 0.7 for x in xs]


def data():
    """Of 48 examples, in batches of 16."""
    rng = np.random.default_rng(4)
    x = (rng.normal(size=(48, 4)) * [0.5, 1, 2, 3] + [1, -2, 3, 4]).astype("float32")
    return x, (x[:, 0] > 1).astype("int32")


def model(synchronized, **compiling):
    keras.utils.set_random_seed(5)
    layers = [keras.layers.Dense(3), keras_bn.BatchNormalization(momentum=MOMENTUM, synchronized=synchronized), keras.layers.Dense(2)]
    net = keras.Sequential([keras.Input((4,)), *layers])
    net.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"], **compiling)
    return net


def fitted(net):
    x, y = data()
    history = net.fit(x, y, batch_size=16, epochs=2, shuffle=False, validation_data=(x, y), verbose=0).history
    return {**history, "evaluated": net.evaluate(x, y, batch_size=16, verbose=0), "predicted": net.predict(x, batch_size=16, verbose=0)} | statistics(
        net.layers[1]
    )


def instruments(folder, index=0):
    """The callbacks, each with a run of its own."""
    x, y = data()
    return {
        name: kind(*arguments, log_dir=f"{folder}/{name}{index}", every=2, strict=True)
        for name, kind, arguments in (
            ("internal_covariate_shift", callbacks.InternalCovariateShift, ()),
            ("loss_landscape", callbacks.LossLandscape, ()),
            ("activation_statistics", callbacks.ActivationStatistics, ((x[:16], y[:16]),)),
            ("variance_shift", callbacks.VarianceShift, (x,)),
        )
    }


def measured(net, measuring):
    """What a callback has kept of a training, as JSON; and the losses of the training."""
    x, y = data()
    loss = net.fit(x, y, batch_size=16, epochs=2, shuffle=False, verbose=0, callbacks=[measuring]).history["loss"]
    return json.dumps([loss, measuring.history])


def statistics(layer):
    return {"mean": layer.moving_mean.numpy(), "variance": layer.moving_variance.numpy()}


def main(folder):
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    index = strategy.cluster_resolver.task_id
    results = {}

    def built(**arguments):
        with strategy.scope():
            layer = keras_bn.BatchNormalization(epsilon=EPSILON, **arguments)
            layer.build((None, 5, 4))
        return layer

    def trained(layer, x, mask=None):
        call = tf.function(lambda *inputs: strategy.run(lambda x, mask=None: layer(x, training=True, mask=mask), args=inputs))
        return call(*(tf.constant(value) for value in (x, mask) if value is not None)).numpy()

    for sizes in SIZES:
        xs, masks = shards(sizes)
        for synchronized in (False, True):
            for mask in (None, masks[index]):
                layer = built(momentum=MOMENTUM, synchronized=synchronized)
                case = f"{sizes}/{synchronized}/{mask is not None}"
                results[f"{case}/y"] = trained(layer, xs[index], mask)
                results |= {f"{case}/{name}": value for name, value in statistics(layer).items()}
    layer = built(momentum=None, synchronized=True)
    for sizes in SIZES:
        trained(layer, shards(sizes)[0][index])
    results |= {f"cumulative/{name}": value for name, value in statistics(layer).items()}

    for synchronized in (False, True):
        with strategy.scope():
            net = model(synchronized)
        if not synchronized:
            try:
                fitted(net)
            except ValueError as error:
                results["error of Keras"] = str(error)
        results |= {f"fit/{synchronized}/{name}": value for name, value in fitted(distribute.enable_fit(distribute.enable_fit(net))).items()}
    # The chief writes the file that is kept; the others take part, as reading statistics that are not synchronized is a collective.
    net.save_weights(f"{folder}/{'model' if index == 0 else 'other'}.weights.h5")
    strategy.run(lambda: tf.distribute.get_replica_context().all_reduce("SUM", tf.ones([])))  # All have written.
    with strategy.scope():
        loaded = model(True)
    loaded.load_weights(f"{folder}/model.weights.h5")
    results |= {f"loaded/{name}": value for name, value in statistics(loaded.layers[1]).items()}
    with strategy.scope():
        several = distribute.enable_fit(model(True, steps_per_execution=2))
    try:
        fitted(several)
    except ValueError as error:
        results["refusal"] = str(error)
    results |= measurements(strategy, folder, index)
    np.savez(f"{folder}/{index}.npz", **results)


def measurements(strategy, folder, index):
    def broken_on_worker_1():
        x, _ = data()
        for start in range(0, 48, 16):
            if index == 1 and start > 0:
                raise RuntimeError("broken data")
            yield x[start : start + 16]

    def made(synchronized=True):
        with strategy.scope():
            return distribute.enable_fit(model(synchronized))

    results = {f"measured/{name}": measured(made(), one) for name, one in instruments(folder, index).items()}
    broken = tf.data.Dataset.from_generator(broken_on_worker_1, output_signature=tf.TensorSpec((None, 4), tf.float32))
    results["measured/broken"] = measured(made(synchronized=False), callbacks.VarianceShift(broken, every=2))
    for case, refused in {
        "function": callbacks.LossLandscape(every=lambda step: True),
        "other": callbacks.LossLandscape(every=2 + index),
        "length": callbacks.VarianceShift(data()[0][: 48 - 32 * index]),
        "first": callbacks.VarianceShift(data()[0][:, : 4 - index], every=2),
        "chief": callbacks.LossLandscape(every=2) if index == 0 else keras.callbacks.Callback(),  # Last, as collectives that do not fit end all of them.
    }.items():
        try:
            made().fit(*data(), batch_size=16, verbose=0, callbacks=[refused])
        except (ValueError, tf.errors.OpError) as error:
            results[f"refused/{case}"] = str(error)
    return results


if __name__ == "__main__":
    main(*sys.argv[1:])
