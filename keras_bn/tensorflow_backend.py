"""Refuses, in one sentence, to be imported where Keras does not run on TensorFlow."""

import os

REMEDY = 'switch with `export KERAS_BACKEND=tensorflow` (or "backend": "tensorflow" in ~/.keras/keras.json) before Python starts.'


def require():
    """Raises ImportError unless `keras` imports and runs on TensorFlow."""
    try:
        import keras

        backend = keras.backend.backend()
    except ImportError as error:  # `import keras` itself fails where its backend is chosen but not installed.
        if error.name in ("keras", "tensorflow"):
            raise
        chosen = os.environ.get("KERAS_BACKEND", "as in ~/.keras/keras.json")
        raise ImportError(f"keras_bn needs Keras on TensorFlow, but Keras (backend: {chosen}) could not be imported ({error}): {REMEDY}") from error
    if backend != "tensorflow":
        raise ImportError(f"keras_bn needs Keras on TensorFlow, but Keras runs on {backend!r}: {REMEDY}")
