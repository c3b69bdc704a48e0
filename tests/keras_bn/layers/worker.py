"""One of two workers of a MultiWorkerMirroredStrategy; run as a program by test_defects_of_keras.py.

Trains an unsynchronized layer on a batch of its own, with momentum 0, and prints the moving mean, which both read at the same time.
"""

import importlib
import json
import sys

import tensorflow as tf


def main(module):
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    with strategy.scope():
        layer = importlib.import_module(module).BatchNormalization(momentum=0.0)
        layer.build((None, 1))
    x = tf.constant([[1.0], [3.0]]) + 10.0 * strategy.cluster_resolver.task_id
    tf.function(lambda: strategy.run(lambda: layer(x, training=True)))()
    print(json.dumps(layer.moving_mean.numpy().tolist()))


if __name__ == "__main__":
    main(*sys.argv[1:])
