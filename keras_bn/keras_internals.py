"""Every private name of Keras and TensorFlow that we use, each with why no public one does. Versions: Keras 3.10 to 3.15, TensorFlow 2.19 to 2.21."""

import tensorflow as tf
from tensorflow.python.eager import record

# An attribute of `tf.function` that keeps the graph optimiser from copying the function into its callers. The public experimental attributes have none for it.
NOT_INLINED = {"_noinline": True}


def is_compiled_by_xla() -> bool:
    """Whether what is being traced will be compiled by XLA. The choice of arithmetic depends on it, and only the graph under construction knows."""
    return not tf.executing_eagerly() and tf.__internal__.get_enclosing_xla_context() is not None


def is_recorded() -> bool:
    """Whether a gradient tape records right now. A graph that nobody differentiates, such as an export, should hold plain operations only."""
    return record.could_possibly_record()
