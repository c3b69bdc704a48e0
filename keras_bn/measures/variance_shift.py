"""`variance_shift`: how far the moving statistics are from those that the inputs have in inference."""

import itertools
import math
import weakref
from collections.abc import Iterable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_bn import functional, keras_internals
from keras_bn.inspection import batches, building, evaluation, normalization_layers
from keras_bn.inspection.channel_moments import channel_moments, pooled, stacked
from keras_bn.inspection.prepared import prepared
from keras_bn.measures.conclusions.shifts import moving_scatter
from keras_bn.measures.quantities import Colours, Quantity

NAME = "variance_shift"
QUANTITIES = (
    Quantity(
        "ratio",
        "1",
        "1: no shift",
        "variance in inference / moving variance, or its inverse",
        colours=Colours(logarithmic=True, lowest=1),
        worst="variance_shift",
    ),
    Quantity("mean_shift", "standard deviations", "no shift", "distance of the means in standard deviations", worst="variance_shift_of_means"),
    Quantity("lag", "1", "1: the moving variance is up to date", "lag: variance in training / moving variance"),
    Quantity("mode", "1", "1: training and inference agree", "mode: variance in inference / variance in training"),
    Quantity("error", "1", "these data leave no doubt", None),
    Quantity("mean_lag", "standard deviations", "the moving mean is up to date", "lag of the moving mean in standard deviations"),
    Quantity("mean_mode", "standard deviations", "training and inference agree", "inference against training, means, in standard deviations"),
    Quantity("mean_error", "standard deviations", "these data leave no doubt", None),
    Quantity("predicted_ratio", "1", "1: no shift", "variance in inference / variance in training with dropout, predicted"),
    # Of a training, which the callback knows, and the measure does not.
    Quantity("warm_up", "1", "nothing is left of the moving variance that the training began with", None),
    Quantity("mean_warm_up", "standard deviations", "nothing is left of the moving mean that the training began with", None),
    Quantity("mean_besides", "standard deviations", "the moving mean is off by nothing else", None),
)


class VarianceShift(NamedTuple):
    """Of one batch normalisation layer. All arrays are (C,), float64.

    layer: its number and kind, such as 02_batch_normalization.
    ratio: max(r, 1 / r), r = mean over the channels of `variance` / that of `moving_variance`; 1 is no shift.
    mean_shift: root of the mean square over the channels of (mean - moving_mean) / sqrt(moving_variance + epsilon): in standard deviations; 0 is no shift.
    moving_mean, moving_variance: what the layer normalises by in inference.
    mean, variance: of its inputs in inference, over all the data, divisor N.
    training_mean, training_variance: of its inputs in training mode at the same weights, which the moving statistics tend to: the means of the batches' means
        and variances.
    lag: mean over the channels of `training_variance` / that of `moving_variance`: below 1 the moving variance is too large, above 1 too small.
    mode: mean over the channels of the batches' variances in inference / that of `training_variance`: below 1 the inputs vary less in inference than in
        training, as behind Dropout.
    error: standard error of `lag` and of `mode`, relative, at most: s * sqrt(2 / B + (1 - momentum) / (1 + momentum)), s the relative scatter between the B
        batches of the variance in training; for one batch of N examples sqrt(2 / N). The last part is the scatter of the moving variance.
    mean_lag: root of the mean square over the channels of (training_mean - moving_mean) / sqrt(moving_variance + epsilon): in standard deviations.
    mean_mode: root of the mean square over the channels of (mean - training_mean) / sqrt(moving_variance + epsilon): in standard deviations.
    mean_error: what `mean_lag` is by chance, at most: the same of s * sqrt(2 / B + (1 - momentum) / (1 + momentum)) for each channel, s the scatter between the
        B batches of its mean in training; for one batch of N examples sqrt(training_variance / N).
    predicted_variance: where a Dropout stands in front of the layer, right there or behind one linear layer, the variance of the layer's inputs in training
        by the closed form; else None.
    predicted_ratio: max(r, 1 / r), r = mean of `variance` / mean of `predicted_variance`; else None.
    """

    layer: str
    ratio: float
    mean_shift: float
    moving_mean: np.ndarray
    moving_variance: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    training_mean: np.ndarray
    training_variance: np.ndarray
    lag: float
    mode: float
    error: float
    mean_lag: float
    mean_mode: float
    mean_error: float
    predicted_variance: np.ndarray | None
    predicted_ratio: float | None

    @property
    def ratios(self) -> np.ndarray:
        """max(r, 1 / r), r = variance / moving_variance, of every channel: (C,)."""
        return _either_way(self.variance, self.moving_variance)


