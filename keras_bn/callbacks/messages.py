"""How warnings reach the user: at the line that is theirs."""

import contextlib
import os
import sys
import warnings

import keras
import tensorflow as tf

_LIBRARIES = tuple(os.path.dirname(module.__file__) + os.sep for module in (sys.modules["keras_bn"], keras, tf))
_OURS_OR_PYTHON_S = *_LIBRARIES, contextlib.__file__


def warn(message: str) -> None:
    """A UserWarning that names the line of the user's that led here, such as that of `fit`."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_OURS_OR_PYTHON_S):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)
