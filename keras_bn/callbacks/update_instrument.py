"""A callback that measures at updates, with the very batch and the weights before and after."""

from keras_bn.callbacks import instrument, schedule, train_batch


class UpdateInstrument(instrument.Instrument):
    """Subclasses implement `_measure(update)`, which returns `summaries.Measured`.

    Args:
        log_dir, strict: as of `Instrument`.
        every: as of `schedule.due`; "epoch": at the first update of each.
    """

    def __init__(self, log_dir, every, strict):
        super().__init__(log_dir, strict)
        self._is_due = schedule.due(every) or (lambda step: self._epoch_begins)
        self._epoch_begins = False

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self._clock = train_batch.Clock(self.model)

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch_begins = True
        # Other callbacks may have restored an optimizer, and the last execution of an epoch may have been shorter.
        self._clock = train_batch.Clock(self.model)

    def on_train_batch_begin(self, batch, logs=None):
        if any(map(self._is_due, self._clock.steps())):
            self._clock.read()  # Updates may have been left out, where gradients were not finite.
            if any(map(self._is_due, self._clock.steps())):
                train_batch.follow(self.model, self._is_due, self._take)

    def on_train_batch_end(self, batch, logs=None):
        self._clock.executed()

    def _take(self, update):
        self._epoch_begins = False
        self._record(update.step, lambda: self._measure(update))

    def _measure(self, update):
        raise NotImplementedError
