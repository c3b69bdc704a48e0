"""`foldable`: which batch normalisation layers another layer can take up, and why the others cannot be."""

from typing import NamedTuple

import keras

from keras_bn import keras_internals
from keras_bn.inspection import building, normalization_layers
from keras_bn.layers import UniformDropout
from keras_bn.surgery import affine
from keras_bn.surgery.freeze import KNOWN

NOTHING_IN_INFERENCE = (
    keras.layers.Dropout,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
    keras.layers.AlphaDropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.ActivityRegularization,
    keras.layers.Identity,
    UniformDropout,
)


class Foldable(NamedTuple):
    """Of one batch normalisation layer.

    layer: its name.
    into: the name of the layer that can take it up; None where none can.
    reason: why none can, in one clause; else None.
    """

    layer: str
    into: str | None
    reason: str | None

    def __str__(self) -> str:
        return f"{self.layer}: {self.reason if self.into is None else f'folds into {self.into}'}"


class Fold(NamedTuple):
    """As `Foldable`, with layers in place of names.

    in_front: what is in front of it, but for layers that do nothing in inference; None where that is unknown, or not the same for all of its calls.
    is_behind: whether the layer is behind the one that takes it up.
    is_output: whether a model returns what it makes.
    """

    layer: keras.Layer
    in_front: keras.Operation | None
    into: keras.Layer | None
    is_behind: bool
    is_output: bool
    reason: str | None


def foldable(model: keras.Model) -> list[Foldable]:
    """Of each batch normalisation layer of a model into which layer `fold` folds it, or why it cannot.

    A layer folds into the Dense or the convolution, transposed, depthwise or separable ones too, whose outputs nothing but it reads; else into a Dense or a
    convolution without padding that alone reads what it returns. Dropout and its like may stand between, as they do nothing in inference.

    Args:
        model: built. What layers and models compute by code of their own is unknown: those that they hold stay.

    Returns:
        One `Foldable` for each, in the order in which they are computed, what is held by code of one's own last.

    Raises:
        ValueError: a model that is not built, or has no such layer.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, name="linear"), keras.layers.BatchNormalization(name="normalised")])
        >>> print(*foldable(model))
        normalised: folds into linear
    """
    return [Foldable(fold.layer.name, None if fold.into is None else fold.into.name, fold.reason) for fold in folds(model)]


def folds(model: keras.Model) -> list[Fold]:
    """As `foldable`, with layers in place of names."""
    building.refuse_unbuilt(model)
    holders = (model, *keras_internals.layers_within(model))
    layers = [layer for layer in holders if isinstance(layer, keras.layers.BatchNormalization)]
    if not layers:
        raise ValueError(f"{model.name} has no batch normalisation layer; expected one at least: there is nothing to fold.")
    calls, planned = _Calls(holders), {}
    for layer in dict.fromkeys([*(one for one in calls.in_order if one in layers), *layers]):
        into, is_behind, reason = _fold(layer, calls, planned)
        planned[layer] = Fold(layer, _operation_in_front(layer, calls), into, is_behind, calls.is_output_of(layer, model), reason)
    return list(planned.values())


class _Calls:
    """Who calls what in the graphs of models.

    Attributes:
        in_order: all layers that graphs call, each once, as they are computed.
        holder: dict, a layer to the layer or model that may call it by code of its own.
    """

    def __init__(self, holders):
        self._of, self._readers, self._maker, self._outputs, self.holder = {}, {}, {}, set(), {}
        nodes = {}
        for holder in holders:
            graph = keras_internals.functional_graph(holder)
            if graph is None:
                self.holder |= dict.fromkeys(keras_internals.layers_held(holder), holder)
            else:
                self._outputs |= {id(tensor) for tensor in graph.outputs}
                nodes |= {id(node): node for node in keras_internals.nodes_of(graph)}  # One may belong to several graphs.
        for node in nodes.values():
            self._of.setdefault(node.operation, []).append(node)
            self._maker |= {id(tensor): node for tensor in node.outputs}
            for tensor in node.input_tensors:
                self._readers.setdefault(id(tensor), []).append(node)
        self.in_order = list(self._of)

    def of(self, operation) -> list:
        return self._of.get(operation, [])

    def maker(self, tensor):
        """The call that makes it; None for what a model receives."""
        return self._maker.get(id(tensor))

    def readers(self, tensor) -> list:
        return self._readers.get(id(tensor), [])

    def is_output(self, tensor) -> bool:
        """Whether a model returns it."""
        return id(tensor) in self._outputs

    def is_output_of(self, layer, model) -> bool:
        """Whether this model returns what the layer makes."""
        graph = keras_internals.functional_graph(model)
        return graph is not None and any(self.maker(tensor) in self.of(layer) for tensor in graph.outputs if self.maker(tensor) is not None)


