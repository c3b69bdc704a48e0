"""`activation_statistics`: what goes into the batch normalisation layers of a model, what comes out, and what the activations behind them make of it."""

import weakref
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_bn import functional
from keras_bn.inspection import building, evaluation, normalization_layers
from keras_bn.inspection.channel_moments import channel_moments
from keras_bn.inspection.evaluation import Batch, Snapshot
from keras_bn.inspection.objective import Objective
from keras_bn.inspection.prepared import prepared
from keras_bn.measures.quantities import Colours, Quantity

NAME = "activation_statistics"
PERCENTILES = (15, 50, 85)  # Ioffe & Szegedy 2015, fig. 1b, c.
_INPUT_PERCENTILES, _NONLINEARITY = "15th, 50th and 85th percentile of the inputs", "saturated values, dead channels"
QUANTITIES = (
    Quantity("input_mean", "activation", "", "mean of the inputs"),
    Quantity("input_stddev", "activation", "all values are the same", "standard deviation of the inputs", colours=Colours(logarithmic=True)),
    *(Quantity(f"input_p{percent}", "activation", "", _INPUT_PERCENTILES) for percent in PERCENTILES),
    Quantity("output_mean", "activation", "", None),
    Quantity("output_stddev", "activation", "all values are the same", None),
    *(Quantity(f"output_p{percent}", "activation", "", None) for percent in PERCENTILES),
    Quantity("mean_change", "activation", "the update does not reach this layer", "change of the inputs' means by one update"),
    Quantity("variance_change", "activation²", "the update does not reach this layer", "change of the inputs' variances by one update"),
    Quantity("saturated", "1", "no value is saturated", _NONLINEARITY, worst="saturated"),
    Quantity("dead", "1", "no channel is dead", _NONLINEARITY, worst="dead"),
    Quantity("gradient_norm", "loss / activation", "nothing is learned in front of this layer", None),
    Quantity("gradient_ratio", "1", "", "gradient norm, squared, by that of the next layer"),
)
# What the callback keeps unless it is told otherwise.
USUAL = ("input_mean", "input_stddev", "mean_change", "variance_change", "saturated", "dead", "gradient_ratio")
SAMPLE = 2**16  # Percentiles are of all values up to so many, else of about so many.
SATURATED = 0.01  # A sigmoid is saturated within this part of its range from either end.
_RANGES = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0)}


class Distribution(NamedTuple):
    """Of the inputs or outputs of one layer on one batch.

    mean, variance: of each channel, (C,), float64, divisor N; NaN where every position is masked; sample: the values that percentiles are of. Masked positions
    are in none of them.
    """

    mean: np.ndarray
    variance: np.ndarray
    sample: np.ndarray

    @property
    def percentiles(self) -> np.ndarray:
        """The 15th, 50th and 85th, over all channels: (3,); NaN where every position is masked."""
        return np.percentile(self.sample, PERCENTILES) if self.sample.size else np.full(len(PERCENTILES), np.nan)

    @property
    def overall_mean(self) -> float:
        """Over all channels, which have equally many values."""
        return float(self.mean.mean())

    @property
    def overall_stddev(self) -> float:
        """Over all channels: of all values from the overall mean."""
        return float(np.sqrt(np.mean(self.variance + (self.mean - self.mean.mean()) ** 2)))


class ActivationStatistics(NamedTuple):
    """Of one batch normalisation layer, on one batch.

    layer: its number and kind, such as 02_batch_normalization; inputs, outputs: `Distribution`.
    saturated: share of the values of a sigmoid or tanh right behind it that are within 1 % of its range from either end; None for other activations.
    dead: share of the channels of a ReLU right behind it that are 0 on the whole batch; None for other activations.
    gradient_norm: of the loss, to the layer's inputs; None without targets, and for inputs that are integers.
    gradient_ratio: square of `gradient_norm` by that of the next of the layers; None for the last, and where there is no norm.
    """

    layer: str
    inputs: Distribution
    outputs: Distribution | None
    saturated: float | None
    dead: float | None
    gradient_norm: float | None
    gradient_ratio: float | None

    @property
    def scalars(self) -> dict[str, float | None]:
        """The quantities of one evaluation, by their names; those of an update are not among them."""
        values = {name: getattr(self, name) for name in ("saturated", "dead", "gradient_norm", "gradient_ratio")}
        for side, distribution in (("input", self.inputs), *([("output", self.outputs)] if self.outputs else [])):
            values |= {f"{side}_mean": distribution.overall_mean, f"{side}_stddev": distribution.overall_stddev}
            values |= {f"{side}_p{percent}": value for percent, value in zip(PERCENTILES, distribution.percentiles)}
        return values


def changes(inputs: Distribution, mean: np.ndarray, variance: np.ndarray) -> dict[str, float]:
    """What an update changes of a layer's inputs: means over the channels of absolute differences. mean, variance: after it, (C,)."""
    return {"mean_change": np.abs(mean - inputs.mean).mean(), "variance_change": np.abs(variance - inputs.variance).mean()}


