"""How a callback gets the batch of a training step: the one place that hooks `Model.fit`.

Keras gives callbacks neither the batch nor the weights in between. But it looks up `model.train_function` before every execution, so that a stand-in can take
its place for one of them. The stand-in takes the batches from the iterator, and calls the model's own function on one after the other, each through an iterator
of the same type; so the function is not traced anew, and computes the same. Executions in which nothing is due have no stand-in.
"""

import contextlib
import weakref
from collections.abc import Callable

import keras
import tensorflow as tf

from keras_bn import keras_internals
from keras_bn.inspection import building, workers
from keras_bn.inspection.evaluation import Batch


def follow(model: keras.Model, watching: Callable[[Callable[[], Batch]], contextlib.AbstractContextManager]) -> None:
    """In the next execution, trains on each batch within `watching(batch)`, where `batch()` returns the `Batch`, that of all replicas."""
    model.train_function = _Following(model, watching)


def can_follow(model: keras.Model) -> bool:
    """Whether the next execution trains by a function that Keras has made; others may take several batches at once."""
    return model.train_function is not None and type(model).make_train_function is keras.Model.make_train_function


def own_train_function(model: keras.Model) -> Callable | None:
    """The model's train function, within the stand-ins around it."""
    function = model.train_function
    while isinstance(function, _StandIn):
        function = function.train_function
    return function


def build_first(model: keras.Model, net: keras.Model, begin: Callable[[], None]) -> None:
    """Before the next execution, builds the net for the batches that the model is going to receive, and calls `begin()`."""
    model.train_function = _Building(model, net, begin)


def release(model: keras.Model) -> None:
    """Takes away stand-ins that were not used, since something failed before."""
    model.train_function = own_train_function(model)


_first_trainables = weakref.WeakKeyDictionary()  # Train function -> {id of a net: ids of the weights that were trainable at the first execution measured}.


def refuse_other_trainables(model: keras.Model, net: keras.Model) -> None:
    """Raises a ValueError if other weights of the net are trainable than at the first call for the model's train function.

    It is traced at its first execution, and goes on training the weights that were trainable then.
    """
    function = own_train_function(model)
    if function is None or model.run_eagerly:
        return
    trainables = [id(variable) for variable in net.trainable_variables]
    if _first_trainables.setdefault(function, {}).setdefault(id(net), trainables) != trainables:
        raise ValueError(
            f"{net.name} has other trainable weights than when its training step was made, which goes on training those; expected a model that is compiled "
            "after `trainable` was changed: compile it anew."
        )


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
    def __init__(self, model, net, begin):
        super().__init__(model)
        self._net, self._begin = net, begin

    def _execute(self, iterator):
        building.build(self._net, keras.utils.unpack_x_y_sample_weight(iterator.element_spec)[0])
        self._begin()
        return self.train_function(iterator)


class _Following(_StandIn):
    def __init__(self, model, watching):
        super().__init__(model)
        self._watching = watching

    def _execute(self, iterator):
        logs, strategy = None, self._model.distribute_strategy
        for _ in range(self._model.steps_per_execution):
            try:
                batch = next(iterator)
            except (StopIteration, tf.errors.OutOfRangeError):
                if logs is None:
                    raise
                break
            with self._watching(lambda batch=batch: Batch(*keras.utils.unpack_x_y_sample_weight(whole(batch, strategy)))):
                logs = self.train_function(_iterator_of(batch, iterator, strategy))
        return logs


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


def whole(batch, strategy: tf.distribute.Strategy):
    """What the replicas of all workers receive, as one batch; None instead of an empty optional."""

    def joined(value):
        if value is None or isinstance(value, tf.experimental.Optional):
            return None
        return workers.joined(value, strategy)

    return tf.nest.map_structure(joined, batch)
