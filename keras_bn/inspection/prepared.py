"""`prepared`: what was prepared for a model once, such as a measure with its traces, is found again as long as the model is the same."""

import weakref
from collections.abc import Callable
from typing import TypeVar

import keras

from keras_bn import keras_internals

Kind = TypeVar("Kind")
_ATTRIBUTE = "_keras_bn_prepared"  # Of a model: (Signature, {(kind, options): what was prepared}).
_MOST = 32  # Things prepared for one model, of which the oldest goes first: somebody may make a new function for a loss at every call.


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

    It is kept in an attribute of the model, which Keras neither tracks nor saves. A dictionary of weak keys would not do: a loss that is a function mostly
    refers to the model, and what a value refers to is kept alive.

    Args:
        kind: a class.
        options: hashable.
    """
    signature, instances = vars(model).get(_ATTRIBUTE, (None, None))
    if signature is None or not signature.is_of(model):
        _, instances = vars(model)[_ATTRIBUTE] = Signature(model), {}
    key = kind, *options
    if key not in instances:
        instances[key] = kind(model, *options)
        for oldest in list(instances)[:-_MOST]:
            del instances[oldest]
    return instances[key]


def _parts(model):
    layers = keras_internals.layers_within(model)
    # A frozen normalisation layer without gamma and beta computes otherwise, with the same lists of variables.
    trainable = [model.trainable, *(layer.trainable for layer in layers)]
    trainables = model.trainable_variables
    return [keras_internals.compiled_loss(model), *layers, *trainables, *model.non_trainable_variables], (len(trainables), trainable)
