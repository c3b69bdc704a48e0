"""How a callback gets at the batch and the update of a training step: the one place that hooks `Model.fit`.

Keras shows callbacks neither. But it looks `model.train_function` up before every execution, so that a stand-in can be put there for one of them. It takes the
batches from the iterator, and has the model's own function train on them one after the other, each through an iterator of the same kind; so the function is
not traced anew, and computes what it would have. Executions in which nothing is due are left alone altogether.
"""

from collections.abc import Callable
from typing import NamedTuple

import keras
import tensorflow as tf

from keras_bn.measures import probe


class Update(NamedTuple):
    """One update of the weights by the optimizer.

    step: updates before it; before, after: the weights, like `model.trainable_variables`; state: like `model.non_trainable_variables`, before it.
    learning_rate: of the innermost optimizer, before it; None where it has no one.
    x, y, sample_weight: the batch, whose gradients were the last that went into the update; under a `tf.distribute` strategy that of all replicas.
    """

    step: int
    before: list[tf.Tensor]
    after: list[tf.Tensor]
    state: list[tf.Tensor]
    learning_rate: float | None
    x: tf.Tensor
    y: tf.Tensor
    sample_weight: tf.Tensor | None


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
    """Which updates an execution is going to make, by counting, without reading a variable each time."""

    def __init__(self, model: keras.Model):
        self._model = model
        self._batches = None

    def read(self) -> None:
        """Takes the number of batches so far from the optimizer."""
        self._batches = int(keras.ops.convert_to_numpy(innermost(self._model.optimizer)._iterations))

    def updates(self, later: int = 0) -> int:
        """How many updates there are after so many batches more."""
        if self._batches is None:
            self.read()
        return (self._batches + later) // (innermost(self._model.optimizer).gradient_accumulation_steps or 1)

    def steps(self) -> range:
        """The updates of the next execution, as numbers of updates before."""
        return range(self.updates(), self.updates(self._model.steps_per_execution))

    def executed(self) -> None:
        if self._batches is not None:
            self._batches += self._model.steps_per_execution


def follow(model: keras.Model, is_due: Callable[[int], bool], take: Callable[[int, Callable[[], Update]], None]) -> None:
    """In the next execution, of each update whose step is due `take` is told the step, once it is made, and a function that gives the `Update`."""
    model.train_function = _StandIn(model, is_due, take)


def release(model: keras.Model) -> None:
    """Takes a stand-in away that was not used, since something failed before."""
    while isinstance(model.train_function, _StandIn):
        model.train_function = model.train_function.train_function


class _StandIn:
    """For one execution in the place of a model's train function, which may be another stand-in."""

    def __init__(self, model, is_due, take):
        self.train_function = model.train_function
        self._model, self._is_due, self._take = model, is_due, take

    def __call__(self, iterator):
        self._model.train_function = self.train_function
        if not isinstance(iterator, tf.data.Iterator | tf.distribute.DistributedIterator):
            return self.train_function(iterator)  # It is `train_on_batch`, after a `fit` that something ended.
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
        before = _seen(lambda: (*probe.snapshot(model), learning_rate(model.optimizer)))
        logs = self.train_function(alone)
        if step_of(model) != step:  # Else gradients are being accumulated, or were not finite.
            after = _seen(lambda: probe.values(model.trainable_variables))

            def update():
                weights, state, rate = before()
                x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(_whole(batch, model.distribute_strategy))
                return Update(step, weights, after(), state, rate, x, y, sample_weight)

            self._take(step, update)
        return logs


def _seen(look):
    """A function that returns what `look` returns now, or raises what it raises: without memory for copies the training goes on, and the measure fails."""
    try:
        found = look()
    except Exception as error:
        failure = error

        def fail():
            raise failure

        return fail
    return lambda: found


def _iterator_of(batch, iterator, strategy):
    """An iterator over one batch, of the type that the one it comes from has."""
    spec = iterator.element_spec
    if isinstance(iterator, tf.data.Iterator):
        return iter(_relaxed(tf.data.Dataset.from_tensors(batch), spec))
    parts = _apart(batch, strategy)
    spec = tf.nest.map_structure(lambda each: getattr(each, "_value_specs", (each,))[0], spec)

    def parts_in_turn(_):
        dataset = tf.data.Dataset.from_tensors(parts[0])
        for part in parts[1:]:
            dataset = dataset.concatenate(tf.data.Dataset.from_tensors(part))
        return _relaxed(dataset, spec)

    return iter(strategy.distribute_datasets_from_function(parts_in_turn))


def _relaxed(dataset, spec):
    """The dataset as one of that element spec: a batch's own has its size for certain, for which all would be traced again."""
    options = tf.data.Options()
    options.autotune.enabled = False  # There is nothing to tune, and an iterator that is let go waits for the tuner's thread to wake: half a step long.
    return tf.data.experimental.from_variant(tf.data.experimental.to_variant(dataset), structure=spec).with_options(options)


def _apart(batch, strategy):
    """What each replica gets."""
    local = [strategy.experimental_local_results(value) for value in tf.nest.flatten(batch)]
    return [tf.nest.pack_sequence_as(batch, part) for part in zip(*local)]


def _whole(batch, strategy):
    """What all replicas get, as one batch; None in the place of an optional that is empty."""
    batch = tf.nest.map_structure(lambda value: None if isinstance(value, tf.experimental.Optional) else value, batch)
    parts = _apart(batch, strategy)
    return parts[0] if len(parts) == 1 else tf.nest.map_structure(lambda *values: tf.concat(values, 0), *parts)
