"""For the doctests of keras_bn: the names that an example may use without importing them."""

import keras
import numpy as np
import pytest
import tensorflow as tf


@pytest.fixture(autouse=True)
def _names_of_examples(doctest_namespace, tmp_path):
    doctest_namespace.update(keras=keras, np=np, tf=tf, log_dir=tmp_path)
