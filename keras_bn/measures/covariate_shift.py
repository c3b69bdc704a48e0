"""`internal_covariate_shift`: how much the gradient of a layer changes by the update of the layers before it."""

import contextlib
import functools
import itertools
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_bn.inspection import evaluation
from keras_bn.inspection.chain import Chain
from keras_bn.inspection.evaluation import Batch
from keras_bn.inspection.layer_order import LayerOrder, Stage, chosen, trainable
from keras_bn.inspection.objective import Objective
from keras_bn.inspection.prepared import prepared
from keras_bn.inspection.recorded_calls import RecordedCalls
from keras_bn.inspection.update import Update
from keras_bn.measures.quantities import Colours, Quantity

NAME = "internal_covariate_shift"
QUANTITIES = (
    Quantity("l2", "loss / weight", "the update of the layers before changes nothing for this one", "||G - G'||"),
    Quantity(
        "relative",
        "1",
        "the update of the layers before changes nothing for this one",
        "||G - G'|| / ||G||",
        colours=Colours(logarithmic=True),
        worst="covariate_shift",
    ),
    Quantity("cosine", "1", "G and G' have nothing to do with each other", "cosine of G and G'", colours=Colours(lowest=-1, highest=1)),
    Quantity("update_size", "1", "the layer does not move", "size of each layer's update by that of its kernel"),
    Quantity("loss", "loss", "", None, by_layer=False),
)

# The sum, over the layers, of the number of weights from that layer on. The graph of all passes grows with it, so with the square of the depth: VGG-16 with
# BN has 360, traced and optimised in 6 s; a ResNet-50 has 5,800, for which that takes two minutes and more memory than the training.
LARGEST = 1000


class CovariateShift(NamedTuple):
    """Of one layer.

    layer: its number and kind, such as 03_conv2d; l2: ||G - G'||; relative: l2 / ||G||; cosine: <G, G'> / (||G|| ||G'||).
    update_size: norm of the update of its kernel by that of the kernel. Where it is about 0 the others say nothing of layers behind.
    """

    layer: str
    l2: float
    relative: float
    cosine: float
    update_size: float


def internal_covariate_shift(
    model: keras.Model,
    before: Sequence[np.ndarray],
    after: Sequence[np.ndarray],
    x,
    y,
    sample_weight=None,
    layers: Iterable[str | int] | Callable | None = None,
    loss: Callable | None = None,
) -> list[CovariateShift]:
    """How the gradient of each layer with a kernel differs between an update of all layers before it and none, on one batch.

        G[i]  = gradient of the loss to the kernel of layer i, all weights being `before`
        G'[i] = the same, the weights of all layers before i being `after`, those of i and of all later ones `before`
        l2 = ||G[i] - G'[i]||      relative = l2 / ||G[i]||      cosine = <G[i], G'[i]> / (||G[i]|| ||G'[i]||)
        update_size = ||after[i] - before[i]|| / ||before[i]||

    With batch statistics, the same dropout masks in both, and regularisers as in training. gamma, beta and a bias move with the layer with a kernel that they
    follow. Weights in front of the first kernel count as before every layer; without such weights the first layer's shift is exactly 0. Frozen layers are left
    out, but keep their number. Nothing of the model changes. What is traced is kept for the next call, until the model is compiled anew.

    Args:
        model: compiled with a loss, unless `loss` is given; built; functional, sequential, nested or subclassed. Where it branches, layers count in one of its
            topological orders.
        before, after: weights, like `model.trainable_variables`.
        x, y, sample_weight: a batch, as `fit` hands it to the model.
        layers: names of layers, or positions among those with a kernel from 1, frozen ones included, or a function of the layer that returns whether it is
            chosen; None: all.
        loss: function of (model, x, y, sample_weight) that returns a scalar tensor, such as what a `train_step` of one's own minimises. It calls the model with
            training=True, and draws by keras.random. None: the loss that the model was compiled with, and its penalties.

    Returns:
        One `CovariateShift` for each layer with a trainable kernel, in their order. The units are those of the loss by those of the kernel. Where `before`
        equals `after`, l2 is 0 and the cosine 1. Where G is 0, `relative` is infinite or NaN; where one of the gradients is 0, the cosine is NaN.

    Raises:
        ValueError: `before` or `after` are not like the trainable weights; `loss` is no scalar; `layers` names a layer that does not exist or chooses none
            that is trainable; no layer has a trainable kernel.

    Source: Santurkar et al. 2018, Definition 2.1. It does not say to which layer gamma and beta belong, nor whether batch statistics are meant.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> before = [weight.numpy() for weight in model.trainable_variables]
        >>> after = [value + 0.1 for value in before]
        >>> shift = internal_covariate_shift(model, before, after, np.ones((4, 2)), np.ones((4, 1)))
        >>> [(layer.layer, layer.l2 > 0) for layer in shift]
        [('01_dense', False), ('02_dense', True)]
    """
    for name, weights in (("before", before), ("after", after)):
        _refuse_weights(model, name, weights)
    batch = evaluation.batch_of((x, y, sample_weight))
    snapshot = prepared(Objective, model, loss).snapshot(batch)._replace(weights=evaluation.tensors(list(before)))
    return measure_of(model, batch, layers, loss)(Update(snapshot, evaluation.tensors(list(after)), batch))


