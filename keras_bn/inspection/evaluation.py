"""A model's outputs, loss and gradients at given weights: the one place where a model is evaluated, and it leaves no trace.

Everything happens in a `keras.StatelessScope`: the model reads the given tensors instead of its variables, and what it assigns (moving statistics, states of
seed generators, metrics) is dropped.
"""

import contextlib
import inspect
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import tensorflow as tf

from keras_bn import keras_internals

_open_scopes = threading.local()


class Snapshot(NamedTuple):
    """weights: one tensor for each of `model.trainable_variables`; state: one for each of `model.non_trainable_variables`."""

    weights: list[tf.Tensor]
    state: list[tf.Tensor]


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
    with _stateless(model, snapshot):
        return model(x, training=training)  # Keras drops the argument where a model's `call` does not take it.


def loss(model: keras.Model, snapshot: Snapshot, batch: Batch) -> tf.Tensor:
    """The loss of a compiled model as its training step computes it, with regularisers: scalar. The same state gives the same dropout masks."""
    # Before Keras 3.3 `compute_loss` did not take `training`, and models that override it need not.
    takes_training = "training" in inspect.signature(model.compute_loss).parameters
    with _stateless(model, snapshot):
        outputs = model(batch.x, training=True)
        return model.compute_loss(batch.x, batch.y, outputs, batch.sample_weight, **({"training": True} if takes_training else {}))


def gradients(model: keras.Model, snapshot: Snapshot, batch: Batch, indices: Sequence[int], scale=1.0):
    """(loss, its gradients to the weights of these indices). Where the loss does not depend on a weight, its gradient is 0.

    Args:
        model, snapshot, batch: as of `loss`.
        indices: in `snapshot.weights`.
        scale: the loss is multiplied by it, and the gradients are divided by it, so that they stay within the range of half precision.
    """
    weights = [snapshot.weights[index] for index in indices]
    with tf.GradientTape() as tape:
        tape.watch(weights)
        value = loss(model, snapshot, batch)
        scaled = value * tf.cast(scale, value.dtype)
    results = tape.gradient(scaled, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return value, [gradient / tf.cast(scale, gradient.dtype) for gradient in results]


def traced(function: Callable, reduce_retracing: bool = True, **options) -> tf.types.experimental.PolymorphicFunction:
    """A `tf.function` of what a measure computes, with a few traces for batches of any number of shapes; the options are those of `tf.function`."""
    return keras_internals.without_retracing_warning(tf.function(function, autograph=False, reduce_retracing=reduce_retracing, **options))


def current_scope() -> keras.StatelessScope:
    """The scope of the evaluation that is going on; its `state_mapping` holds what the model reads and assigns."""
    return _open_scopes.stack[-1]


@contextlib.contextmanager
def _stateless(model, snapshot):
    pairs = [*zip(model.trainable_variables, snapshot.weights, strict=True), *zip(model.non_trainable_variables, snapshot.state, strict=True)]
    stack = _open_scopes.__dict__.setdefault("stack", [])
    with keras.StatelessScope(state_mapping=pairs, collect_losses=True) as scope:
        stack.append(scope)
        try:
            yield
        finally:
            stack.pop()
