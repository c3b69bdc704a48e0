"""Sessions are cleared once a file: clearing collects all garbage of the process, which takes longer than most of these tests."""

import keras
import pytest


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True, scope="module")
def _cleared():
    yield
    keras.backend.clear_session()