def measure_of(model: keras.Model, batch: Batch, layers: Iterable[str | int] | Callable | None = None, loss: Callable | None = None) -> "Measure":
    """The measure of these layers, prepared once for the model; arguments as of `internal_covariate_shift`, by a batch."""
    stages = trainable(chosen(prepared(LayerOrder, model, loss)(batch), layers))
    return prepared(Measure, model, tuple(stages), loss)


def _refuse_weights(model, name, weights):
    shapes, expected = ([tuple(np.shape(weight)) for weight in each] for each in (weights, model.trainable_variables))
    if shapes != expected:
        differing = next((index for index, pair in enumerate(zip(shapes, expected)) if len(set(pair)) > 1), None)
        which = "" if differing is None else f", of which that at index {differing} has shape {shapes[differing]} instead of {expected[differing]}"
        raise ValueError(
            f"`{name}` holds {len(shapes)} weights{which}; expected {len(expected)}, like `model.trainable_variables` of a built model: take copies of those."
        )


class Measure:
    """`Measure(model, stages, loss)(update)`: the covariate shift of these stages of a model.

    Up to LARGEST the passes of all layers are one graph, which small nets compute fastest. A larger net is a `Chain`, in which one traced pass
    serves all layers.

    Attributes:
        layer_names: dict, a result's `layer` to the layer's own name.
    """

    def __init__(self, model: keras.Model, stages: Sequence[Stage], loss: Callable | None = None):
        self._model, self._stages, self._objective = weakref.ref(model), stages, prepared(Objective, model, loss)
        self._records = loss is None
        self._indices = [index for stage in stages for index in stage.kernels]
        self.layer_names = {stage.name: stage.layer().name for stage in stages}
        size = sum(len(model.trainable_variables) - len(stage.earlier) for stage in stages)
        self._chain = None if size <= LARGEST else Chain(model, self._objective, self._indices)
        self.function = evaluation.traced(self._computed)

    def __call__(self, update: Update, scale=1.0) -> list[CovariateShift]:
        """One result for each stage; scale: as of `Objective.gradients`."""
        return self.with_loss(update, scale)[1]

    def with_loss(self, update: Update, scale=1.0) -> tuple[float, list[CovariateShift]]:
        """The loss before the update, and the same."""
        # Without the optimiser the one graph of small nets takes more memory.
        with contextlib.nullcontext() if self._chain is None else evaluation.without_graph_optimiser():
            results = self.function(update.before, update.after, update.batch, tf.convert_to_tensor(scale, tf.float32))
        loss, rows, sizes = (result.numpy() for result in results)
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(loss), [
                CovariateShift(stage.name, float(l2), float(l2 / np.sqrt(before)), float(product / np.sqrt(before * mixed)), float(np.sqrt(size)))
                for stage, (l2, before, mixed, product), size in zip(self._stages, rows, sizes)
            ]

    def _computed(self, before, after, batch, scale):
        """The loss, the rows of `_compared`, (layers, 4), and `_update_sizes`."""
        loss, gradients = self._objective.gradients(before, batch, self._indices, scale)
        rows = self._in_one_graph if self._chain is None else self._by_chain
        return loss, rows(dict(zip(self._indices, gradients)), before, after, batch, scale), self._update_sizes(before.weights, after)

    def _in_one_graph(self, unmixed, before, after, batch, scale):
        """The rows. unmixed: G of each kernel by its index.

        Layers that G' computes with the weights `after` are computed once, and taken from a record in each pass.

        Not so for a loss that is a function: it may differentiate by its inputs, which a record is not connected to.

        Two stages are computed at a time: a stage receives the weights when the last but one is done, so that its memory is free.
        """
        model = self._model()
        calls = RecordedCalls(model)
        if self._records:
            with calls.recording(), tf.GradientTape() as tape:
                # Watched by a tape, layers compute as they do in the passes that reuse their outputs, to the bit.
                tape.watch([after[index] for index in self._indices])
                evaluation.outputs(model, before._replace(weights=after), batch.x, training=True)
        rows = []
        for stage in self._stages:
            at_before = at_mixed = [unmixed[index] for index in stage.kernels]
            if stage.earlier:
                with tf.control_dependencies(rows[-2:-1]):
                    weights = _mixed(stage, after, [tf.identity(weight) for weight in before.weights])
                first = model.trainable_variables[stage.kernels[0]]
                with calls.replaying(before=first) if self._records else contextlib.nullcontext():
                    at_mixed = self._objective.gradients(before._replace(weights=weights), batch, stage.kernels, scale)[1]
            rows.append(_compared(at_before, at_mixed))
        return tf.stack(rows)

    def _by_chain(self, unmixed, before, after, batch, scale):
        """The same, of one layer after the other: its pass begins with the first link that reads a weight that is not moved."""
        computed = self._chain.computed(before._replace(weights=after), batch)
        first = [self._chain.links_within(stage.earlier) for stage in self._stages]
        mixing = set().union(*(stage.earlier & self._chain.read_from(number) for stage, number in zip(self._stages, first)))
        groups = [list(group) for _, group in itertools.groupby(self._stages, key=lambda stage: self._chain.links_of(stage.kernels))]
        first, earlier = tf.constant(first), tf.constant([[index in stage.earlier for index in range(len(after))] for stage in self._stages])
        moved = tf.stack([tf.reduce_any(one != other) for one, other in zip(before.weights, after)])
        shifted = tf.where(tf.reduce_any(earlier & moved, 1))

        def row(number):
            number = tf.cast(number[0], tf.int32)
            weights = [tf.where(earlier[number, index], after[index], one) if index in mixing else one for index, one in enumerate(before.weights)]
            completed = self._chain.passed(computed, first[number], before._replace(weights=weights), batch, scale)

            def of_group(group, begin):
                kernels = [index for stage in group for index in stage.kernels]
                mixed = dict(zip(kernels, self._chain.gradients(completed, kernels, scale)))
                results = [_compared(*([each[index] for index in stage.kernels] for each in (unmixed, mixed))) for stage in group]
                return tf.stack(results)[number - begin]

            nothing, results = tf.zeros(4, tf.float64), []
            for group in groups:
                begin = self._stages.index(group[0])
                within = (number >= begin) & (number < begin + len(group))
                results.append(tf.cond(within, functools.partial(of_group, group, begin), lambda: nothing))
            return tf.add_n(results)

        unshifted = tf.stack([_compared(gradients, gradients) for gradients in ([unmixed[index] for index in stage.kernels] for stage in self._stages)])
        rows = tf.map_fn(row, shifted, parallel_iterations=1, fn_output_signature=tf.TensorSpec((4,), tf.float64))
        return tf.tensor_scatter_nd_update(unshifted, shifted, rows)

    def _update_sizes(self, before, after):
        """(layers,): the squares of ||after - before|| / ||before|| of the kernels of each."""

        def square(values):
            return tf.add_n([tf.reduce_sum(tf.square(tf.cast(value, tf.float64))) for value in values])

        pairs = [[(tf.cast(before[index], tf.float64), tf.cast(after[index], tf.float64)) for index in stage.kernels] for stage in self._stages]
        return tf.stack([square([later - now for now, later in each]) / square([now for now, _ in each]) for each in pairs])


def _mixed(stage, after, before):
    """The weights of G': those used before the stage are `after`, its own and all later ones `before`."""
    return [one if index in stage.earlier else other for index, (one, other) in enumerate(zip(after, before))]


def _compared(unmixed, mixed):
    """(4,), float64, of the gradients to a layer's kernels: ||G - G'||, <G, G>, <G', G'>, <G, G'>."""
    g, g_mixed = (tf.cast(tf.concat([tf.reshape(gradient, [-1]) for gradient in each], 0), tf.float64) for each in (unmixed, mixed))
    return tf.stack([tf.norm(g - g_mixed), *(tf.reduce_sum(one * other) for one, other in ((g, g), (g_mixed, g_mixed), (g, g_mixed)))])
