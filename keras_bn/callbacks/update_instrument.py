"""A callback that measures at updates, with the very batch and the weights before and after."""

import contextlib
from collections.abc import Callable

import keras
import tensorflow as tf

from keras_bn.callbacks import clock, instrument, messages, train_batch
from keras_bn.inspection import evaluation
from keras_bn.inspection.evaluation import Batch
from keras_bn.inspection.objective import Objective, refuse_loss
from keras_bn.inspection.prepared import prepared
from keras_bn.inspection.update import Update


class UpdateInstrument(instrument.Instrument):
    """Subclasses implement `_measure(update)`, which returns `summaries.Measured`.

    Args:
        log_dir, strict, net, optimizer, report: as of `Instrument`.
        every: as of `schedule.Schedule`; "epoch": at the first update of each.
        loss: function of (net, x, y, sample_weight) that returns a scalar tensor, or None for the compiled loss.
    """

    def __init__(self, log_dir, every, strict, loss, net, optimizer, report):
        super().__init__(log_dir, every, strict, net, optimizer, report)
        refuse_loss(loss)
        self.loss, self._loss_fits = loss, None

    def on_train_begin(self, logs=None):
        self._refuse_scope()
        super().on_train_begin(logs)

    def on_train_batch_begin(self, batch, logs=None):
        self._is_seen = False
        self._expected = self._is_one_due(self.model.steps_per_execution)
        if self._expected and self.model.train_function is not None:
            train_batch.follow(self.model, self._watching)
        super().on_train_batch_begin(batch, logs)  # Last, so that a net is built before its weights are copied.

    def on_train_batch_end(self, batch, logs=None):
        train_batch.release(self.model)
        if self._is_seen:
            return
        if self._expected:
            self._record(self._clock.updates(), self._cannot_see)
        self._clock.passed(self.model.steps_per_execution)

    def _begin_by_hand(self, model, x):
        self._refuse_scope()
        super()._begin_by_hand(model, x)

    def _refuse_scope(self):
        if tf.distribute.in_cross_replica_context():
            raise ValueError(
                f"{type(self).__name__} is used by a training within a strategy's scope, where Keras divides losses by the number of replicas; expected one "
                "outside of it: only build and compile the model in the scope."
            )

    def _cannot_see(self):
        raise ValueError(
            "the batch of this step cannot be seen, as it is not `fit` that trains; expected the step within a context of this callback: "
            "`with callback.watching(model, x, y):`."
        )

    def _refuse(self):
        if self.loss is not None:
            return
        trained = self._trained()
        train_step = type(trained).train_step
        if self._fitted is not None and getattr(train_step, "__func__", train_step) is not keras.Model.train_step:
            raise ValueError(
                f"{type(self).__name__} received a model whose class {type(trained).__name__} has a train_step of its own; expected to be told what that "
                "minimises: give `loss`, a function of (model, x, y, sample_weight), or put it into compute_loss."
            )
        if self.net is not trained or not self.net.compiled:
            raise ValueError(
                f"{type(self).__name__} received {self.net.name}, which is not compiled with a loss of its own; expected to be told what is minimised: give "
                "`loss`, a function of (model, x, y, sample_weight)."
            )

    def _constant_learning_rate(self):
        """Of the optimizer that `model.optimizer` is; None if it has none of its own that can be set."""
        optimizer = self._clock.optimizer
        if self._clock.updates_nothing or self._optimizer_given is not None or isinstance(clock.innermost(optimizer).get_config().get("learning_rate"), dict):
            return None
        return clock.learning_rate(optimizer)

    def _scale(self):
        """What the optimizer multiplies the loss by, so that gradients stay within the range of half precision."""
        return 1.0 if self._clock.updates_nothing else self._clock.optimizer.scale_loss(tf.constant(1.0))

    def _is_one_due(self, batches):
        self._follow_optimizer()
        if not any(self._is_due(step, self._epoch_begins) for step in self._clock.steps(batches)):
            return False
        self._clock.read()  # Updates may have been left out since, where gradients were not finite.
        return any(self._is_due(step, self._epoch_begins) for step in self._clock.steps(batches))

    def _watching(self, batch: Callable[[], Batch]):
        """A context that holds the training on one batch, which `batch()` returns."""
        self._is_seen = True
        return self._watched(batch) if self._is_one_due(1) else self._clock

    @contextlib.contextmanager
    def _watched(self, batch):
        step = self._clock.updates()
        self._refuse_loss(batch)
        before = _result_or_error(lambda: self._before(batch()))
        yield
        self._clock.passed_and_read()
        if self._clock.updates() == step:
            return  # Gradients are being accumulated, or were not finite.
        after = _result_or_error(lambda: evaluation.values(self.net.trainable_variables))

        def update():
            snapshot, rate, batch = before()
            return Update(snapshot, after(), batch, step, None if self._clock.updates_nothing else rate)

        self._epoch_begins = False
        self._record(step, lambda: self._measure(update()))

    def _refuse_loss(self, batch):
        """Raises a ValueError before the first step that is measured, if the loss of one's own cannot be evaluated on its batch."""
        if self.loss is None or self._loss_fits is self.net:
            return
        with instrument.refusing(self, "loss", "a function of (model, x, y, sample_weight) that returns a scalar tensor"):
            objective, batch = prepared(Objective, self.net, self.loss), Batch(*evaluation.tensors(tuple(batch())))
            objective.snapshot(batch)
        if not objective.uses_batch_statistics:
            messages.warn(
                f"{type(self).__name__}: `loss` calls {self.net.name} in inference mode, as none of its moving statistics follows; if your training step calls "
                "it in training mode, add training=True."
            )
        self._loss_fits = self.net

    def _before(self, batch):
        if self._fitted is not None:
            train_batch.refuse_other_trainables(self._fitted, self.net)
        batch = Batch(*evaluation.tensors(tuple(batch)))
        return prepared(Objective, self.net, self.loss).snapshot(batch), clock.learning_rate(self._clock.optimizer), batch

    def _measure(self, update):
        raise NotImplementedError


def _result_or_error(copy):
    """A function that returns what `copy` returns now, or raises what it raises: without memory for copies the training goes on, and the measure fails."""
    try:
        result = copy()
    except Exception as error:
        failure = error

        def fail():
            raise failure

        return fail
    return lambda: result
