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
        handle: its `call` is a function without arguments that makes the call; its `arguments` is a dict, name to what the layer received.
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
                return handle(layer, lambda: original(*args, **kwargs), inspect.signature(original).bind(*args, **kwargs).arguments)
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
