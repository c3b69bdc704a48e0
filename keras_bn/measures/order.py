"""In which order a model computes: its weights by their first use, and the layers with a kernel that this begins.

Read from the operations that one call of the model makes. So it holds for functional, sequential, nested and subclassed models alike; where a model
branches, it is one of its topological orders.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import keras
import tensorflow as tf

from keras_bn.measures import probe

KERNELS = ("kernel", "depthwise_kernel", "pointwise_kernel", "recurrent_kernel", "embeddings")  # Keras's names for what multiplies a layer's inputs.


class Stage(NamedTuple):
    """A layer with a kernel.

    layer: the layer; name: its place among its like, from 1, and its kind; kernels: places of its kernels in `model.trainable_variables`; earlier: places of
    all weights that are used before them, so that gamma and beta belong to the layer with a kernel that they follow.
    """

    layer: keras.Layer
    name: str
    kernels: list[int]
    earlier: frozenset[int]


def stages(model: keras.Model, x) -> list[Stage]:
    """The layers with a trainable kernel, in the order in which they compute.

    Args:
        model: built.
        x: inputs, as the model takes them.

    Raises:
        ValueError: there is none.
    """
    owners, found, used = _owners(model), [], []
    for place in _by_first_use(model, x):
        variable = model.trainable_variables[place]
        if variable.name in KERNELS:
            owner = owners[id(variable)]
            if not found or found[-1].layer is not owner:
                found.append(Stage(owner, f"{len(found) + 1:02d}_{kind(owner)}", [], frozenset(used)))
            found[-1].kernels.append(place)
        used.append(place)
    return found or _none(model)


def kind(layer: keras.Layer) -> str:
    """The name of a layer's class, as Keras names layers: Conv2D is conv2d."""
    return keras.src.utils.naming.to_snake_case(type(layer).__name__)


def chosen(found: list[Stage], layers: Iterable[str | int] | Callable | None) -> list[Stage]:
    """Those of the stages that are asked for.

    Args:
        found: from `stages`.
        layers: names of layers, or places from 1, or a function of the layer that says whether; None: all.

    Raises:
        ValueError: a name or a place that there is not, or none at all.
    """
    if layers is None:
        return found
    known = ", ".join(f"{place}: {stage.layer.name}" for place, stage in enumerate(found, 1))
    if callable(layers):
        picked = [stage for stage in found if layers(stage.layer)]
    else:
        picked = []
        for wanted in layers:
            matching = [stage for place, stage in enumerate(found, 1) if wanted in (place, stage.layer.name)]
            if not matching:
                raise ValueError(f"`layers` holds {wanted!r}; expected names or places of layers with a kernel, which are {known}: choose among these.")
            picked += matching
    if not picked:
        raise ValueError(f"`layers` chooses none; expected one at least of the layers with a kernel, which are {known}: choose among these.")
    return [stage for stage in found if stage in picked]


def refuse(model: keras.Model, layers: Iterable[str | int] | Callable | None) -> None:
    """Raises the ValueErrors of `stages` and `chosen` as far as they can be told without inputs."""
    owners = _owners(model)
    own = dict.fromkeys(owners[id(variable)] for variable in model.trainable_variables if variable.name in KERNELS)
    chosen([Stage(layer, layer.name, [], frozenset()) for layer in own] or _none(model), layers)


def _owners(model):
    """The layer of each trainable variable, by its id: the innermost, as those come last; but of a single recurrent cell, the layer that repeats it."""
    layers = (model, *probe.layers(model))
    repeating = [layer for layer in layers if isinstance(layer, keras.layers.RNN) and not isinstance(layer.cell, keras.layers.StackedRNNCells)]
    return {id(variable): layer for layer in (*layers, *repeating) for variable in layer.trainable_variables}


def _none(model):
    raise ValueError(f"{model.name} has no layer with a trainable kernel; expected a Dense, a convolution or their like: give it one that is trainable.")


def _by_first_use(model, x):
    """The places of the trainable variables in the order in which a call uses them first; those that it does not use are left out."""
    specs = [tf.TensorSpec(variable.shape, variable.dtype) for variable in model.trainable_variables]
    state = probe.values(model.non_trainable_variables)

    @tf.function(autograph=False)
    def call(weights, x):
        return probe.outputs(model, weights, state, x, training=True)

    graph = call.get_concrete_function(specs, probe.tensors(x)).graph
    first = {}
    for moment, operation in enumerate(graph.get_operations()):
        for tensor in operation.inputs:
            first.setdefault(tensor.name, moment)
    weights = graph.inputs[: len(specs)]
    used = [(first[tensor.name], place) for place, tensor in enumerate(weights) if tensor.name in first]
    return [place for _, place in sorted(used)]
