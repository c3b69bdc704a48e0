"""What each of two workers does for test_distribute.py: trains with Keras's BackupAndRestore.

Worker 1 is killed in the second epoch, and the chief in the third, each once.
"""

import json
import os
import pathlib
import signal
import sys

import distributed
import keras
import tensorflow as tf

from keras_bn import distribute


class KilledOnce(keras.callbacks.Callback):
    def __init__(self, path, epoch):
        super().__init__()
        self.path, self.last_epoch = path, epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.epoch == self.last_epoch and batch == 1 and not self.path.exists():
            self.path.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch


def main(folder):
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    index = strategy.cluster_resolver.task_id
    with strategy.scope():
        model = distribute.enable_fit(distributed.model(False))
    x, y = distributed.data()
    killed = KilledOnce(pathlib.Path(folder) / f"killed{index}", epoch=2 - index)
    backup = keras.callbacks.BackupAndRestore(f"{folder}/backup{index}")  # Of each worker's own, as all of them write.
    history = model.fit(x, y, batch_size=16, epochs=3, shuffle=False, verbose=0, callbacks=[backup, killed]).history["loss"]
    print(json.dumps([history, distributed.statistics(model.layers[1])["variance"].tolist()]))


if __name__ == "__main__":
    main(*sys.argv[1:])