def _operation_in_front(layer, calls):
    if len(calls.of(layer)) != 1:
        return None
    [call] = calls.of(layer)
    while (maker := calls.maker(call.input_tensors[0])) is not None:
        if type(maker.operation) not in NOTHING_IN_INFERENCE:
            return maker.operation
        call = maker
    return None


def _fold(layer, calls, before):
    """(into, is_behind, reason) as of `Fold`; before: of layers that are computed earlier."""
    if layer in calls.holder:
        holder = calls.holder[layer]
        return None, False, f"it is held by {holder.name} ({type(holder).__name__}), whose code says what is in front of it"
    if type(layer) not in KNOWN:
        return None, False, f"what a {type(layer).__name__} computes is its own"
    if len(calls.of(layer)) != 1:
        return None, False, f"it is shared by {len(calls.of(layer))} calls"
    [call] = calls.of(layer)
    if call.arguments.kwargs.get("training"):
        return None, False, "it is called with training=True, so that it normalises by the batch in inference, too"
    into, reason = _in_front(layer, call, calls, before)
    if into is not None:
        return into, True, None
    into = _behind(layer, call, calls)
    return (into, False, None) if into is not None else (None, False, reason)


def _in_front(layer, call, calls, before):
    """(the layer in front that takes it up, None), or (None, why none does)."""
    tensor = call.input_tensors[0]
    while True:
        maker = calls.maker(tensor)
        if maker is None:
            return None, "nothing of its model is in front of it"
        operation = maker.operation
        passes_on = type(operation) in NOTHING_IN_INFERENCE or (operation in before and before[operation].into is not None)
        reason = None if passes_on else _why_not_behind(operation, layer, calls, len(tensor.shape))
        if reason is None and calls.is_output(tensor):
            reason = f"{operation.name} in front of it is an output of its model, too"
        if reason is None and (number := len(calls.readers(tensor))) > 1:
            reason = f"{operation.name} in front of it is read by {number} layers"
        if reason is not None or not passes_on:
            return (operation if reason is None else None), reason
        tensor = maker.input_tensors[0]


def _why_not_behind(operation, layer, calls, rank):
    """Why a layer right behind this one does not fold into it."""
    if isinstance(operation, keras.Model):
        return f"the model {operation.name} is in front of it"
    if type(operation) not in affine.LINEAR:
        return f"{operation.name} ({type(operation).__name__}) is in front of it"
    if operation.activation is not keras.activations.linear:
        return f"{operation.name} in front of it has the activation {getattr(operation.activation, '__name__', type(operation.activation).__name__)}"
    if _channel_axis(operation, rank) != range(rank)[layer.axis]:
        return f"it normalises axis {range(rank)[layer.axis]}, and the channels of {operation.name} in front of it are axis {_channel_axis(operation, rank)}"
    if (number := len(calls.of(operation))) > 1:
        return f"{operation.name} in front of it is shared by {number} calls"
    if operation in calls.holder:
        return f"{operation.name} in front of it is held by {calls.holder[operation].name}, too"
    if not normalization_layers.has_ordinary_kernel(operation):
        return f"{operation.name} in front of it is quantised or adapted"
    if operation.compute_dtype != layer.compute_dtype:
        return f"it computes in {layer.compute_dtype}, and {operation.name} in front of it in {operation.compute_dtype}"
    return None


def _behind(layer, call, calls):
    """The layer behind that takes it up, or None."""
    tensor = call.outputs[0]
    while True:
        readers = calls.readers(tensor)
        if calls.is_output(tensor) or len(readers) != 1:
            return None
        operation, rank = readers[0].operation, len(tensor.shape)
        if type(operation) not in NOTHING_IN_INFERENCE:
            break
        tensor = readers[0].outputs[0]
    pads = getattr(operation, "padding", "valid") != "valid"
    is_linear = type(operation) in affine.LINEAR and type(operation) not in affine.TRANSPOSED and not pads
    if (
        not is_linear
        or len(calls.of(operation)) > 1
        or operation in calls.holder
        or not normalization_layers.has_ordinary_kernel(operation)
        or operation.compute_dtype != layer.compute_dtype
    ):
        return None
    return operation if _channel_axis(operation, rank) == range(rank)[layer.axis] else None


def _channel_axis(layer, rank):
    return 1 if getattr(layer, "data_format", "channels_last") == "channels_first" else rank - 1
