"""A model's outputs, loss and gradients at weights that are handed in: the one place where a model is evaluated, and it leaves no trace.

Everything happens in a `keras.StatelessScope`: what the model reads of its variables are the tensors given, and what it would assign (moving statistics,
states of seed generators, metrics) is dropped.
"""

import contextlib
import inspect
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf


def values(variables: Sequence[keras.Variable]) -> list[tf.Tensor]:
    """Copies of what the variables hold now; of those that replicas keep apart, what reading them gives."""
    return [tf.identity(tf.convert_to_tensor(variable)) for variable in variables]


def snapshot(model: keras.Model) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """(weights, state) as of `outputs`: copies of what the model's trainable and its other variables hold now."""
    return values(model.trainable_variables), values(model.non_trainable_variables)


def tensors(batch):
    """The same structure of tensors; None, and tensors that are sparse or ragged, stay what they are."""
    kept = tf.SparseTensor | tf.RaggedTensor | None
    return tf.nest.map_structure(lambda value: value if isinstance(value, kept) else tf.convert_to_tensor(value), batch)


def layers(model: keras.Model) -> list[keras.Layer]:
    """All layers of a model, each once; those that are within another come after it."""
    return list(dict.fromkeys(model._flatten_layers(include_self=False, recursive=True)))


def outputs(model: keras.Model, weights: Sequence[tf.Tensor], state: Sequence[tf.Tensor], x, training: bool):
    """What the model returns for `x`.

    Args:
        model: built.
        weights: one tensor for each of `model.trainable_variables`.
        state: one for each of `model.non_trainable_variables`: moving statistics, states of seed generators.
        x: as the model takes it.
        training: whether with batch statistics and dropout.
    """
    with _at(model, weights, state):
        return _called(model, x, training)


def loss(model: keras.Model, weights: Sequence[tf.Tensor], state: Sequence[tf.Tensor], x, y, sample_weight=None) -> tf.Tensor:
    """The loss of a compiled model as its training step computes it, regularisers included: scalar.

    Args:
        model: compiled with a loss.
        weights, state: as of `outputs`. The same state gives the same dropout masks.
        x, y, sample_weight: a batch, as `fit` hands it to the model.
    """
    with _at(model, weights, state):
        # As Keras's own training step calls it, which knows of models whose compute_loss does not take `training`.
        return model._compute_loss(x=x, y=y, y_pred=_called(model, x, training=True), sample_weight=sample_weight, training=True)


def gradients(model, weights, state, x, y, sample_weight, wanted: Sequence[int], scale=1.0):
    """(loss, its gradients to the weights at the places `wanted`); of a weight that the loss does not depend on it is 0.

    Args:
        model, weights, state, x, y, sample_weight: as of `loss`.
        wanted: places in `weights`.
        scale: the loss is multiplied by it before, and the gradients are divided by it after differentiation, so that half precision does not lose them.
    """
    sought = [weights[place] for place in wanted]
    with tf.GradientTape() as tape:
        tape.watch(sought)
        value = loss(model, weights, state, x, y, sample_weight)
        scaled = value * tf.cast(scale, value.dtype)
    found = tape.gradient(scaled, sought, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return value, [gradient / tf.cast(scale, gradient.dtype) for gradient in found]


def traced(function: Callable, reduce_retracing: bool = True, **options) -> tf.types.experimental.PolymorphicFunction:
    """A `tf.function` of what a measure computes; the options are those of `tf.function`."""
    compiled = tf.function(function, autograph=False, reduce_retracing=reduce_retracing, **options)
    # TensorFlow takes those of several models for one function, as their code is the same, and would warn of how often it is traced.
    compiled._omit_frequent_tracing_warning = True
    return compiled


class Calls:
    """What each call of a layer returned in one evaluation of a model, to be taken again in others that are of the same graph and begin alike.

    Layers within layers belong to the outermost; models are no layers here, but what they hold is.
    """

    def __init__(self, model: keras.Model):
        self._layers = [layer for layer in layers(model) if not isinstance(layer, keras.Model)]
        self._made = []

    @contextlib.contextmanager
    def kept(self):
        """Within it, one evaluation is kept."""

        def keep(layer, call, _):
            before = dict(_scope().state_mapping)
            outputs = call()
            assigned = {key: value for key, value in _scope().state_mapping.items() if before.get(key) is not value}
            self._made.append((layer, outputs, assigned))
            return outputs

        self._made = []
        with intercepted(self._layers, keep):
            yield

    @contextlib.contextmanager
    def taken(self, before: keras.Variable):
        """Within it, the calls of one evaluation that precede the first of a layer with the variable `before` are not made, but taken from what was kept.

        Where the variable is the model's own, all are made.
        """
        first = next((place for place, (layer, *_) in enumerate(self._made) if any(variable is before for variable in layer.variables)), 0)
        replayed = iter(self._made[:first])

        def take(_, call, __):
            made = next(replayed, None)
            if made is None:
                return call()
            *_, outputs, assigned = made
            _scope().state_mapping.update(assigned)
            return outputs

        with intercepted(self._layers, take):
            yield


@contextlib.contextmanager
def intercepted(layers: Sequence[keras.Layer], handle: Callable):
    """Within it, each call of one of the layers, not from within another's, goes to `handle(layer, call, arguments)`, whose outcome is the call's.

    Args:
        layers: which.
        handle: its `call` is a function without arguments that makes the call, its `arguments` a dict, name to what the layer was given.
    """
    inside = False

    def around(layer):
        original = layer.call

        def call(*args, **kwargs):
            nonlocal inside
            if inside:
                return original(*args, **kwargs)
            inside = True
            try:
                return handle(layer, lambda: original(*args, **kwargs), inspect.signature(original).bind(*args, **kwargs).arguments)
            finally:
                inside = False

        return call

    own = {layer: vars(layer)["call"] for layer in layers if "call" in vars(layer)}  # Some have one that is not their class's.
    try:
        for layer in layers:
            object.__setattr__(layer, "call", around(layer))  # Not by Keras's own, which would take it for a part of the layer.
        yield
    finally:
        for layer in layers:
            vars(layer).pop("call", None)
            vars(layer).update({"call": own[layer]} if layer in own else {})


def _scope():
    return keras.src.backend.common.stateless_scope.get_stateless_scope()


def _at(model, weights, state):
    pairs = [*zip(model.trainable_variables, weights, strict=True), *zip(model.non_trainable_variables, state, strict=True)]
    return keras.StatelessScope(state_mapping=pairs, collect_losses=True)


def _called(model, x, training):
    return model(x, training=training) if model._call_has_training_arg else model(x)
