"""A callback that measures at updates, with the very batch and the weights before and after."""

import keras
import tensorflow as tf

from keras_bn.callbacks import instrument, schedule, train_batch


class UpdateInstrument(instrument.Instrument):
    """Subclasses implement `_measure(update)`, which returns `summaries.Measured`.

    Args:
        log_dir, strict: as of `Instrument`.
        every: as of `schedule.is_due`; "epoch": at the first update of each.
    """

    def __init__(self, log_dir, every, strict):
        super().__init__(log_dir, every, strict)
        self._epoch_begins = False

    def on_train_begin(self, logs=None):
        if tf.distribute.in_cross_replica_context():
            raise ValueError(
                f"{type(self).__name__} is used by a `fit` within a strategy's scope, where Keras divides losses by the number of replicas; expected one "
                "outside of it: only build and compile the model in the scope."
            )
        super().on_train_begin(logs)

    def on_epoch_begin(self, epoch, logs=None):
        super().on_epoch_begin(epoch, logs)
        self._epoch_begins = True

    def on_train_batch_begin(self, batch, logs=None):
        self._followed = False
        if any(map(self._is_due, self._clock.steps())):
            self._clock.read()  # Updates may have been left out since, where gradients were not finite.
            self._followed = any(map(self._is_due, self._clock.steps()))
            if self._followed:
                train_batch.follow(self.model, self._is_due, self._take)
        super().on_train_batch_begin(batch, logs)  # Last, so that a model is built before its weights are copied.

    def on_train_batch_end(self, batch, logs=None):
        if self._followed:
            self._clock.read()  # What is due may have been left out for the same reason, and is due again.
        else:
            self._clock.executed()

    def _refuse(self):
        train_step = type(self.model).train_step
        if getattr(train_step, "__func__", train_step) is not keras.Model.train_step:
            raise ValueError(
                f"{type(self).__name__} received a model whose class {type(self.model).__name__} has a train_step of its own; expected one that trains by its "
                "compiled loss: what it minimises cannot be known otherwise, so put it into compute_loss, or leave the callback out."
            )

    def _scale(self):
        """What the optimizer multiplies the loss by, so that gradients stay within the range of half precision."""
        return self.model.optimizer.scale_loss(tf.constant(1.0))

    def _is_due(self, step):
        return schedule.is_due(self.every, step, self._epoch_begins)

    def _take(self, step, update):
        self._epoch_begins = False
        self._record(step, lambda: self._measure(update()))

    def _measure(self, update):
        raise NotImplementedError