def errors(number: int, momentum: float | None) -> float:
    """The standard error of a lag by the scatter between batches, where the data are `number` of them, and a moving average of that momentum saw others."""
    return math.sqrt(2 / number + moving_scatter(momentum))


def warm_up(shift: VarianceShift, mean: np.ndarray, variance: np.ndarray, left: float, epsilon: float) -> dict[str, float]:
    """What is left of the moving statistics that a training began with: the quantities warm_up, mean_warm_up and mean_besides.

    Args:
        mean, variance: which it began with, (C,).
        left: the share of them that is left, at most.
        epsilon: of the layer.
    """
    deviation = np.sqrt(shift.moving_variance + epsilon)
    with np.errstate(divide="ignore", invalid="ignore"):
        excess = variance.mean() / shift.training_variance.mean() - 1
        began, now = ((value - shift.training_mean) / deviation for value in (mean, shift.moving_mean))
        explained = np.clip(np.dot(began, now) / np.dot(began, began), 0, left) * began if began.any() else began
    besides = now - explained
    return {
        "warm_up": left * excess if left else 0.0,
        "mean_warm_up": float(np.sqrt(np.mean(explained**2))),
        "mean_besides": float(np.sqrt(np.mean(besides**2))),
    }


def variance_shift(model: keras.Model, data) -> list[VarianceShift]:
    """How the moving statistics of each batch normalisation layer differ from what its inputs have in inference, over the data given.

        ratio = max(r, 1 / r),  r = mean(variance) / mean(moving_variance)              means over the channels
        lag = mean(training_variance) / mean(moving_variance),  mode = the same in inference / mean(training_variance)
        r is lag * mode, and what the means of the batches differ by
        with Dropout in front of the layer, a value x becomes x * m in training, E m = 1, Var m = s = rate / (1 - rate), for UniformDropout beta**2 / 3:
        predicted_variance = variance + s * mean(x**2)                     right in front
        predicted_variance = variance + s * mean(sum(w**2 * x**2))         behind one linear layer (a Dense or a convolution) of the weights w

    In inference mode: without dropout, normalised by the moving statistics, none of which changes; `training_variance` in training mode, with dropout masks of
    its own for each batch. The batches should be as large as those of the training, as the variance within one grows with its size. Batches of unequal size are
    pooled exactly, in float64. Where a layer is called several times in one evaluation, all calls count together; masked positions do not count. What is traced
    is kept for the next call, until the model is compiled anew.

    Args:
        model: with at least one batch normalisation layer of a moving mean and variance. A layer that a call does not use is left out.
        data: inputs, or batches of them, or of them with targets, which are not used: arrays (cut into batches of 128), tf.data.Dataset, PyDataset or what
            else can be iterated over. For the paper's number, the training data with its augmentation.

    Returns:
        One `VarianceShift` for each layer, in the order in which the model holds them.

    Raises:
        ValueError: no such layer, no data, or a layer that is called within a loop.

    Source: Li, Chen, Hu & Yang 2018, sec. 4: ratio of means over channels, the larger of it and its inverse; eq. 7 and 8 for Dropout, and behind a linear
    layer what eq. 12 to 14 come from, without their assumption that all inputs correlate alike. Its split into lag and mode is ours. It takes the variance of
    the inputs by the moving average of momentum 0.9; here it is that of all values. It does not speak of means, whose ratio says nothing, as they lie around 0.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.BatchNormalization()])
        >>> [shift] = variance_shift(model, np.array([[0.0, 3.0], [4.0, 9.0]], "float32"))
        >>> shift.layer, shift.mean.tolist(), shift.variance.tolist(), shift.ratio
        ('01_batch_normalization', [2.0, 6.0], [4.0, 9.0], 6.5)
    """
    parts = batches.inputs(data)
    if not building.is_built(model):
        first = next(parts)
        building.build(model, evaluation.tensors(first))
        parts = itertools.chain([first], parts)  # A generator gives each batch once.
    return prepared(Measure, model)(parts)


