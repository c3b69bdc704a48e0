"""What is measured of a net while it trains by a function of it."""

import keras

from keras_bn import distribute, summaries
from recipes.frame import files


class Probe(keras.callbacks.Callback):
    """Measures a net before every so many optimizer steps.

    Args:
        measure: function of the net that returns a dict, quantity to number. It leaves the net as it was.
        every: optimizer steps.
        log_dir: the TensorBoard run to write into.

    Attributes:
        history: one dict a measurement: "step", and a number a quantity; None where it is not finite.
    """

    def __init__(self, measure, every, log_dir):
        super().__init__()
        self.measure, self.every, self.log_dir, self.history = measure, every, log_dir, []

    def on_train_begin(self, logs=None):
        self.step = int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))
        self.log = summaries.Log.open(self.log_dir) if distribute.is_chief(self.model.distribute_strategy) else None

    def on_train_batch_begin(self, batch, logs=None):
        if self.step % self.every == 0:
            values = {quantity: float(value) for quantity, value in self.measure(self.model).items()}
            self.history.append({"step": self.step, **files.finite(values)})
            if self.log is not None:
                self.log.write(self.step, summaries.Measured(values, {}, {}), self)

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1

    def on_train_end(self, logs=None):
        self.log = None