def activation_statistics(model: keras.Model, x, y=None, sample_weight=None, loss: Callable | None = None) -> list[ActivationStatistics]:
    """Moments, percentiles and the state of the activation for each batch normalisation layer, on one batch in training mode.

    With batch statistics and dropout, as the next training step would compute; nothing of the model changes. Activations are seen that are layers
    (`Activation`, `ReLU`) right behind the normalisation. Where a layer is called several times in one evaluation, its first call counts; masked positions do
    not count. What is traced is kept for the next call, until the model is compiled anew.

    Args:
        model: with at least one batch normalisation layer; compiled with a loss where there are targets.
        x: a batch, as the model takes it.
        y, sample_weight: its targets and weights, as `fit` takes them, for the gradients; or None.
        loss: as of `internal_covariate_shift`; with it there are gradients without targets, too, and x, y and sample_weight are what it takes.

    Returns:
        One `ActivationStatistics` for each layer, in the order in which they compute. Percentiles are of all values up to 65,536 a layer. Of more values they
        are of about so many: of all channels at positions that are drawn at random, one from each of equal parts, the same ones at each call.

    Raises:
        ValueError: no such layer, or one that is called within a loop.

    Source: percentiles: Ioffe & Szegedy 2015, fig. 1b, c, which shows one unit; the ratio: Yang et al. 2019, "A Mean Field Theory of Batch Normalization", by
    which it is pi / (pi - 1) = 1.467 a layer for ReLU nets at their start, and training is out of reach beyond some 50 layers.

    Example:
        >>> layers = [keras.layers.BatchNormalization(), keras.layers.ReLU()]
        >>> model = keras.Sequential([keras.Input((2,)), *layers])
        >>> [statistics] = activation_statistics(model, np.array([[0.0, 3.0], [4.0, 3.0]], "float32"))
        >>> statistics.layer, statistics.inputs.mean.tolist(), statistics.inputs.percentiles.round(2).tolist(), statistics.dead
        ('01_batch_normalization', [2.0, 3.0], [1.35, 3.0, 3.55], 0.5)
    """
    batch = evaluation.batch_of((x, y, sample_weight))
    building.build(model, batch.x)
    snapshot = prepared(Objective, model, loss).snapshot(batch)
    return prepared(Measure, model, loss)(snapshot, batch, gradients=y is not None or loss is not None)


class Measure:
    """`Measure(model, loss, outputs)(snapshot, batch, gradients)`: the activation statistics of a model.

    Args:
        outputs: whether the distribution of the outputs is wanted, which takes time; else it is None.

    Attributes:
        layer_names: dict, a result's `layer` to the layer's own name.
    """

    def __init__(self, model: keras.Model, loss: Callable | None = None, outputs: bool = True):
        self._outputs = outputs
        self._model, self._objective = weakref.ref(model), prepared(Objective, model, loss)
        self.layer_names = {name: layer.name for layer, name in normalization_layers.names(model).items()}
        self._called = []  # Names of the layers, in the order in which they compute; filled when traced.
        self._moments, self._sample = channel_moments(), evaluation.shared_by_shape(_sample)
        self.function, self._moments_of_inputs = evaluation.traced(self._computed), evaluation.traced(self._inputs_alone)

    def __call__(self, snapshot: Snapshot, batch: Batch, gradients: bool, scale=1.0) -> list[ActivationStatistics]:
        """gradients: whether they are wanted; scale: as of `Objective.gradients`."""
        scale = tf.convert_to_tensor(scale, tf.float32) if gradients else None
        results = [{name: value.numpy() for name, value in result.items()} for result in self.function(snapshot, batch, scale)]
        norms = [result.get("gradient_norm") for result in results]
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = [None if before is None or after is None else float(np.divide(before**2, after**2)) for before, after in zip(norms, [*norms[1:], None])]
        return [
            ActivationStatistics(
                layer=name,
                inputs=_distribution(result, "inputs"),
                outputs=_distribution(result, "outputs") if self._outputs else None,
                saturated=_plain(result.get("saturated")),
                dead=_plain(result.get("dead")),
                gradient_norm=_plain(norm),
                gradient_ratio=ratio,
            )
            for name, result, norm, ratio in zip(self._called, results, norms, ratios)
        ]

    def inputs_after(self, snapshot: Snapshot, batch: Batch) -> list[tuple[np.ndarray, np.ndarray]]:
        """The means and variances alone of the inputs of the same layers, at other weights."""
        # Optimised as `function` is, so that what an update does not reach has the same bits.
        return [tuple(value.numpy() for value in moments) for moments in self._moments_of_inputs(snapshot, batch)]

    def _computed(self, snapshot, batch, scale):
        """One dict a layer; without gradients for a scale of None."""
        model, gradients = self._model(), scale is not None
        with tf.GradientTape(watch_accessed_variables=False) as tape, normalization_layers.watched(model, watch=_watched_by(tape)) as calls:
            if gradients:
                loss = self._objective.loss(snapshot, batch)
                loss *= tf.cast(scale, loss.dtype)
            else:
                self._objective.forward(snapshot, batch)
        first_calls = _first_calls(calls)
        names = normalization_layers.names(model)
        self._called = [names[call.layer] for call in first_calls]
        results = [self._of_call(call) for call in first_calls]
        if gradients:
            differentiable = [index for index, call in enumerate(first_calls) if call.inputs.dtype.is_floating]
            inputs = [first_calls[index].inputs for index in differentiable]
            at_inputs = tape.gradient(loss, inputs, unconnected_gradients=tf.UnconnectedGradients.ZERO)
            for index, gradient in zip(differentiable, at_inputs):
                results[index]["gradient_norm"] = tf.norm(tf.cast(gradient, tf.float64)) / tf.cast(scale, tf.float64)
        return results

    def _inputs_alone(self, snapshot, batch):
        with normalization_layers.watched(self._model()) as calls:
            self._objective.forward(snapshot, batch)
        return [self._mean_and_variance(call, call.inputs) for call in _first_calls(calls)]

    def _mean_and_variance(self, call, values):
        """NaN where every position is masked."""
        count, *moments = self._moments(values, call.axis, call.mask)
        return [tf.where(count > 0, value, np.nan) for value in moments]

    def _of_call(self, call):
        axis, result = call.axis, {}
        for name, values in (("inputs", call.inputs), *([("outputs", call.outputs)] if self._outputs else [])):
            result[f"{name}_mean"], result[f"{name}_variance"] = self._mean_and_variance(call, values)
            result[f"{name}_sample"] = self._sample(values, axis, call.mask)
        if call.activation is not None:
            kind, outputs = call.activation
            counted = _counted(outputs, axis, call.mask)
            if kind in _RANGES:
                low, high = _RANGES[kind]
                near = SATURATED * (high - low)
                saturated = (outputs < low + near) | (outputs > high - near)
                result["saturated"] = _share(saturated if counted is None else tf.boolean_mask(saturated, counted))
            if kind == "relu":
                others = [index for index in range(outputs.shape.rank) if index != range(outputs.shape.rank)[axis]]
                dead = tf.reduce_all((outputs == 0) if counted is None else (outputs == 0) | ~counted, others)
                result["dead"] = _share(dead if counted is None else tf.boolean_mask(dead, tf.reduce_any(counted, others)))
        return result