class Measure:
    """`Measure(model)(batches)`: the variance shift of a model.

    Attributes:
        layer_names: dict, a result's `layer` to the layer's own name.
        batches: how many the last call received.
        in_front: dict, a result's `layer` to those of all layers that are in front of it; empty where functions run eagerly.
        acting: dict, a result's `layer` to the names of the layers in front of it that act in training only; all of the model's, where functions run eagerly.
    """

    def __init__(self, model: keras.Model):
        self._model, self.batches, self.in_front, self.acting = weakref.ref(model), 0, {}, {}
        self._names = {name: weakref.ref(layer) for layer, name in normalization_layers.names(model).items()}
        self.layer_names = {name: layer().name for name, layer in self._names.items()}
        self.called, self._noise = [], {}  # Filled when traced: names of the layers that a call of the model uses, and of some `Call.noise`, weakly.
        self._examples, self._is_traced = 0, False  # The former in the last batch.
        self._moments = channel_moments()
        self.function = evaluation.traced(self._moments_of_batch)

    @property
    def dropouts(self) -> dict[str, str]:
        """A result's `layer` to the name of the Dropout in front of it, as `VarianceShift.predicted_variance` has it, if it drops; once it has measured."""
        return {name: noise().name for name, noise in self._noise.items() if normalization_layers.noise_variance(noise())}

    def __call__(self, inputs: Iterable) -> list[VarianceShift]:
        """inputs: batches of what the model takes as `x`."""
        snapshot = evaluation.snapshot(self._model())
        parts = [self.of_batch(x, index, snapshot) for index, x in enumerate(inputs)]
        return self.shifts(parts, self._examples, snapshot)

    def shifts(self, parts: list, examples: int, snapshot: evaluation.Snapshot | None = None) -> list[VarianceShift]:
        """parts: of each batch what `of_batch` returns; examples: in the last batch; snapshot: as of `of_batch`."""
        self.batches, self._examples = len(parts), examples
        model = self._model()
        state = (snapshot or evaluation.snapshot(model)).state  # Read once: reading what workers keep apart takes all of them.
        moving = {id(variable): value.numpy().astype("float64") for variable, value in zip(model.non_trainable_variables, state)}
        return [self._shift(name, [part[index] for part in parts], moving) for index, name in enumerate(self.called)]

    def of_batch(self, x, index: int = 0, snapshot: evaluation.Snapshot | None = None):
        """For each layer the moments of its inputs on one batch, the mean of `Call.spread` or None, and the moments in training.

        Args:
            x: as the model takes it.
            index: of the batch.
            snapshot: of the model; None: as it is now.
        """
        x = evaluation.tensors(x)
        self._examples = batches.size_of(x)
        snapshot, index = snapshot or evaluation.snapshot(self._model()), tf.constant(index, tf.int64)
        with evaluation.without_graph_optimiser():
            if not self._is_traced:
                self._is_traced = True
                evaluation.trace_for_any_size(self.function, snapshot, x, index)
            return self.function(snapshot, x, index)

    def _moments_of_batch(self, snapshot, x, index):
        model = self._model()
        with normalization_layers.watched(model) as training_calls:
            evaluation.outputs(model, evaluation.advanced(model, snapshot, index), x, training=True)
        with normalization_layers.watched(model) as calls:
            evaluation.outputs(model, snapshot, x, training=False)
        return self.moments_of(training_calls, calls)

    def moments_of(self, training_calls: normalization_layers.Calls, calls: normalization_layers.Calls) -> list:
        """What `of_batch` returns, of an evaluation of the model in training mode and one in inference mode."""
        model = self._model()
        of_layer = {name: [call for call in calls if call.layer is layer()] for name, layer in self._names.items()}
        self.called = [name for name, calls in of_layer.items() if calls]
        self._keep_what_is_in_front(model, calls)
        last_calls = {name: of_layer[name][-1] for name in self.called}
        self._noise = {name: weakref.ref(call.noise) for name, call in last_calls.items() if call.noise is not None}
        results = []
        for name in self.called:
            last, layer = last_calls[name], self._names[name]()
            in_training = [self._moments(call.inputs, call.axis, call.mask) for call in training_calls if call.layer is layer]
            spread = None if last.spread is None else self._moments(last.spread, last.axis, last.mask).mean
            results.append((pooled([self._moments(call.inputs, call.axis, call.mask) for call in of_layer[name]]), spread, pooled(in_training)))
        return results

    def _keep_what_is_in_front(self, model, calls):
        names = {layer(): name for name, layer in self._names.items()}
        if tf.executing_eagerly():
            everywhere = [layer.name for layer in keras_internals.layers_within(model) if normalization_layers.acts_in_training_only(layer)]
            self.in_front, self.acting = {}, dict.fromkeys(self.called, everywhere)
            return
        in_front = {names[layer]: others for layer, others in normalization_layers.in_front(calls).items()}
        self.in_front = {name: {names[layer] for layer in others if layer in names} for name, others in in_front.items()}
        self.acting = {name: sorted(layer.name for layer in others if layer not in names) for name, others in in_front.items()}

    def _shift(self, name, parts, moving):
        layer = self._names[name]()
        moments, spreads, in_training = zip(*parts)
        moments, in_training = ([functional.Moments(*part) for part in each] for each in (moments, in_training))
        _, mean, variance = (value.numpy() for value in pooled(moments))
        within_batches = functional.average_moments(stacked(moments)).variance.numpy()
        _, training_mean, training_variance = (value.numpy() for value in functional.average_moments(stacked(in_training)))
        moving_mean, moving_variance = (moving[id(variable)] for variable in (layer.moving_mean, layer.moving_variance))
        larger = full(in_training)
        number, deviation = len(parts), np.sqrt(moving_variance + layer.epsilon)

        def in_deviations(difference):
            return float(np.sqrt(np.mean((difference / deviation) ** 2)))

        predicted = predicted_ratio = None
        noise = normalization_layers.noise_variance(self._noise[name]()) if name in self._noise else None
        if noise is not None:
            counts = [np.broadcast_to(count, mean.shape) for count, *_ in moments]
            predicted = variance + noise * np.average([spread.numpy() for spread in spreads], axis=0, weights=counts)
            predicted_ratio = float(_either_way(variance.mean(), predicted.mean()))
        return VarianceShift(
            layer=name,
            ratio=float(_either_way(variance.mean(), moving_variance.mean())),
            mean_shift=in_deviations(mean - moving_mean),
            moving_mean=moving_mean,
            moving_variance=moving_variance,
            mean=mean,
            variance=variance,
            training_mean=training_mean,
            training_variance=training_variance,
            lag=_ratio(training_variance, moving_variance),
            mode=_ratio(within_batches, training_variance),
            error=float(_scatter_of_variances([part.variance.numpy().mean() for part in larger], self._examples) * errors(number, layer.momentum)),
            mean_lag=in_deviations(training_mean - moving_mean),
            mean_mode=in_deviations(mean - training_mean),
            mean_error=in_deviations(_scatter_of_means([part.mean.numpy() for part in larger], training_variance, self._examples))
            * errors(number, layer.momentum),
            predicted_variance=predicted,
            predicted_ratio=predicted_ratio,
        )


