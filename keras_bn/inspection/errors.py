"""What an error says, in one line."""

import contextlib
import re

import keras

_HEADS = (
    "Exception encountered when calling",
    "in user code:",
    "Graph execution error:",
    "Detected at node",
    "Arguments received by",
    "Call arguments received by",
    "File ",
    "<stack",
    "[[",
    "•",
)
_NAME = re.compile(r"^(?:\w+\.)*\w*(?:Error|Exception): ")


def in_a_line(error: Exception) -> str:
    """Without the many lines and the colours that Keras and TensorFlow put around it, and without the full stop."""
    lines = [re.sub(r"\x1b\[\d*m", "", line).strip() for line in str(error).split("\n")]
    named = next((index for index, line in enumerate(lines) if _NAME.match(line)), 0)  # Behind the lines of a user's code.
    lines = [_NAME.sub("", line) for line in lines[named:]]
    telling = [line for line in lines if line and not line.startswith(_HEADS)]
    return (telling[0] if telling else type(error).__name__).removesuffix(".")


@contextlib.contextmanager
def evaluating(model: keras.Model, taker: str = "predict"):
    """Says of errors inside it, in one sentence, that the model cannot be evaluated; taker: the method of the model that takes such data."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"{model.name} cannot be evaluated on a batch of the data; expected what `{taker}` takes: {in_a_line(error)}.") from error
