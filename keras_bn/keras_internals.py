"""Every private name of Keras and TensorFlow that we use, each with why no public one does. Versions: Keras 3.10 to 3.15, TensorFlow 2.19 to 2.21."""

from collections.abc import Callable

import keras
import tensorflow as tf
from keras.src.backend import get_keras_mask, set_keras_mask
from keras.src.models.functional import Functional, operation_fn, unpack_singleton
from keras.src.saving.serialization_lib import SafeModeScope
from tensorflow.python.eager import forwardprop_util, record

# An attribute of `tf.function` that keeps the graph optimiser from copying the function into its callers. The public experimental attributes have none for it.
NOT_INLINED = {"_noinline": True}


def is_compiled_by_xla() -> bool:
    """Whether what is being traced will be compiled by XLA. The choice of arithmetic depends on it, and only the graph under construction knows."""
    return not tf.executing_eagerly() and tf.__internal__.get_enclosing_xla_context() is not None


def is_recorded() -> bool:
    """Whether a gradient tape records right now. A graph that nobody differentiates, such as an export, should hold plain operations only."""
    return record.could_possibly_record()


def is_differentiated_forwards(tensors: list[tf.Tensor]) -> bool:
    """Whether a `tf.autodiff.ForwardAccumulator` is following one of the tensors right now."""
    # An accumulator can be asked for a tensor's derivative, but nobody can be asked for the accumulators.
    return bool(forwardprop_util.pack_tangents(tensors).tangents)


def layers_within(model: keras.Layer) -> list[keras.Layer]:
    """All layers of a model or a layer, each once; those within another layer come right after it, in the order in which it holds them."""
    # `model.layers` is the outermost level, and for a subclassed model leaves out what lists and dicts of other layers hold. Level by level, as Keras's own
    # recursion turns round the order of what a layer within a layer holds.
    found = {}
    for layer in model._flatten_layers(include_self=False, recursive=False):
        if layer not in found:
            found |= dict.fromkeys([layer, *layers_within(layer)])
    return list(found)


def compiled_loss(model: keras.Model):
    """An object that `compile` makes anew; None before."""
    # `model.optimizer` and `model.loss` stay the same objects where a model is compiled again with them.
    return getattr(model, "_compile_loss", None)


def compiled_metrics(model: keras.Model):
    """What computes the metrics that the model was compiled with, with `update_state`, `result`, `reset_state` and `variables`; None where there are none."""
    # `model.metrics` holds those that follow losses, too, and does not say which are which.
    return getattr(model, "_compile_metrics", None)


def keep_loops_whole(graph: tf.Graph) -> None:
    """Lets loops and conditions of a graph be one operation each where it runs, which is left out if nothing needs it."""
    # `prune` copies operations that nothing needs, and TensorFlow would take loops apart into operations that run all the same. No public option forbids that.
    for operation in graph.get_operations():
        if operation.type in ("While", "StatelessWhile", "If", "StatelessIf"):
            operation._set_attr("_lower_using_switch_merge", tf.compat.v1.AttrValue(b=False))


def batches_of(optimizer: keras.Optimizer) -> int:
    """How many batches the optimizer has received."""
    # `iterations` counts updates, of which gradient accumulation makes one for several batches.
    return int(keras.ops.convert_to_numpy(optimizer._iterations))


def spec_of_a_replica(spec):
    """What one replica receives, of the spec of a distributed value."""
    # TensorFlow's `PerReplicaSpec` does not publish its parts.
    return getattr(spec, "_value_specs", (spec,))[0]


def without_retracing_warning(function: tf.types.experimental.PolymorphicFunction) -> tf.types.experimental.PolymorphicFunction:
    """The same function, of whose traces TensorFlow does not warn."""
    # TensorFlow counts traces by code, and so takes the functions of several models for one that is traced again and again.
    function._omit_frequent_tracing_warning = True
    return function


def functional_graph(model: keras.Layer) -> Functional | None:
    """The functional model whose graph a call of the model runs; None where it runs code of its own."""
    # A sequential model holds its graph where nothing public leads, and the class of functional models has no public name.
    if "call" in vars(model) or type(model).__call__ is not keras.Layer.__call__:
        return None
    if type(model).call is keras.Sequential.call:
        return model._functional
    return model if isinstance(model, Functional) and type(model).call is Functional.call else None


