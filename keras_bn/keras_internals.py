"""Every private name of Keras and TensorFlow that we use, each with why no public one does. Versions: Keras 3.10 to 3.15, TensorFlow 2.19 to 2.21."""

import keras
import tensorflow as tf
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
    """All layers of a model or a layer, each once; those within another layer come after it."""
    # `model.layers` is the outermost level, and for a subclassed model leaves out what lists and dicts of other layers hold.
    return list(dict.fromkeys(model._flatten_layers(include_self=False, recursive=True)))


def compiled_loss(model: keras.Model):
    """An object that `compile` makes anew; None before."""
    # `model.optimizer` and `model.loss` stay the same objects where a model is compiled again with them.
    return getattr(model, "_compile_loss", None)


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
