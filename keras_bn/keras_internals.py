"""The private names of Keras and TensorFlow that no public name replaces, each with the reason."""

import keras
import tensorflow as tf

# An attribute of `tf.function`. Without it TensorFlow inlines the function everywhere, and optimises each copy again.
NOT_INLINED = {"_noinline": True}


def layers_within(model: keras.Model) -> list[keras.Layer]:
    """All layers of a model, each once; those within another layer come after it."""
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
