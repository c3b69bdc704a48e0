"""The kinds of model that every measure is tested on. Sessions are cleared once a file, as for the callbacks' tests."""

import keras
import pytest
from nets import KINDS


@pytest.fixture(params=KINDS)
def kind(request):
    """A maker of the small net as one of them."""
    return KINDS[request.param]


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True, scope="module")
def _cleared():
    yield
    keras.backend.clear_session()
