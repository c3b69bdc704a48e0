"""`Recalibrate`: `surgery.recalibrate` before each validation and at the end of a training."""

import numbers
from collections.abc import Iterator

import keras

from keras_bn.callbacks import schedule
from keras_bn.inspection import batches
from keras_bn.surgery.recalibrate import SEQUENTIAL, recalibrate, refuse_method


class Recalibrate(keras.callbacks.Callback):
    """Gives batch normalisation layers population statistics before each validation, or at the end of the epoch where there is none, and when `fit` ends.

    What the training computes does not depend on them, but for layers that are frozen, which keep theirs, and for renormalisation. Give it behind
    `keras.callbacks.SwapEMAWeights`: then validation, and the model at the end, have the statistics of the averaged weights.

    Args:
        data, steps, method, dropout, batch_size: as of `surgery.recalibrate`. The data are read each time, and share no random state with those of `fit`.
        every: "epoch", or a number of epochs.

    Attributes:
        changes: the last `Recalibration`; None before.

    Raises:
        ValueError: at construction, for arguments that cannot be right; in `fit`, as `surgery.recalibrate`.

    Example:
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.BatchNormalization(name="normalised"), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> x = np.array([[1.0], [5.0]], "float32")
        >>> _ = model.fit(x, x, verbose=0, callbacks=[Recalibrate(x)])
        >>> model.get_layer("normalised").moving_mean.numpy().tolist()
        [3.0]
    """

    def __init__(
        self,
        data,
        every: int | str = schedule.EPOCH,
        steps: int | None = None,
        method: str = SEQUENTIAL,
        dropout: bool = False,
        batch_size: int = 32,
    ):
        super().__init__()
        is_number = isinstance(every, numbers.Integral) and not isinstance(every, bool) and every > 0
        if every != schedule.EPOCH and not is_number:
            raise ValueError(f'`every` of Recalibrate is {every!r}; expected "epoch" or a positive number of epochs: leave it out for each.')
        refuse_method(method)
        if isinstance(data, Iterator):
            raise ValueError(f"`data` of Recalibrate is a {type(data).__name__}, used up once it is read; expected what can be read again: a dataset.")
        batches.refuse(data, steps)
        self.data, self.every, self.changes = data, 1 if every == schedule.EPOCH else int(every), None
        self._options = {"steps": steps, "method": method, "dropout": dropout, "batch_size": batch_size}
        self._epoch, self._is_done = None, False  # The number of the epoch that is going on.

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch, self._is_done = epoch, False

    def on_test_begin(self, logs=None):
        if self._epoch is not None:  # Else this is no validation of `fit`.
            self._recalibrate_if_due()

    def on_epoch_end(self, epoch, logs=None):
        if not self._is_done:
            self._recalibrate_if_due()
        self._epoch = None

    def on_train_end(self, logs=None):
        self._epoch = None
        self._recalibrate()

    def _recalibrate_if_due(self):
        if (self._epoch + 1) % self.every == 0:
            self._recalibrate()

    def _recalibrate(self):
        self.changes = recalibrate(self.model, self.data, verbose=False, **self._options)
        self._is_done = True
