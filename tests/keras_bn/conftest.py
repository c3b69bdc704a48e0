"""What several files of the tests need once a process."""

import pytest
import tensorflow as tf


@pytest.fixture(scope="session")  # A second one in the process would count its collectives from the beginning again, and mix them up with the first's.
def strategy():
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
