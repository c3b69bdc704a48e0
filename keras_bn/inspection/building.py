"""Whether a model has all its weights, and how it gets them from the first batch."""

import weakref

import keras
import tensorflow as tf

from keras_bn import keras_internals
from keras_bn.inspection.errors import in_a_line

ADVICE = "give it a keras.Input, or call it on a batch before"
_called = weakref.WeakSet()  # Models that a call has built; what is not built then is not used.


def is_built(model: keras.Model) -> bool:
    """Whether the model and every layer in it is built; a subclassed model says that it is when only its `build` was called."""
    return model in _called or (model.built and all(layer.built for layer in keras_internals.layers_within(model)))


def refuse_no_model(model: keras.Model) -> None:
    """Raises a ValueError for what is no model."""
    if not isinstance(model, keras.Model):
        raise ValueError(f"`model` is {model!r}; expected a keras.Model: if it is a path, load it by keras.saving.load_model.")


def refuse_unbuilt(model: keras.Model) -> None:
    """Raises a ValueError for what is no model, or none that has its weights."""
    refuse_no_model(model)
    if not is_built(model):
        raise ValueError(f"{model.name} is not built, so that it has no weights yet; expected one that has: {ADVICE}.")


def refuse_without_call(model: keras.Model) -> None:
    """Raises a ValueError for a model that only holds others and trains them."""
    if type(model).call is keras.Model.call:
        raise ValueError(f"{model.name} has no `call`, so that there is nothing to evaluate; expected one of the nets in it: give it as `net`.")


def build(model: keras.Model, x) -> None:
    """Builds what is not built yet, by a call without numbers.

    Args:
        x: inputs as the model takes them, or a structure of `tf.TypeSpec`. Their first axis may have any size later.

    Raises:
        ValueError: the model has no `call`, or cannot be called without numbers.
    """
    refuse_without_call(model)
    if is_built(model):
        return
    try:
        model(tf.nest.map_structure(_symbolic, x))
    except Exception as error:
        if not (model.built and model.weights):  # Else it has been called, and a layer in it is not used.
            raise ValueError(
                f"{model.name} is not built, and could not be from the first batch; expected a model that has its weights: {ADVICE}: {in_a_line(error)}."
            ) from error
    _called.add(model)


def _symbolic(value):
    sparse = isinstance(value, tf.SparseTensor | tf.SparseTensorSpec)
    shape = (None, *value.shape[1:])  # A model that is built for one batch size refuses others.
    return keras.KerasTensor(shape, tf.as_dtype(value.dtype).name, sparse=sparse)
