"""What all the callbacks share: a history, a log, and that a failure of theirs does not end the training."""

import contextlib
import math
import types
import warnings
from collections.abc import Callable, Iterable

import keras
import tensorflow as tf

from keras_bn import summaries
from keras_bn.callbacks import schedule, train_batch
from keras_bn.inspection import building
from keras_bn.inspection.prepared import Signature
from keras_bn.measures import quantities


class Instrument(keras.callbacks.Callback):
    """A callback that measures.

    Subclasses have `name` and `quantities`, the measure's name and table, and implement `_refuse()`, which raises a ValueError for a model that cannot be
    measured, and `_prepare()`, which evaluates once what can be evaluated before the training. They call `_record` when something is due.

    Args:
        log_dir: TensorBoard's run to write into, or None.
        every: as of `schedule.is_due`.
        strict: whether a measurement that fails ends the training, instead of being recorded and warned of, once.
    """

    name: str
    quantities: tuple[quantities.Quantity, ...]

    def __init__(self, log_dir, every, strict):
        super().__init__()
        schedule.refuse(every)
        self.every = every
        self.history = []
        self.strict = strict
        self._log_dir, self._log, self._warned = log_dir, None, set()
        self._prepared_for = None  # The model's `Signature` when it was last found to be measurable.
        self._optimizer, self._of_this_training = None, 0  # Records before that index are of other optimizers, whose steps were counted apart.

    def on_train_begin(self, logs=None):
        train_batch.release(self.model)
        if self.model.optimizer is None:
            raise ValueError(
                f"{type(self).__name__} received {self.model.name}, which has no optimizer; expected one given to `compile`, by which steps are counted."
            )
        self._waits_for_first_batch = not building.is_built(self.model)
        if not self._waits_for_first_batch:
            self._begin()
        if self._log_dir is not None:
            self._log = summaries.Log.open(self._log_dir)
            self._log.announce(self.name, self.quantities)

    def on_epoch_begin(self, epoch, logs=None):
        # Anew, as other callbacks may have restored an optimizer, and the last execution of an epoch may have been shorter.
        self._clock = train_batch.Clock(self.model)
        self._notice_optimizer()
        # Only now, as other callbacks may have restored an optimizer when the training began.
        if self._log is not None and train_batch.step_of(self.model) == 0:
            self._log.begin_anew()

    def on_train_batch_begin(self, batch, logs=None):
        if self._waits_for_first_batch:
            self._waits_for_first_batch = False
            train_batch.build_first(self.model, self._begin)

    def on_train_end(self, logs=None):
        self._draw()
        self._log = None

    def _begin(self):
        """Refuses or prepares, before the first step of a training."""
        if self._prepared_for is None or not self._prepared_for.is_of(self.model):
            self._prepared_for = None  # If preparation fails, the next `fit` checks again.
            self._refuse()
            self._prepare()
            self._prepared_for = Signature(self.model)

    def _refuse(self):
        raise NotImplementedError

    def _prepare(self):
        """Evaluates once, where data are given, whether they go together with the model; the traces serve all measurements."""

    def _notice_optimizer(self) -> bool:
        """Whether the steps begin anew, as those of another optimizer."""
        anew, self._optimizer = self.model.optimizer is not self._optimizer, self.model.optimizer
        if anew:
            self._of_this_training = len(self.history)
        return anew

    def _record(self, step: int, measure: Callable[[], summaries.Measured]) -> None:
        """Takes a measurement, keeps it and logs it. `measure` returns tags and numbers."""
        with self._surviving("measure", step) as attempt:
            if self._notice_optimizer() and self._log is not None:  # Compiled anew within an epoch.
                self._log.begin_anew()
            measured = measure()
            scalars = {f"{self.name}/{tag}": float(value) for tag, value in measured.scalars.items()}
            # JSON has no NaN and no infinity; TensorBoard has.
            self.history.append({"step": step, **{tag: value if math.isfinite(value) else None for tag, value in scalars.items()}})
        if attempt.error is not None:
            self.history.append({"step": step, "error": attempt.error})
        elif self._log is not None:
            with self._surviving("write", step):
                histograms = {f"{self.name}/{tag}": values for tag, values in measured.histograms.items()}
                self._log.write(step, summaries.Measured(scalars, {f"{self.name}/{tag}": text for tag, text in measured.descriptions.items()}, histograms))
            number = len(self.history)
            if number & (number - 1) == 0:  # After 1, 2, 4, 8, ... measurements, so that pictures cost less and less; TensorBoard keeps ten.
                self._draw()

    def _draw(self):
        records = [record for record in self.history[self._of_this_training :] if "error" not in record]
        if self._log is not None and records:
            quantity = quantities.pictured(self.quantities)
            with self._surviving("draw", records[-1]["step"]):
                self._log.draw(f"{self.name}/{quantity.name}", records, quantity.name, **quantity.colours._asdict())

    @contextlib.contextmanager
    def _surviving(self, purpose, step):
        """Inside it, an error does not end the training, unless `strict`: it becomes the `error` of what this yields, and is warned of, once a purpose."""
        attempt = types.SimpleNamespace(error=None)
        try:
            yield attempt
        except Exception as error:
            if self.strict:
                raise
            attempt.error = f"{type(error).__name__}: {error}"
            if purpose not in self._warned:
                self._warned.add(purpose)
                warnings.warn(
                    f"{type(self).__name__} failed to {purpose} at step {step}, and the training goes on; strict=True would end it: {attempt.error}",
                    stacklevel=4,
                )


def by_layer(rows: Iterable[tuple[str, dict[str, float | None]]], layer_names: dict[str, str]) -> summaries.Measured:
    """Scalars with tags such as ratio/02_batch_normalization.

    Args:
        rows: for each layer its name in tags, and its quantities; those that are None are left out.
        layer_names: dict, name in tags to the layer's own name, which becomes the description.
    """
    scalars = {(quantity, layer): value for layer, values in rows for quantity, value in values.items() if value is not None}
    descriptions = {"/".join(tag): layer_names[tag[1]] for tag in scalars}
    return summaries.Measured({"/".join(tag): value for tag, value in scalars.items()}, descriptions, {})


@contextlib.contextmanager
def refusing(callback: keras.callbacks.Callback, argument: str, expected: str):
    """Inside it, what a first evaluation raises because model and data do not go together becomes a ValueError that says so."""
    try:
        yield
    except (ValueError, TypeError, tf.errors.InvalidArgumentError) as error:
        raise ValueError(f"{type(callback).__name__} cannot evaluate its `{argument}`; expected {expected}: {error}") from error
