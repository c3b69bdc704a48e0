"""The layers with a kernel, in the order in which a model computes.

Read from the operations that one call of the model makes. So it holds for functional, sequential, nested and subclassed models alike; where a model
branches, it is one of its topological orders.
"""

import numbers
import re
import weakref
from collections.abc import Callable, Iterable
from typing import NamedTuple

import keras
import tensorflow as tf

from keras_bn import keras_internals
from keras_bn.inspection import evaluation
from keras_bn.inspection.evaluation import Batch
from keras_bn.inspection.objective import Objective
from keras_bn.inspection.prepared import prepared

KERNELS = ("kernel", "depthwise_kernel", "pointwise_kernel", "recurrent_kernel", "embeddings")  # Keras's names for what multiplies a layer's inputs.


class Stage(NamedTuple):
    """A layer with a kernel.

    layer: a weak reference to it, since stages are kept longer than models.
    number: its position among all layers with a kernel, from 1, trainable or not; name: that and its kind, such as 03_conv2d; with its role where another
        layer holds several alike, such as 03_multi_head_attention_key or 02_backward_lstm.
    kernels: indices of its trainable kernels in `model.trainable_variables`; earlier: indices of all weights that are used before the first of its kernels, but
        for its own, such as the bias that a GRU reads first. So gamma, beta and a bias belong to the layer with a kernel that they follow.
    """

    layer: Callable[[], keras.Layer]
    number: int
    name: str
    kernels: tuple[int, ...]
    earlier: frozenset[int]


class LayerOrder:
    """`LayerOrder(model, loss)(batch)`: the stages of a model, as its objective computes them; traced at the first call, whose batch stands for all others."""

    def __init__(self, model: keras.Model, loss: Callable | None = None):
        self._model, self._objective, self._stages = weakref.ref(model), prepared(Objective, model, loss), None

    def __call__(self, batch: Batch) -> list[Stage]:
        """The layers with a trainable kernel, in the order in which they compute.

        Args:
            batch: as the objective takes it.

        Raises:
            ValueError: there is none.
        """
        if self._stages is None:
            self._stages = _stages(self._model(), self._objective, batch)
        return self._stages


def kind(layer: keras.Layer) -> str:
    """The name of a layer's class, as Keras names layers: Conv2D is conv2d, BatchNormalization batch_normalization."""
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", type(layer).__name__))
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def chosen(stages: list[Stage], layers: Iterable[str | int] | Callable | None) -> list[Stage]:
    """Those of the stages that are asked for.

    Args:
        stages: of a model.
        layers: names of layers, or numbers of stages, or a function of the layer that returns whether it is chosen; None: all.

    Raises:
        ValueError: a name or a number that no stage has, or none chosen.
    """
    if layers is None:
        return stages
    known = ", ".join(f"{stage.number}: {stage.layer().name}" for stage in stages)
    if callable(layers):
        picked = [stage for stage in stages if layers(stage.layer())]
    else:
        picked = []
        for wanted in layers:
            matching = [stage for stage in stages if wanted in (stage.number, stage.layer().name)]
            if not matching:
                raise ValueError(f"`layers` holds {wanted!r}; expected names or numbers of layers with a kernel, which are {known}: choose among these.")
            picked += matching
    if not picked:
        raise ValueError(f"`layers` chooses none; expected one at least of the layers with a kernel, which are {known}: choose among these.")
    return [stage for stage in stages if stage in picked]


def trainable(stages: list[Stage]) -> list[Stage]:
    """Those with a trainable kernel, which have a gradient.

    Raises:
        ValueError: none has one.
    """
    if not any(stage.kernels for stage in stages):
        names = ", ".join(stage.layer().name for stage in stages)
        raise ValueError(f"all of the chosen layers are frozen: {names}; expected one at least whose kernel is trainable: set its `trainable`.")
    return [stage for stage in stages if stage.kernels]


