"""What a functional model computes, as a list of calls, those of models within it among them; so that it can be cut in between."""

from collections.abc import Callable, Hashable
from typing import NamedTuple

import keras

from keras_bn import keras_internals
from keras_bn.inspection.intercepted_calls import intercepted

INPUTS = "inputs"  # The key of what the model receives.


class FunctionalCall(NamedTuple):
    """One call of an operation, from tensors to tensors, which are known by their keys.

    run: function of a list of the inputs that returns a list of the outputs.
    layer: whose call it is; None for an operation that is no layer.
    """

    run: Callable[[list], list]
    inputs: list[Hashable]
    outputs: list[Hashable]
    layer: keras.Layer | None


def functional_calls(model: keras.Model) -> tuple[list[FunctionalCall], list[Hashable], Callable[[list], object]] | None:
    """The calls of a model, called with training=True, in an order in which they can be computed.

    Returns:
        (calls, keys of what the outputs are made of, function that makes the outputs of a list of those), or None for a model that runs code of its own. The
        first call has one input, of the key INPUTS: what the model receives.
    """
    graph = keras_internals.functional_graph(model)
    if graph is None:
        return None
    calls = [FunctionalCall(_entry(model, graph, lambda values: ((values[0],), {})), [INPUTS], _keys(graph.inputs), None), *_calls(graph)]
    return calls, _keys(graph.outputs), lambda values: keras_internals.graph_outputs(graph, values)


def _calls(graph):
    for node in keras_internals.nodes_of(graph):
        inputs, outputs, operation, nested = _keys(node.input_tensors), _keys(node.outputs), node.operation, _nested_graph(node)
        if nested is None:
            yield FunctionalCall(_call(node), inputs, outputs, operation if isinstance(operation, keras.Layer) else None)
        else:
            yield FunctionalCall(_entry(operation, nested, _arguments(node)), inputs, _keys(nested.inputs), None)
            yield from _calls(nested)
            yield FunctionalCall(list, _keys(nested.outputs), outputs, None)


def _keys(tensors):
    """A model that is called twice computes the same keys twice, one call after the other."""
    return [id(tensor) for tensor in tensors]


def _nested_graph(node):
    """The graph of a model within the model; None if it is none, or if its call does more than run its graph."""
    if not isinstance(node.operation, keras.Model) or any(keras_internals.mask_of(tensor) is not None for tensor in node.input_tensors):
        return None  # Models hand masks on in ways of their own.
    others = [value for name, value in node.arguments.kwargs.items() if name != "training" and value is not None]
    plain = len(node.arguments.args) == 1 and not others and node.operation.activity_regularizer is None
    return keras_internals.functional_graph(node.operation) if plain else None


def _arguments(node):
    """Function of a list of values of the node's inputs that returns the arguments of its call."""
    return lambda values: node.arguments.fill_in({id(tensor): value for tensor, value in zip(node.input_tensors, values)})


def _call(node):
    def run(values):
        args, kwargs = _arguments(node)(values)
        return keras.tree.flatten(keras_internals.call_in_training(node.operation)(*args, **kwargs))

    return run


def _entry(model, graph, arguments):
    """What a call of the model makes of its arguments before it computes."""

    def run(values):
        args, kwargs = arguments(values)
        with intercepted([model], lambda _, __, received: keras_internals.graph_inputs(graph, received["inputs"])):
            return list(keras_internals.call_in_training(model)(*args, **kwargs))

    return run
