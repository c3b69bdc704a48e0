"""Answers requests to the plugin in a process without TensorFlow: reads JSON, a list of [method, path], and prints a list of [status, headers, body]."""

import json
import sys
import types


def main(logdir, requests):
    sys.modules["tensorboard.compat.notf"] = types.ModuleType("notf")  # TensorBoard's own sign for: work without TensorFlow.
    import werkzeug.test
    from tensorboard.backend import application
    from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
    from tensorboard.plugins import base_plugin

    from tensorboard_plugin_keras_bn.loader import Loader

    multiplexer = plugin_event_multiplexer.EventMultiplexer(tensor_size_guidance={"scalars": 1000, "text": 10})
    multiplexer.AddRunsFromDirectory(logdir)
    multiplexer.Reload()
    provider = data_provider.MultiplexerDataProvider(multiplexer, logdir)
    plugin = Loader().load(base_plugin.TBContext(data_provider=provider))
    client = werkzeug.test.Client(application.TensorBoardWSGI([plugin], data_provider=provider))
    answers = []
    for method, path in requests:
        response = client.open(path, method=method)
        answers.append([response.status_code, dict(response.headers), response.get_data().decode()])
    assert not {"tensorflow", "keras", "keras_bn"} & sys.modules.keys(), "heavy modules came in"
    return answers


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], json.load(sys.stdin))))
