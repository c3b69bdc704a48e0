"""`internal_covariate_shift`: how much the gradient of a layer changes by the update of the layers before it."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_bn.measures import order, probe

# Weights from each of the layers on, added up. The graph of all passes grows with it, the square of the depth: VGG-16 with BN has 360, traced and optimised in
# 6 s; a ResNet-50 has 5,800, which takes two minutes and more memory than the training.
LARGEST = 1000


class CovariateShift(NamedTuple):
    """Of one layer. layer: its place and kind, such as 03_conv2d; l2: ||G - G'||; relative: l2 / ||G||; cosine: <G, G'> / (||G|| ||G'||)."""

    layer: str
    l2: float
    relative: float
    cosine: float


def internal_covariate_shift(
    model: keras.Model,
    before: Sequence[np.ndarray],
    after: Sequence[np.ndarray],
    x,
    y,
    sample_weight=None,
    layers: Iterable[str | int] | Callable | None = None,
) -> list[CovariateShift]:
    """How the gradient of each layer with a kernel differs between an update of all layers before it and none, on one batch.

        G[i]  = gradient of the loss to the kernel of layer i, all weights being `before`
        G'[i] = the same, the weights of all layers before i being `after`, those of i and of all later ones `before`
        l2 = ||G[i] - G'[i]||      relative = l2 / ||G[i]||      cosine = <G[i], G'[i]> / (||G[i]|| ||G'[i]||)

    With batch statistics, the same dropout masks in both, and regularisers as in training. gamma, beta and a bias move with the layer with a kernel that they
    follow; what precedes all of these is before each of them, and without such the first layer's shift is exactly 0. Nothing of the model changes.

    Args:
        model: compiled with a loss, built; functional, sequential, nested or subclassed. Where it branches, layers count in one of its topological orders.
        before, after: weights, like `model.trainable_variables`.
        x, y, sample_weight: a batch, as `fit` hands it to the model.
        layers: names of layers, or places among those with a kernel from 1, or a function of the layer that says whether; None: all.

    Returns:
        One `CovariateShift` for each layer, in their order. The units are those of the loss by those of the kernel. Where `before` equals `after`, l2 is 0 and
        the cosine 1. Where G is 0, `relative` is infinite or NaN; where one of the gradients is 0, the cosine is NaN.

    Raises:
        ValueError: a layer that there is not; a model without a layer with a kernel.

    Source: Santurkar et al. 2018, Definition 2.1. It does not say to which layer gamma and beta belong, nor whether batch statistics are meant.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> before = model.get_weights()
        >>> after = [value + 0.1 for value in before]
        >>> shift = internal_covariate_shift(model, before, after, np.ones((4, 2)), np.ones((4, 1)))
        >>> [(layer.layer, layer.l2 > 0) for layer in shift]
        [('01_dense', False), ('02_dense', True)]
    """
    x, y, sample_weight = probe.tensors((x, y, sample_weight))
    stages = order.chosen(order.stages(model, x), layers)
    weights = [probe.tensors(list(values)) for values in (before, after)]
    return told(stages, compiled(model, stages)(*weights, probe.values(model.non_trainable_variables), x, y, sample_weight))


def compiled(model: keras.Model, stages: Sequence[order.Stage]) -> Callable:
    """A function of (before, after, state, x, y, sample_weight, scale=1), returning a tensor (layers, 4): l2, <G, G>, <G', G'>, <G, G'>.

    Up to LARGEST it is one graph of all passes. What is larger is one gradient of all layers, traced once and computed once for each layer.
    """
    size = sum(len(model.trainable_variables) - len(stage.earlier) for stage in stages)
    return _together(model, stages) if size <= LARGEST else _one_by_one(model, stages)


def _together(model, stages):
    """What layers compute alike is computed once: everything before them, at `after`.

    Two are measured at a time: the weights at `before` are handed to one when the last but one is done with, so that its memory is free.
    """
    wanted = _kernels(stages)

    def measure(before, after, state, x, y, sample_weight, scale=1.0):
        def gradients(weights, wanted):
            return probe.gradients(model, weights, state, x, y, sample_weight, wanted, scale)[1]

        calls = probe.Calls(model)
        with calls.kept():
            probe.outputs(model, after, state, x, training=True)
        at_before = dict(zip(wanted, gradients(before, wanted)))
        rows = []
        for stage in stages:
            unmoved = moved = [at_before[place] for place in stage.kernels]
            if stage.earlier:
                with tf.control_dependencies(rows[-2:-1]):
                    mixed = _mixed(stage, after, [tf.identity(weight) for weight in before])
                with calls.taken(before=model.trainable_variables[stage.kernels[0]]):
                    moved = gradients(mixed, stage.kernels)
            rows.append(_compared(unmoved, moved))
        return tf.stack(rows)

    return probe.traced(measure)


def _one_by_one(model, stages):
    wanted = _kernels(stages)

    @probe.traced
    def gradients(weights, state, x, y, sample_weight, scale):
        return probe.gradients(model, weights, state, x, y, sample_weight, wanted, scale)[1]

    def measure(before, after, state, x, y, sample_weight, scale=1.0):
        def at(weights):
            return dict(zip(wanted, gradients(weights, state, x, y, sample_weight, scale)))

        at_before, rows = at(before), []
        for stage in stages:
            at_mixed = at(_mixed(stage, after, before)) if stage.earlier else at_before
            rows.append(_compared(*([found[place] for place in stage.kernels] for found in (at_before, at_mixed))))
        return tf.stack(rows)

    return measure


def _kernels(stages):
    return [place for stage in stages for place in stage.kernels]


def _mixed(stage, after, before):
    """The weights of G': those before the stage at `after`, its own and all later ones at `before`."""
    return [one if place in stage.earlier else other for place, (one, other) in enumerate(zip(after, before))]


def told(stages: Sequence[order.Stage], rows: tf.Tensor) -> list[CovariateShift]:
    """What `compiled` computed, as plain numbers."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return [
            CovariateShift(stage.name, float(l2), float(l2 / np.sqrt(unmoved)), float(along / np.sqrt(unmoved * moved)))
            for stage, (l2, unmoved, moved, along) in zip(stages, rows.numpy())
        ]


def _compared(unmoved, moved):
    """One row for the gradients of a layer's kernels."""
    unmoved, moved = (tf.cast(tf.concat([tf.reshape(gradient, [-1]) for gradient in each], 0), tf.float64) for each in (unmoved, moved))
    return tf.stack([tf.norm(unmoved - moved), *(tf.reduce_sum(one * other) for one, other in ((unmoved, unmoved), (moved, moved), (unmoved, moved)))])