def scatter_of_means(parts: list[functional.Moments], variance: np.ndarray, epsilon: float) -> float:
    """Root of the mean square over the channels of the standard deviation between batches of their mean, in standard deviations of the inputs.

    Args:
        parts: of each batch; variance: of the inputs, (C,).
    """
    means = [part.mean.numpy() for part in full(parts)]
    return float(np.sqrt(np.mean(np.var(means, axis=0, ddof=1) / (variance + epsilon)))) if len(means) > 1 else np.nan


def full(parts: list[functional.Moments]) -> list[functional.Moments]:
    """Those of half of the largest size at least. The last one of arrays may hold a single example, whose variance is 0, and which scatters more."""
    sizes = [np.max(part.count) for part in parts]
    return [part for part, size in zip(parts, sizes) if 2 * size >= max(sizes)]


def _scatter_of_variances(variances, examples):
    """Between batches, relative; variances: means over the channels, one a batch."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.std(variances, ddof=1) / np.mean(variances) if len(variances) > 1 else np.sqrt(2 / examples)


def _scatter_of_means(means, variance, examples):
    """Between batches, of each channel: (C,); means: (C,), one a batch."""
    return np.std(means, axis=0, ddof=1) if len(means) > 1 else np.sqrt(variance / examples)


def _ratio(one, other):
    """Of the means."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.divide(one.mean(), other.mean()))


def _either_way(one, other):
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.maximum(np.divide(one, other), np.divide(other, one))
