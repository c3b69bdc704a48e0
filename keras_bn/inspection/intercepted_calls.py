"""`intercepted`: the calls of layers go to a function first."""

import contextlib
import inspect
from collections.abc import Callable, Sequence

import keras


@contextlib.contextmanager
def intercepted(layers: Sequence[keras.Layer], handle: Callable):
    """Inside it, each outermost call of one of the layers goes to `handle(layer, call, arguments)`, whose result the call returns.

    Args:
        layers: whose calls are intercepted; a call that another intercepted call makes is left alone.
        handle: its `call` is a function that makes the call, with other values for arguments where it is given some by name; its `arguments` is a dict, name to
            what the layer received.
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
                bound = inspect.signature(original).bind(*args, **kwargs)
                return handle(layer, lambda **others: _called(original, bound, others), dict(bound.arguments))
            finally:
                inside = False

        return call

    replaced = {layer: vars(layer)["call"] for layer in layers if "call" in vars(layer)}  # Some layers have a `call` that is not their class's.
    try:
        for layer in layers:
            object.__setattr__(layer, "call", around(layer))  # Keras's own __setattr__ would track the function as a part of the layer.
        yield
    finally:
        for layer in layers:
            vars(layer).pop("call", None)
            vars(layer).update({"call": replaced[layer]} if layer in replaced else {})


def _called(function, bound, others):
    bound.arguments.update(others)
    return function(*bound.args, **bound.kwargs)
