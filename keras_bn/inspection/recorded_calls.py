"""`RecordedCalls`: layer outputs of one evaluation, so that later evaluations in the same graph reuse the unchanged prefix."""

import contextlib

import keras

from keras_bn import keras_internals
from keras_bn.inspection import evaluation
from keras_bn.inspection.intercepted_calls import intercepted


class RecordedCalls:
    """What each call of a layer returned and assigned, in one evaluation of a model.

    Only outermost calls are recorded; models do not count as layers, so that the layers of a nested model are recorded one by one.
    """

    def __init__(self, model: keras.Model):
        self._layers = [layer for layer in keras_internals.layers_within(model) if not isinstance(layer, keras.Model)]
        self._calls = []

    @contextlib.contextmanager
    def recording(self):
        """Inside it, one evaluation is recorded."""

        def record(layer, call, _):
            assigned = evaluation.current_scope().state_mapping
            before = dict(assigned)
            outputs = call()
            changes = {key: value for key, value in assigned.items() if before.get(key) is not value}
            self._calls.append((layer, outputs, changes))
            return outputs

        self._calls = []
        with intercepted(self._layers, record):
            yield

    @contextlib.contextmanager
    def replaying(self, before: keras.Variable):
        """Inside it, one evaluation takes its calls from the record, up to the first call of a layer that holds the variable `before`.

        Where the model itself holds the variable, no call is taken from the record.
        """
        first = next((index for index, (layer, *_) in enumerate(self._calls) if any(variable is before for variable in layer.variables)), 0)
        replayed = iter(self._calls[:first])

        def replay(_, call, __):
            recorded = next(replayed, None)
            if recorded is None:
                return call()
            _, outputs, changes = recorded
            evaluation.current_scope().state_mapping.update(changes)
            return outputs

        with intercepted(self._layers, replay):
            yield
