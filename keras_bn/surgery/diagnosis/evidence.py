"""`gathered`: what a model computes on data in training mode, in inference mode, and in inference mode with population statistics, and what of it is known."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_bn import functional, keras_internals
from keras_bn.inspection import batches, building, evaluation, normalization_layers, objective
from keras_bn.inspection.errors import evaluating
from keras_bn.inspection.evaluation import Batch
from keras_bn.measures.conclusions import shifts
from keras_bn.measures.conclusions.conclusion import CERTAIN
from keras_bn.measures.conclusions.shifts import Normalization
from keras_bn.measures.variance_shift import NAME, QUANTITIES, Measure, VarianceShift, errors, scatter_of_means, warm_up
from keras_bn.surgery.diagnosis import evaluations
from keras_bn.surgery.diagnosis.evaluations import Evaluation
from keras_bn.surgery.diagnosis.finding import several_layers
from keras_bn.surgery.diagnosis.non_finite import NonFinite, first_not_finite
from keras_bn.surgery.foldable import Fold, folds
from keras_bn.surgery.recalibrate import SEQUENTIAL, population

TRAINING, INFERENCE, RECALIBRATED = "training mode", "inference mode", "recalibrated"


class Evidence(NamedTuple):
    """What a diagnosis judges by. Layers go by their names in tags, such as 02_batch_normalization; only those that a call of the model uses are here.

    sizes: examples in each batch.
    is_dataset: whether the data are a tf.data.Dataset.
    not_finite: the first thing that is not; all that follows is empty then.
    layers: dict, name to layer, in the order in which the model holds them.
    shifts: dict, name to `measures.variance_shift.VarianceShift`; record: the same as a record of numbers by tags, with warm-up.
    normalizations: dict, name to `Normalization`; momentum 1: the layer normalises by its moving statistics in training mode, too.
    values: dict, name to values a channel in each batch, (B,), of one call.
    scatter: dict, name to the standard deviation of the means between batches in training mode, in standard deviations of the inputs.
    active: dict, name of a layer with a ReLU right behind to whether each channel of it is above 0 anywhere in training mode, (C,).
    evaluations: dict, `TRAINING`, `INFERENCE` and, where something was off, `RECALIBRATED` to `Evaluation`; empty without a loss or targets.
    unjudged: why there are no evaluations; else None.
    folds: of `foldable.folds`.
    steps: of the optimizer so far; None where none is known.
    """

    model: keras.Model
    sizes: np.ndarray
    is_dataset: bool
    not_finite: NonFinite | None
    layers: Mapping[str, keras.Layer] = {}
    shifts: Mapping[str, VarianceShift] = {}
    record: Mapping[str, float] = {}
    normalizations: Mapping[str, Normalization] = {}
    values: Mapping[str, np.ndarray] = {}
    scatter: Mapping[str, float] = {}
    active: Mapping[str, np.ndarray] = {}
    evaluations: Mapping[str, Evaluation] = {}
    unjudged: str | None = None
    folds: tuple[Fold, ...] = ()
    steps: int | None = None

    def several(self, names: Iterable[str]) -> dict:
        """For `Finding.measured`."""
        return several_layers(self.layers[name] for name in names)


def gathered(model: keras.Model, data, batch_size: int, progress: Callable[[str], Callable]) -> Evidence:
    """
    Args:
        model, data, batch_size: as of `diagnose`.
        progress: makes, of what is counted, a function that receives how many of how many are done.

    Raises:
        ValueError: as of `diagnose`.
    """
    examined = _Examined(model)
    sizes = np.asarray(examined.read(data, batch_size, progress("batches")))
    if examined.not_finite is not None:
        return Evidence(model, sizes, isinstance(data, tf.data.Dataset), examined.not_finite)
    evidence = examined.evidence(sizes)._replace(is_dataset=isinstance(data, tf.data.Dataset))
    if evidence.evaluations and _is_off(evidence):
        evidence.evaluations[RECALIBRATED] = _recalibrated(evidence, data, batch_size, progress)
    return evidence


def _is_off(evidence):
    """Whether anything is to be gained by recalibrating."""
    worse = evaluations.difference(evidence.evaluations[INFERENCE], evidence.evaluations[TRAINING])
    record, layers = evidence.record, evidence.normalizations
    shifted = shifts.lags(record, layers) or shifts.modes(record, layers) or shifts.shifted_by_dropout(record, layers)
    return bool(shifted) or worse.value > CERTAIN * worse.error


class _Examined:
    """What batches tell of a model in both modes, traced once."""

    def __init__(self, model):
        self._model, self._measure = model, Measure(model)
        self._layers = {name: layer for layer, name in normalization_layers.names(model).items()}
        self._parts, self._values, self._losses, self._active = [], {}, {TRAINING: [], INFERENCE: []}, {}
        self._fixed, self._calls, self.unjudged, self.not_finite, self._metrics = set(), {}, None, None, {}

    def read(self, data, batch_size, progress):
        """Reads all batches, until one that is not finite. Returns their sizes."""
        model, function, sizes = self._model, None, []
        number = batches.number(data, batch_size)
        with evaluations.Metrics(model) as metrics:
            for index, batch in enumerate(batches.examples(data, batch_size)):
                batch = Batch(*evaluation.tensors(batch))
                if not building.is_built(model):
                    building.build(model, batch.x)
                if function is None:
                    function, snapshot = evaluation.traced(self._batch), evaluation.snapshot(model)
                    self.unjudged = _why_unjudged(model, batch)
                    with evaluating(model, "fit"):
                        evaluation.trace_for_any_size(function, snapshot, batch, tf.constant(0, tf.int64))
                with evaluating(model, "fit"), evaluation.without_graph_optimiser():
                    parts, of_modes, active, is_finite = function(snapshot, batch, tf.constant(index, tf.int64))
                sizes.append(batches.size_of(batch.x))
                if not is_finite:
                    self.not_finite = first_not_finite(model, snapshot, batch, self.unjudged is None)
                    break
                self._keep(parts, of_modes, active)
                for mode, (outputs, loss) in of_modes.items():
                    if loss is not None:
                        metrics.update(mode, batch, outputs)
                progress(index + 1, number)
            self._metrics = {mode: metrics.results(mode) for mode in self._losses}
        return sizes

    def _batch(self, snapshot, batch, index):
        model, all_calls, of_modes = self._model, {}, {}
        for mode, given in ((TRAINING, evaluation.advanced(model, snapshot, index)), (INFERENCE, snapshot)):
            with normalization_layers.watched(model) as all_calls[mode], evaluation.stateless(model, given) as scope:
                outputs, loss = _outputs_and_loss(model, batch, mode == TRAINING, self.unjudged is None)
                if mode == TRAINING:
                    self._fixed = {name for name, layer in self._layers.items() if not _is_assigned(model, scope, given, layer.moving_mean)}
            of_modes[mode] = outputs, loss
        calls = all_calls[TRAINING]
        self._calls = {name: sum(call.layer is layer for call in calls) for name, layer in self._layers.items()}
        parts = self._measure.moments_of(calls, all_calls[INFERENCE])
        active = {}
        for name, layer in self._layers.items():
            of_layer = [_is_active(call) for call in calls if call.layer is layer and call.activation is not None and call.activation[0] == "relu"]
            if of_layer:
                active[name] = tf.reduce_any(tf.stack(of_layer), axis=0)
        values = [value for outputs, loss in of_modes.values() for value in (*tf.nest.flatten(outputs, expand_composites=True), loss) if value is not None]
        values += [value for call in (*calls, *all_calls[INFERENCE]) for value in (call.inputs, call.outputs)]
        is_finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(value)) for value in values if value.dtype.is_floating])
        return parts, of_modes, active, is_finite

    def _keep(self, parts, of_modes, active):
        self._parts.append(parts)
        for name, part in zip(self._measure.called, parts):
            count = np.max(part[2].count.numpy()) / max(1, self._calls[name])
            self._values.setdefault(name, []).append(count)
        for mode, (_, loss) in of_modes.items():
            if loss is not None:
                self._losses[mode].append(float(loss))
        for name, channels in active.items():
            self._active[name] = channels.numpy() | self._active.get(name, False)

    def evidence(self, sizes):
        model, measure, steps = self._model, self._measure, _steps(self._model)
        measured = {shift.layer: shift for shift in measure.shifts(self._parts, int(sizes[-1]))}
        normalizations, record, scatter = {}, {}, {}
        for name, shift in measured.items():
            layer = self._layers[name]
            is_fixed = name in self._fixed
            normalizations[name] = Normalization(
                momentum=1.0 if is_fixed else layer.momentum,
                updates=(steps or 0) * self._calls[name],
                errors=errors(measure.batches, layer.momentum),
                dropout=measure.dropouts.get(name),
                in_front=measure.in_front.get(name),
                acting=measure.acting.get(name, ()),
            )
            numbers = shift._asdict() | self._warm_up(shift, layer, normalizations[name])
            values = {quantity.name: numbers.get(quantity.name) for quantity in QUANTITIES}
            record |= {f"{NAME}/{quantity}/{name}": value for quantity, value in values.items() if value is not None}
            in_training = [functional.Moments(*parts[measure.called.index(name)][2]) for parts in self._parts]
            scatter[name] = scatter_of_means(in_training, shift.training_variance, layer.epsilon)
        found = {mode: Evaluation(np.asarray(losses), sizes, self._metrics[mode]) for mode, losses in self._losses.items() if losses}
        return Evidence(
            model=model,
            sizes=sizes,
            is_dataset=False,
            not_finite=None,
            layers={name: self._layers[name] for name in measured},
            shifts=measured,
            record=record,
            normalizations=normalizations,
            values={name: np.asarray(counts) for name, counts in self._values.items()},
            scatter=scatter,
            active=self._active,
            evaluations=found,
            unjudged=self.unjudged,
            folds=tuple(folds(model)),
            steps=steps,
        )

    def _warm_up(self, shift, layer, normalization):
        """By the statistics that a new layer has, of which no more is left than the number of steps allows."""
        began = np.zeros_like(shift.moving_mean), np.ones_like(shift.moving_variance)
        return warm_up(shift, *began, normalization.left, layer.epsilon)


def _steps(model):
    """How many updates the optimizer has made; None where it has made none, as one that was compiled anew."""
    steps = int(keras.ops.convert_to_numpy(model.optimizer.iterations)) if getattr(model, "optimizer", None) is not None else 0
    return steps or None


def _why_unjudged(model, batch):
    if not model.compiled:
        return f"{model.name} is not compiled"
    if keras_internals.compiled_loss(model) is not None and batch.y is None:
        return "the data hold no targets"
    return None


def _outputs_and_loss(model, batch, training, is_judged):
    """Within an open `evaluation.stateless`."""
    outputs = model(batch.x, training=training)
    if not is_judged:
        return outputs, None
    return outputs, tf.cast(objective.compiled_loss(model, batch, outputs, training), tf.float64)


def _is_assigned(model, scope, snapshot, variable):
    index = next((index for index, each in enumerate(model.non_trainable_variables) if each is variable), None)
    return index is not None and scope.get_current_value(variable) is not snapshot.state[index]


def _is_active(call):
    outputs = call.activation[1]
    return tf.reduce_any(outputs > 0, axis=[axis for axis in range(outputs.shape.rank) if axis != call.axis])


def _recalibrated(evidence, data, batch_size, progress):
    """`Evaluation` in inference mode with the statistics that `recalibrate` would assign."""
    model = evidence.model
    layers = [layer for name, layer in evidence.layers.items() if evidence.normalizations[name].momentum != 1]
    snapshot, losses = evaluation.snapshot(model), []
    positions = {id(variable): index for index, variable in enumerate(model.non_trainable_variables)}
    if layers:
        statistics = population(model, layers, lambda: batches.inputs(data, batch_size), SEQUENTIAL, False, progress("layers deep"))
        for values in statistics.values():
            for variable, value in values:
                snapshot.state[positions[id(variable)]] = tf.cast(value, variable.dtype)

    def evaluate(snapshot, batch, _):
        with evaluation.stateless(model, snapshot):
            return _outputs_and_loss(model, batch, False, True)

    function, show = evaluation.traced(evaluate), progress("batches")
    with evaluations.Metrics(model) as metrics, evaluation.without_graph_optimiser():
        for index, batch in enumerate(batches.examples(data, batch_size)):
            batch = Batch(*evaluation.tensors(batch))
            if not losses:
                evaluation.trace_for_any_size(function, snapshot, batch, tf.constant(0, tf.int64))
            outputs, loss = function(snapshot, batch, tf.constant(index, tf.int64))
            losses.append(float(loss))
            metrics.update(RECALIBRATED, batch, outputs)
            show(index + 1, len(evidence.sizes))
        return Evaluation(np.asarray(losses), evidence.sizes, metrics.results(RECALIBRATED))
