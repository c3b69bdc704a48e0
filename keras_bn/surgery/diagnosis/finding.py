"""`Finding`: one thing that is wrong, and what every rule needs to say it."""

from collections.abc import Iterable
from typing import NamedTuple

import keras

from keras_bn import keras_internals

HINTS = frozenset({"several_in_a_row", "bias_in_front", "not_foldable", "behind_activation"})  # Faults that make no number wrong.


class Finding(NamedTuple):
    """
    layer: its own name; the model's where it is of no layer.
    fault: a word for programs that stays the same; docs/surgery.md lists them.
    measured: numbers by name, and `layers`, the names of all that have the fault, where it is more than one.
    why: why it matters, in a sentence or two.
    remedy: a line of Python that mends it, or makes what is to be put in its place, where `model` and `data` are what was diagnosed, and keras, keras_bn,
        numpy as np and tensorflow as tf are imported.
    """

    layer: str
    fault: str
    measured: dict
    why: str
    remedy: str


def several_layers(layers: Iterable[keras.Layer]) -> dict:
    """For `Finding.measured`."""
    names = [layer.name for layer in layers]
    return {"layers": names} if len(names) > 1 else {}


def expression(model: keras.Model, layer: keras.Layer) -> str:
    """Python that leads from `model` to a layer within it."""
    path = _path(model, layer)
    return f"model{path}" if path is not None else f"next(one for one in model.layers if one.name == {layer.name!r})"


def _path(holder, layer):
    if isinstance(holder, keras.Model) and any(each is layer for each in holder.layers):
        return f".get_layer({layer.name!r})"
    for each in keras_internals.layers_held(holder):
        path = "" if each is layer else _path(each, layer)
        step = None if path is None else _step(holder, each)
        if step is not None:
            return step + path
    return None


def _step(holder, held):
    """From a layer to one that it holds itself."""
    if isinstance(holder, keras.Model) and any(each is held for each in holder.layers):
        return f".get_layer({held.name!r})"
    for name, value in vars(holder).items():
        if name.startswith("_"):
            continue
        within = _within(value, held)
        if within is not None:
            return f".{name}{within}"
    return None


def _within(value, held):
    if value is held:
        return ""
    items = enumerate(value) if isinstance(value, list | tuple) else value.items() if isinstance(value, dict) else ()
    for key, item in items:
        within = _within(item, held)
        if within is not None:
            return f"[{key!r}]{within}"
    return None
