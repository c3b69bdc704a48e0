"""What the tests share: the three executions, and inputs on which a wrong formula shows."""

import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # The tolerances are the CPU's, and processes of their own could not share a GPU's memory.

import keras
import numpy as np
import pytest
import tensorflow as tf

collect_ignore_glob = ["*conftest.py"]  # They hold no doctests, and pytest cannot collect two files of one name.

# Two replicas for tf.distribute, on any machine; everything else computes on the first.
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)

EXECUTIONS = {"eager": lambda function: function, "function": tf.function, "xla": lambda function: tf.function(function, jit_compile=True)}


@pytest.fixture(params=EXECUTIONS)
def execution(request):
    """Wraps a function: as it is, by tf.function, or compiled by XLA."""
    return EXECUTIONS[request.param]


@pytest.fixture(scope="session")  # A second one in the process would count its collectives from the beginning again, and mix them up with the first's.
def strategy():
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


@pytest.fixture
def rng():
    return np.random.default_rng(20150211)


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)
    yield
    # Garbage is collected once a file: that goes through every object of the process, and takes longer than most tests.
    keras.utils.clear_session(free_memory=False)


@pytest.fixture(autouse=True, scope="module")
def _collected():
    yield
    gc.collect()


@pytest.fixture
def inputs(rng):
    """A maker of arrays whose channels have means away from 0 and variances that differ."""

    def make(shape, axis=-1, dtype="float32"):
        channels = shape[axis]
        along = [1] * len(shape)
        along[axis] = channels
        mean = rng.uniform(1, 5, channels) * rng.choice([-1, 1], channels)
        deviation = np.linspace(0.5, 3, channels)
        return (rng.normal(size=shape) * deviation.reshape(along) + mean.reshape(along)).astype(dtype)

    return make