def refuse(model: keras.Model, layers: Iterable[str | int] | Callable | None) -> int:
    """Raises the ValueErrors of `LayerOrder`, `chosen` and `trainable`, as far as they can be found without inputs. Returns how many layers are chosen."""
    owners, trainables = _owners(model), {id(variable) for variable in model.trainable_variables}
    kernels = {}  # Layer -> whether any kernel of it is trainable.
    for variable in model.variables:
        if variable.name in KERNELS:
            owner = owners[id(variable)]
            kernels[owner] = kernels.get(owner, False) or id(variable) in trainables
    stages = [Stage(weakref.ref(layer), number, "", (0,) if kernels[layer] else (), frozenset()) for number, layer in enumerate(kernels, 1)]
    picked = chosen(stages if any(kernels.values()) else _none(model), layers)
    if layers is None or callable(layers) or not any(isinstance(layer, numbers.Integral) for layer in layers):
        picked = trainable(picked)  # Which layer a number means, only the order of a call says.
    return len(picked)


def _stages(model, objective, batch):
    owners, weights = _owners(model), model.trainable_variables
    trainables = {id(variable): index for index, variable in enumerate(weights)}
    roles, stages, used, begin = _roles(model), [], [], 0  # begin: how many weights were used when the last stage began.
    for variable in _by_first_use(model, objective, batch):
        index = trainables.get(id(variable))
        if variable.name in KERNELS:
            owner = owners[id(variable)]
            if not stages or stages[-1].layer() is not owner:
                number = len(stages) + 1
                own = {one for one in used[begin:] if owners[id(weights[one])] is owner}
                stages.append(Stage(weakref.ref(owner), number, f"{number:02d}_{roles.get(owner) or kind(owner)}", (), frozenset(used) - own))
                begin = len(used)
            if index is not None:
                stages[-1] = stages[-1]._replace(kernels=(*stages[-1].kernels, index))
        if index is not None:
            used.append(index)
    return stages if any(stage.kernels for stage in stages) else _none(model)


def _roles(model):
    """For layers of which another one holds several alike, which of them each is."""
    roles = {}
    for layer in keras_internals.layers_within(model):
        if isinstance(layer, keras.layers.Bidirectional):
            roles |= {part: f"{way}_{kind(part)}" for way, part in (("forward", layer.forward_layer), ("backward", layer.backward_layer))}
        if isinstance(layer, keras.layers.MultiHeadAttention | keras.layers.GroupQueryAttention):
            roles |= {part: f"{kind(layer)}_{part.name}" for part in keras_internals.layers_within(layer)}
    return roles


def _owners(model):
    """The layer of each variable, by its id: the innermost, as those come last; but of a single recurrent cell, the layer that repeats it."""
    layers = (model, *keras_internals.layers_within(model))
    repeating = [layer for layer in layers if isinstance(layer, keras.layers.RNN) and not isinstance(layer.cell, keras.layers.StackedRNNCells)]
    return {id(variable): layer for layer in (*layers, *repeating) for variable in layer.variables}


def _none(model):
    raise ValueError(f"{model.name} has no layer with a trainable kernel; expected a Dense, a convolution or their like: give it one that is trainable.")


def _by_first_use(model, objective, batch):
    """The variables in the order in which an evaluation uses them first; those that it does not use are left out."""
    variables = [*model.trainable_variables, *model.non_trainable_variables]
    number = len(model.trainable_variables)
    specs = [tf.TensorSpec(variable.shape, variable.dtype) for variable in variables]

    @tf.function(autograph=False)
    def call(values, others, batch):
        return objective.forward(evaluation.Snapshot(values[:number], values[number:], others), batch)

    graph = call.get_concrete_function(specs, objective.snapshot(batch).others, batch).graph
    first = {}
    for moment, operation in enumerate(graph.get_operations()):
        for tensor in operation.inputs:
            first.setdefault(tensor.name, moment)
    moments = {index: first[tensor.name] for index, tensor in enumerate(graph.inputs[: len(specs)]) if tensor.name in first}
    return [variables[index] for index in sorted(moments, key=moments.get)]
