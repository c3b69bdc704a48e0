"""How a callback gets the batch and the update of a training step: the one place that hooks `Model.fit`.

Keras gives callbacks neither. But it looks up `model.train_function` before every execution, so that a stand-in can take its place for one of them. The
stand-in takes the batches from the iterator, and calls the model's own function on one after the other, each through an iterator of the same type; so the
function is not traced anew, and computes the same. Executions in which nothing is due have no stand-in.
"""

import weakref
from collections.abc import Callable

import keras
import tensorflow as tf

from keras_bn import keras_internals
from keras_bn.inspection import building, evaluation
from keras_bn.inspection.evaluation import Batch
from keras_bn.inspection.update import Update


def innermost(optimizer: keras.Optimizer) -> keras.Optimizer:
    """The optimizer that updates, within those that are wrapped around it."""
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    return optimizer


def learning_rate(optimizer: keras.Optimizer) -> float | None:
    """Of the innermost; None if that is made of several."""
    rate = getattr(innermost(optimizer), "learning_rate", None)
    return None if rate is None else float(keras.ops.convert_to_numpy(rate))


def step_of(model: keras.Model) -> int:
    """How many updates the optimizer has made."""
    return int(keras.ops.convert_to_numpy(innermost(model.optimizer).iterations))


class Clock:
    """Counts which updates the next execution makes, without reading a variable each time."""

    def __init__(self, model: keras.Model):
        self._model = model
        self._batches, self._optimizer = None, None  # Unknown until an optimizer is read.

    def read(self) -> None:
        """Takes the number of batches so far from the optimizer."""
        self._optimizer = self._model.optimizer
        self._batches = keras_internals.batches_of(innermost(self._optimizer))

    def updates(self, later: int = 0) -> int:
        """How many updates there are after so many more batches."""
        if self._optimizer is not self._model.optimizer:  # None was read, or the model was compiled with another one.
            self.read()
        return (self._batches + later) // (innermost(self._model.optimizer).gradient_accumulation_steps or 1)

    def steps(self) -> range:
        """The updates of the next execution, as numbers of updates before."""
        return range(self.updates(), self.updates(self._model.steps_per_execution))

    def executed(self) -> None:
        if self._batches is not None:
            self._batches += self._model.steps_per_execution


def follow(model: keras.Model, is_due: Callable[[int], bool], take: Callable[[int, Callable[[], Update]], None]) -> None:
    """In the next execution, calls `take(step, update)` after each update that is due; `update()` returns the `Update`."""
    model.train_function = _Following(model, is_due, take)


def build_first(model: keras.Model, begin: Callable[[], None]) -> None:
    """Before the next execution, builds the model for the batches that it is going to receive, and calls `begin()`."""
    model.train_function = _Building(model, begin)


def release(model: keras.Model) -> None:
    """Takes away stand-ins that were not used, since something failed before."""
    model.train_function = _own(model.train_function)


_first_trainables = weakref.WeakKeyDictionary()  # Train function -> ids of the variables that were trainable before the first execution that was followed.


def _refuse_other_trainables(model, function, trainables):
    """A train function is traced at its first execution, and goes on training the variables that were trainable then."""
    if _first_trainables[function] != trainables:
        raise ValueError(
            f"{model.name} has other trainable weights than when its training step was made, which goes on training those; expected a model that is compiled "
            "after `trainable` was changed: compile it anew."
        )


def _own(function):
    """The model's train function, within the stand-ins around it."""
    while isinstance(function, _StandIn):
        function = function.train_function
    return function


class _StandIn:
    """Takes the place of a model's train function, which may be another stand-in, for one execution."""

    def __init__(self, model):
        self._model, self.train_function = model, model.train_function

    def __call__(self, iterator):
        self._model.train_function = self.train_function
        if not isinstance(iterator, tf.data.Iterator | tf.distribute.DistributedIterator):
            return self.train_function(iterator)  # This is `train_on_batch`, after a `fit` that something ended.
        return self._execute(iterator)

    def _execute(self, iterator):
        raise NotImplementedError


class _Building(_StandIn):
    def __init__(self, model, begin):
        super().__init__(model)
        self._begin = begin

    def _execute(self, iterator):
        building.build(self._model, keras.utils.unpack_x_y_sample_weight(iterator.element_spec)[0])
        self._begin()
        return self.train_function(iterator)


class _Following(_StandIn):
    def __init__(self, model, is_due, take):
        super().__init__(model)
        self._is_due, self._take = is_due, take

    def _execute(self, iterator):
        logs = None
        for _ in range(self._model.steps_per_execution):
            try:
                batch = next(iterator)
            except (StopIteration, tf.errors.OutOfRangeError):
                if logs is None:
                    raise
                break
            logs = self._trained_on(batch, iterator)
        return logs

    def _trained_on(self, batch, iterator):
        model, step = self._model, step_of(self._model)
        alone = _iterator_of(batch, iterator, model.distribute_strategy)
        if not self._is_due(step):
            return self.train_function(alone)
        trainables = [id(variable) for variable in model.trainable_variables]
        _first_trainables.setdefault(_own(self.train_function), trainables)
        before = _result_or_error(lambda: (evaluation.snapshot(model), learning_rate(model.optimizer)))
        logs = self.train_function(alone)
        if step_of(model) != step:  # Else gradients are being accumulated, or were not finite.
            after = _result_or_error(lambda: evaluation.values(model.trainable_variables))

            def update():
                _refuse_other_trainables(model, _own(self.train_function), trainables)
                snapshot, rate = before()
                whole = Batch(*keras.utils.unpack_x_y_sample_weight(_whole(batch, model.distribute_strategy)))
                return Update(snapshot, after(), whole, step, rate)

            self._take(step, update)
        return logs


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


def _iterator_of(batch, iterator, strategy):
    """An iterator over one batch, of the same type as the iterator that it comes from."""
    spec = iterator.element_spec
    if isinstance(iterator, tf.data.Iterator):
        return iter(_relaxed(tf.data.Dataset.from_tensors(batch), spec))
    parts = _apart(batch, strategy)
    spec = tf.nest.map_structure(keras_internals.spec_of_a_replica, spec)

    def parts_in_turn(_):
        dataset = tf.data.Dataset.from_tensors(parts[0])
        for part in parts[1:]:
            dataset = dataset.concatenate(tf.data.Dataset.from_tensors(part))
        return _relaxed(dataset, spec)

    return iter(strategy.distribute_datasets_from_function(parts_in_turn))


def _relaxed(dataset, spec):
    """The dataset with that element spec. The spec of one batch has its exact size, for which the train function would be traced again."""
    options = tf.data.Options()
    options.autotune.enabled = False  # There is nothing to tune, and a deleted iterator waits for the tuner's thread to wake: half a step.
    return tf.data.experimental.from_variant(tf.data.experimental.to_variant(dataset), structure=spec).with_options(options)


def _apart(batch, strategy):
    """What each replica receives."""
    local = [strategy.experimental_local_results(value) for value in tf.nest.flatten(batch)]
    return [tf.nest.pack_sequence_as(batch, part) for part in zip(*local)]


def _whole(batch, strategy):
    """What all replicas receive, as one batch; None instead of an empty optional."""
    batch = tf.nest.map_structure(lambda value: None if isinstance(value, tf.experimental.Optional) else value, batch)
    parts = _apart(batch, strategy)
    return parts[0] if len(parts) == 1 else tf.nest.map_structure(lambda *values: tf.concat(values, 0), *parts)
