"""A model at given weights: the one place where models are evaluated, and it leaves no trace.

Everything happens in a `keras.StatelessScope`: the model reads the given tensors instead of its variables, and what it assigns (moving statistics, states of
seed generators, metrics) is dropped.
"""

import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import tensorflow as tf

from keras_bn import keras_internals

_open_scopes = threading.local()


class Snapshot(NamedTuple):
    """weights: one tensor for each of `model.trainable_variables`; state: one for each of `model.non_trainable_variables`.

    others: one for each variable that a loss reads besides; see `objective`.
    """

    weights: list[tf.Tensor]
    state: list[tf.Tensor]
    others: tuple[tf.Tensor, ...] = ()


class Batch(NamedTuple):
    """What `fit` hands to a model. y, sample_weight: or None."""

    x: tf.Tensor
    y: tf.Tensor | None = None
    sample_weight: tf.Tensor | None = None


def values(variables: Sequence[keras.Variable]) -> list[tf.Tensor]:
    """Copies of what the variables hold now; of variables that replicas keep apart, what reading them gives."""
    return [tf.identity(tf.convert_to_tensor(variable)) for variable in variables]


def snapshot(model: keras.Model) -> Snapshot:
    """Copies of what the model's variables hold now."""
    return Snapshot(values(model.trainable_variables), values(model.non_trainable_variables))


def advanced(model: keras.Model, snapshot: Snapshot, index: tf.Tensor) -> Snapshot:
    """The snapshot, with the states of its seed generators as they are `index` drawings later, so that each batch gets dropout masks of its own."""
    # The state of a seed generator is a seed and a counter.
    return snapshot._replace(
        state=[
            value + tf.cast([0, index], value.dtype) if variable.name == "seed_generator_state" else value
            for variable, value in zip(model.non_trainable_variables, snapshot.state)
        ]
    )


def tensors(structure):
    """The same structure of tensors; None, sparse and ragged tensors stay what they are."""
    unchanged = tf.SparseTensor | tf.RaggedTensor | None
    return tf.nest.map_structure(lambda value: value if isinstance(value, unchanged) else tf.convert_to_tensor(value), structure)


def batch_of(data) -> Batch:
    """x, (x, y) or (x, y, sample_weight), as tensors."""
    return Batch(*tensors(keras.utils.unpack_x_y_sample_weight(data)))


def outputs(model: keras.Model, snapshot: Snapshot, x, training: bool):
    """What the model returns for `x`.

    Args:
        model: built.
        snapshot: its weights and its state.
        x: as the model takes it.
        training: whether with batch statistics and dropout.
    """
    with stateless(model, snapshot):
        return model(x, training=training)  # Keras drops the argument where a model's `call` does not take it.


def traced(function: Callable, reduce_retracing: bool = True, **options) -> tf.types.experimental.PolymorphicFunction:
    """A `tf.function` of what a measure computes, with a few traces for batches of any number of shapes; the options are those of `tf.function`."""
    return keras_internals.without_retracing_warning(tf.function(function, autograph=False, reduce_retracing=reduce_retracing, **options))


def trace_for_any_size(function: tf.types.experimental.PolymorphicFunction, snapshot: Snapshot, batch, index: tf.Tensor) -> None:
    """Traces once for batches of all sizes, the last one of arrays being smaller; not a model that has a size of its own, and is traced for that."""
    with contextlib.suppress(Exception):
        specs = tf.nest.map_structure(lambda value: tf.TensorSpec((None, *value.shape[1:]), value.dtype) if isinstance(value, tf.Tensor) else value, batch)
        function.get_concrete_function(snapshot, specs, index)


def shared_by_shape(function: Callable) -> tf.types.experimental.PolymorphicFunction:
    """A `tf.function` for many places of a graph: traced once for all that have the same shapes, and not inlined."""
    # Without `reduce_retracing`, since layers of two widths would then share a trace of unknown width, which is slow.
    return traced(function, reduce_retracing=False, experimental_attributes=keras_internals.NOT_INLINED)


@contextlib.contextmanager
def without_graph_optimiser():
    """Inside it, functions compute as they are traced.

    For measures whose time is in convolutions and products: those gain nothing by TensorFlow's optimiser, which takes up to half of the time of a first call.
    """
    before = tf.config.optimizer.get_experimental_options().get("disable_meta_optimizer", False)
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": before})


def current_scope() -> "Scope":
    """The scope of the evaluation that is going on; its `state_mapping` holds what the model reads and assigns."""
    return _open_scopes.stack[-1]


@contextlib.contextmanager
def stateless(model: keras.Model, snapshot: Snapshot, others: Sequence[keras.Variable] = ()):
    """Inside it, variables have the values of the snapshot, and what is assigned is dropped at the end. Yields the `Scope`.

    Args:
        model: whose variables `snapshot.weights` and `snapshot.state` are values of.
        others: those that `snapshot.others` are values of.
    """
    pairs = [
        *zip(model.trainable_variables, snapshot.weights, strict=True),
        *zip(model.non_trainable_variables, snapshot.state, strict=True),
        *zip(others, snapshot.others, strict=True),
    ]
    stack = _open_scopes.__dict__.setdefault("stack", [])
    with Scope(state_mapping=pairs, collect_losses=True) as scope:
        stack.append(scope)
        try:
            yield scope
        finally:
            stack.pop()


def weights_read(model: keras.Model, scope: "Scope") -> frozenset[int]:
    """The indices, in `model.trainable_variables`, of those that were read in the scope."""
    return frozenset(index for index, variable in enumerate(model.trainable_variables) if id(variable) in scope.read)


class Scope(keras.StatelessScope):
    """A `keras.StatelessScope` that remembers what is read.

    Attributes:
        read: ids of all variables that were.
        unknown: those that it has no values of, each once, in the order of the first reading.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.read, self.unknown = set(), []

    def get_current_value(self, variable):
        self.read.add(id(variable))
        value = super().get_current_value(variable)
        if value is None and not any(variable is known for known in self.unknown):
            self.unknown.append(variable)
        return value