def _first_calls(calls):
    """Of each layer, in the order in which they compute."""
    return list({call.layer: call for call in reversed(calls)}.values())[::-1]


def _watched_by(tape):
    return lambda inputs: tape.watch(inputs) if inputs.dtype.is_floating else None


def _distribution(result, side):
    return Distribution(*(result[f"{side}_{part}"].astype("float64") for part in Distribution._fields))


def _plain(value):
    return None if value is None else float(value)


def _share(flags):
    return tf.reduce_mean(tf.cast(flags, tf.float32))


def _counted(values, axis, mask):
    """Which values the mask lets count: bool, of the shape of `values`; None for all. `functional.moments` reads masks in the same way."""
    if mask is None:
        return None
    shape, axis = tf.shape(values), range(values.shape.rank)[axis]
    if mask.shape.rank == values.shape.rank:
        return tf.broadcast_to(mask, shape)
    others = [index for index in range(values.shape.rank) if index != axis]
    if functional.mask_fits(mask.shape, [values.shape[index] for index in others]):
        return tf.broadcast_to(tf.expand_dims(tf.broadcast_to(mask, tf.gather(shape, others)), axis), shape)
    return tf.broadcast_to(mask[..., tf.newaxis], shape)


def _sample(values, axis, mask):
    """(n,): all values that count, or of about SAMPLE of them all channels of a position.

    Positions at equal distances would be multiples of an image's width, and see its edge only; so one is drawn from each of equal parts.
    """
    counted = _counted(values, axis, mask)
    rows = _by_position(values, axis)
    if counted is not None:
        counted = _by_position(counted, axis)
        real = tf.reduce_any(counted, 1)
        rows, counted = tf.boolean_mask(rows, real), tf.boolean_mask(counted, real)
    present, channels = tf.shape(rows)[0], tf.shape(rows)[1]
    number = tf.minimum(present, tf.maximum(1, SAMPLE // channels))
    within = tf.random.stateless_uniform([number], seed=(0, 0), dtype=tf.float64)
    positions = tf.cast((tf.cast(tf.range(number), tf.float64) + within) * (present / tf.maximum(1, number)), tf.int32)
    drawn = tf.gather(rows, positions)
    drawn = tf.reshape(drawn, [-1]) if counted is None else tf.boolean_mask(drawn, tf.gather(counted, positions))
    return tf.cast(drawn, tf.float32)


def _by_position(values, axis):
    """(positions, C)"""
    if range(values.shape.rank)[axis] != values.shape.rank - 1:
        values = tf.experimental.numpy.moveaxis(values, axis, -1)
    return tf.reshape(values, [-1, tf.shape(values)[-1]])
