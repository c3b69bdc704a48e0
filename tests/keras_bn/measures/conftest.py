"""The kinds of model that every measure is tested on."""

import pytest
from nets import KINDS


@pytest.fixture(params=KINDS)
def kind(request):
    """A maker of the small net as one of them."""
    return KINDS[request.param]