def nodes_of(graph: Functional) -> list:
    """The calls of a functional model's operations, in an order in which they can be computed."""
    # `operations` is public, but one that is called twice stands there once.
    by_depth = graph._nodes_by_depth
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth] if not node.is_input]


def graph_inputs(graph: Functional, inputs) -> list:
    """What a call with these inputs hands to `graph.inputs`."""
    return graph._standardize_inputs(inputs)


def graph_outputs(graph: Functional, outputs: list):
    """What a call returns, of the values of `graph.outputs`."""
    return unpack_singleton(keras.tree.pack_sequence_as(graph._outputs_struct, outputs))


def call_in_training(operation: keras.Operation) -> Callable:
    """Makes a call as a functional model does that is called with training=True."""
    # It says so to each operation that wants to know, whatever the operation was called with when the model was built.
    return operation_fn(operation, training=True)


def mask_of(value):
    """The Keras mask that a tensor carries, or None."""
    # An attribute of the tensor, which does not survive the way in and out of a `tf.function`.
    return get_keras_mask(value)


def set_mask(value, mask) -> None:
    """Lets the tensor carry the mask."""
    set_keras_mask(value, mask)


def input_layer_of(tensor) -> keras.Layer:
    """The layer that a symbolic input of a functional model belongs to."""
    # `model.layers` holds input layers, but does not say which is whose.
    return tensor._keras_history.operation


def structures_of(graph: Functional) -> tuple:
    """(what a call takes, what a call returns), as structures of symbolic tensors."""
    # Of a sequential model's graph nothing public says it.
    return graph._inputs_struct, graph._outputs_struct


def layers_held(holder: keras.Layer) -> list[keras.Layer]:
    """The layers that a layer holds itself, not those within them."""
    # `layers` exists for models only.
    return list(holder._flatten_layers(include_self=False, recursive=False))


def replace_layer(holder: keras.Layer, layer: keras.Layer, new: keras.Layer) -> None:
    """Puts another layer in the place of one that is held: at its position, and wherever attributes refer to it."""
    # Assigning the attribute alone would keep the old layer among those that are saved and trained, and a layer that is built cannot hold new ones.
    holder._tracker.replace_tracked_value("layers", layer, new)
    for name, value in list(vars(holder).items()):
        if name not in ("_tracker", "_layers") and (replaced := _replaced(value, layer, new)) is not value:
            setattr(holder, name, replaced)


def _replaced(value, layer, new):
    """A list or a dict is changed in place, past Keras's tracking, which `replace_layer` has done; a tuple is made anew."""
    if value is layer:
        return new
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        items = tuple(_replaced(item, layer, new) for item in value)
        return items if any(item is not before for item, before in zip(items, value)) else value
    if isinstance(value, list):
        for index, item in enumerate(value):
            list.__setitem__(value, index, _replaced(item, layer, new))
    elif isinstance(value, dict):
        for key, item in value.items():
            dict.__setitem__(value, key, _replaced(item, layer, new))
    return value


def trusting() -> SafeModeScope:
    """Inside it, configurations may hold code: for those of layers that are in memory, not of files."""
    # The public way, `keras.config.enable_unsafe_deserialization`, lasts for good.
    return SafeModeScope(False)


def compile_arguments(model: keras.Model) -> dict:
    """What `compile` received; the objects themselves."""
    # `get_compile_config` serialises them, which a loss that is a function of one's own does not survive.
    return model._compile_config.config


def build_for(model: keras.Model, local_part: Callable) -> None:
    """Lets the model build itself for `local_part(batch)`, of the first batch that a training, an evaluation or a single step receives."""
    # `fit` builds the model for the mean of the workers' parts, which TensorFlow cannot compute of batches, and has no public place for a batch of one's own.

    def build(iterator=None, data_batch=None):
        if iterator is not None:
            data_batch = next(next(batches for _, _, batches in iterator))
        with model.distribute_strategy.scope():
            model._symbolic_build(data_batch=local_part(data_batch))

    model._maybe_symbolic_build = build
