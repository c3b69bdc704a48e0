"""Keras on another backend is refused with one sentence, whether that backend is installed or not."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("backend", ["jax", "torch", "numpy"])
def test_another_backend_is_refused(backend):
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    python = subprocess.run([sys.executable, "-c", "import keras_bn"], env=environment, capture_output=True, text=True)
    assert python.returncode == 1
    last = python.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: keras_bn needs Keras on TensorFlow, but Keras ")
    assert backend in last
    assert last.endswith('switch with `export KERAS_BACKEND=tensorflow` (or "backend": "tensorflow" in ~/.keras/keras.json) before Python starts.')
