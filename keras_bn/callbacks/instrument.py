"""What all the callbacks share: a history, a log, and that a failure of theirs does not end the training."""

import contextlib
import warnings
from collections.abc import Callable

import keras
import tensorflow as tf

from keras_bn import summaries
from keras_bn.callbacks import schedule, train_batch
from keras_bn.heatmap import Colours


class Instrument(keras.callbacks.Callback):
    """A callback that measures.

    Subclasses have `name`, the measure's; `heatmap`, what its picture shows; and implement `_prepare()`, and `_refuse()`, which raises a ValueError for a model
    that cannot be measured. They call `_record` when something is due.

    Args:
        log_dir: TensorBoard's run to write into, or None.
        every: as of `schedule.is_due`.
        strict: whether a measurement that fails ends the training, instead of being recorded and warned of, once.
    """

    name: str
    heatmap: Colours

    def __init__(self, log_dir, every, strict):
        super().__init__()
        schedule.refuse(every)
        self.every = every
        self.history = []
        self.strict = strict
        self._log_dir, self._log, self._warned, self._prepared_for = log_dir, None, False, []
        self._of_this_model = 0  # Records before that place are of others, or of a training before the model was compiled anew.

    def on_train_begin(self, logs=None):
        train_batch.release(self.model)
        if not self.model.built:
            raise ValueError(
                f"{type(self).__name__} received {self.model.name}, which is not built; expected a model that knows its weights: give it a keras.Input, or "
                "call its `build` before `fit`."
            )
        if self.model.optimizer is None:
            raise ValueError(
                f"{type(self).__name__} received {self.model.name}, which has no optimizer; expected one given to `compile`, by which steps are counted."
            )
        model = [self.model, self.model.optimizer, getattr(self.model, "_compile_loss", None), *self.model.trainable_variables]
        if len(model) != len(self._prepared_for) or any(one is not other for one, other in zip(model, self._prepared_for)):
            if self._prepared_for[:2] != model[:2]:
                self._of_this_model = len(self.history)
            self._prepared_for = model[:2]  # What is refused is refused again.
            self._prepare()
            self._refuse()
            self._prepared_for = model
        if self._log_dir is not None:
            self._log = summaries.Log.open(self._log_dir)
            self._log.announce(self.name)

    def on_epoch_begin(self, epoch, logs=None):
        # Anew, as other callbacks may have restored an optimizer, and the last execution of an epoch may have been shorter.
        self._clock = train_batch.Clock(self.model)
        # Only now, as other callbacks may have restored an optimizer when the training began.
        if self._log is not None and train_batch.step_of(self.model) == 0:
            self._log.begin_anew()

    def on_train_end(self, logs=None):
        self._guarded(None, self._draw)
        self._log = None

    def _prepare(self):
        """Forgets what was traced for another model, or for one that was compiled anew or has other trainable weights since."""
        raise NotImplementedError

    def _refuse(self):
        raise NotImplementedError

    def _record(self, step: int, measure: Callable[[], summaries.Measured]) -> None:
        """Takes a measurement, keeps it and logs it. `measure` returns tags and numbers."""

        def record():
            measured = measure()
            scalars = {f"{self.name}/{tag}": float(value) for tag, value in measured.scalars.items()}
            self.history.append({"step": step, **scalars})
            if self._log is not None:
                histograms = {f"{self.name}/{tag}": values for tag, values in measured.histograms.items()}
                self._log.write(step, summaries.Measured(scalars, {f"{self.name}/{tag}": text for tag, text in measured.descriptions.items()}, histograms))
                number = len(self.history)
                if number & (number - 1) == 0:  # After 1, 2, 4, 8, ... measurements, so that pictures cost less and less; TensorBoard keeps ten.
                    self._draw()

        self._guarded(step, record)

    def _draw(self):
        records = [record for record in self.history[self._of_this_model :] if "error" not in record]
        if self._log is not None and records:
            self._log.draw(f"{self.name}/{self.heatmap.quantity}", records, self.heatmap)

    def _guarded(self, step, act):
        try:
            act()
        except Exception as error:
            if self.strict:
                raise
            message = f"{type(error).__name__}: {error}"
            self.history.append({"step": step, "error": message})
            if not self._warned:
                self._warned = True
                warnings.warn(f"{type(self).__name__} failed at step {step}, and the training goes on; strict=True would end it: {message}", stacklevel=2)


@contextlib.contextmanager
def refusing(callback: keras.callbacks.Callback, argument: str, expected: str):
    """Within it, what a first evaluation raises because model and data do not go together becomes a ValueError that says so."""
    try:
        yield
    except (ValueError, TypeError, tf.errors.InvalidArgumentError) as error:
        raise ValueError(f"{type(callback).__name__} cannot evaluate its `{argument}`; expected {expected}: {error}") from error
