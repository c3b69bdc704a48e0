"""How warnings and errors reach the user: at the line that is theirs, and in one sentence."""

import contextlib
import os
import re
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


def in_a_line(error: Exception) -> str:
    """What an error says, without the many lines and the colours that Keras puts around it, and without the full stop."""
    lines = [re.sub(r"\x1b\[\d*m", "", line).strip() for line in str(error).split("\n")]
    lines = [line for line in lines if line and not line.startswith("Exception encountered when calling")]
    return (lines[0] if lines else type(error).__name__).removesuffix(".")
