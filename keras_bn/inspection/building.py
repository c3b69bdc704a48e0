"""Whether a model has all its weights, and how it gets them from the first batch."""

import keras
import tensorflow as tf

from keras_bn import keras_internals

ADVICE = "give it a keras.Input, or call it on a batch before"


def is_built(model: keras.Model) -> bool:
    """Whether the model and every layer in it is built; a subclassed model says that it is when only its `build` was called."""
    return model.built and all(layer.built for layer in keras_internals.layers_within(model))


def build(model: keras.Model, x) -> None:
    """Builds what is not built yet, by a call without numbers.

    Args:
        x: inputs as the model takes them, or a structure of `tf.TypeSpec`. Their first axis may have any size later.

    Raises:
        ValueError: the model cannot be called without numbers.
    """
    if is_built(model):
        return
    try:
        model(tf.nest.map_structure(_symbolic, x))
    except Exception as error:
        raise ValueError(
            f"{model.name} is not built, and could not be from the first batch; expected a model that has its weights: {ADVICE}: {error}"
        ) from error


def _symbolic(value):
    sparse = isinstance(value, tf.SparseTensor | tf.SparseTensorSpec)
    shape = (None, *value.shape[1:])  # A model that is built for one batch size refuses others.
    return keras.KerasTensor(shape, tf.as_dtype(value.dtype).name, sparse=sparse)
