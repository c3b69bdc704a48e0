"""What the tests of the tab share: logs, and a TensorBoard that shows them."""

import pytest

from tests.tensorboard_plugin_keras_bn import known_logs
from tests.tensorboard_plugin_keras_bn.started import TensorBoard


@pytest.fixture(scope="session")
def logs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    known_logs.make(folder)
    return folder


@pytest.fixture(scope="module", params=["true", "false"], ids=["fast", "python"])
def tensorboard(request, logs):
    """Loaded by TensorBoard's data server, and by Python."""
    started = TensorBoard(logs, request.param)
    started.wait_for(known_logs.is_read)
    yield started
    started.end()
