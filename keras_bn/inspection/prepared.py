"""`prepared`: what was prepared for a model once, such as a measure with its traces, is found again as long as the model is the same."""

import weakref
from collections.abc import Callable
from typing import TypeVar

import keras

from keras_bn import keras_internals

Kind = TypeVar("Kind")
_prepared = weakref.WeakKeyDictionary()  # Model -> (Signature, {(kind, options): what was prepared}).


class Signature:
    """What a trace of a model depends on: its layers, its variables, which of them are trainable, and when it was compiled.

    Holds nothing of the model alive.
    """

    def __init__(self, model: keras.Model):
        objects, self._trainable = _parts(model)
        self._objects = [None if one is None else weakref.ref(one) for one in objects]

    def is_of(self, model: keras.Model) -> bool:
        """Whether the model is still the one that it was made of."""
        objects, trainable = _parts(model)
        known = [None if one is None else one() for one in self._objects]
        return trainable == self._trainable and len(objects) == len(known) and all(one is other for one, other in zip(objects, known))


def prepared(kind: Callable[..., Kind], model: keras.Model, *options) -> Kind:
    """`kind(model, *options)`, the same one at each call until the model's `Signature` changes.

    Args:
        kind: a class whose instances hold the model weakly, so that they do not keep it alive.
        options: hashable.
    """
    signature, instances = _prepared.get(model, (None, None))
    if signature is None or not signature.is_of(model):
        _, instances = _prepared[model] = Signature(model), {}
    key = kind, *options
    if key not in instances:
        instances[key] = kind(model, *options)
    return instances[key]


def _parts(model):
    layers = keras_internals.layers_within(model)
    # A frozen normalisation layer without gamma and beta computes otherwise, with the same lists of variables.
    trainable = [model.trainable, *(layer.trainable for layer in layers)]
    trainables = model.trainable_variables
    return [keras_internals.compiled_loss(model), *layers, *trainables, *model.non_trainable_variables], (len(trainables), trainable)
