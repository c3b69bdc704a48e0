"""`gathered`: what a model computes on data in training mode, in inference mode, and in inference mode with population statistics, and what of it is known."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_bn import functional, keras_internals
from keras_bn.inspection import batches, building, evaluation, normalization_layers, objective
from keras_bn.inspection.errors import evaluating
from keras_bn.inspection.evaluation import Batch
from keras_bn.measures.conclusions import shifts
from keras_bn.measures.conclusions.conclusion import CERTAIN
from keras_bn.measures.conclusions.shifts import SMALL, Normalization
from keras_bn.measures.variance_shift import NAME, QUANTITIES, Measure, errors, full, scatter_of_means, warm_up
from keras_bn.surgery.diagnosis import evaluations
from keras_bn.surgery.diagnosis.evaluations import Evaluation
from keras_bn.surgery.diagnosis.evidence import ALL_RECALIBRATED, INFERENCE, RECALIBRATED, TRAINING, ByChannel, Evidence
from keras_bn.surgery.diagnosis.non_finite import first_not_finite
from keras_bn.surgery.foldable import folds
from keras_bn.surgery.recalibrate import SEQUENTIAL, layers_to_recalibrate, population


def gathered(model: keras.Model, data, batch_size: int, progress: Callable[[str], Callable]) -> Evidence:
    """
    Args:
        model, data, batch_size: as of `diagnose`.
        progress: makes, of what is counted, a function that receives how many of how many are done.

    Raises:
        ValueError: as of `diagnose`.
    """
    if not building.is_built(model):
        building.build(model, evaluation.tensors(next(batches.inputs(data, batch_size))))
    examined = _Examined(model)
    sizes, is_dataset = np.asarray(examined.read(data, batch_size, progress("batches"))), isinstance(data, tf.data.Dataset)
    if examined.not_finite is not None:
        return Evidence(model, sizes, is_dataset, examined.not_finite)
    evidence = examined.evidence(sizes, is_dataset)
    recalibrated = layers_to_recalibrate(model)
    moving = [name for name, layer in evidence.layers.items() if layer in recalibrated]
    for mode, names in ((RECALIBRATED, moving), (ALL_RECALIBRATED, list(evidence.layers))):
        looked_at = moving if mode == RECALIBRATED else [name for name in names if name not in moving]
        if evidence.evaluations and looked_at and _is_off(evidence, looked_at, mode):
            evidence.evaluations[mode] = _recalibrated(evidence, names, mode, data, batch_size, progress)
    return evidence


def _is_off(evidence, names, mode):
    """Whether anything may be gained by recalibrating these layers."""
    record, layers = evidence.record, evidence.normalizations
    found = {*shifts.lags(record, layers), *(name for name, each in evidence.by_channel.items() if each.lag > max(SMALL, CERTAIN * each.error))}
    if mode == RECALIBRATED:
        found |= {*shifts.modes(record, layers), *shifts.shifted_by_dropout(record, layers)}
    worse = evaluations.difference(evidence.evaluations[INFERENCE], evidence.evaluations[TRAINING])
    return not found.isdisjoint(names) or (mode == RECALIBRATED and worse.value > CERTAIN * worse.error)


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
                if function is None:
                    function, snapshot = evaluation.traced(self._batch), evaluation.snapshot(model)
                    self.unjudged = _why_unjudged(model, batch)
                    with evaluating(model, "fit"):
                        evaluation.trace_for_any_size(function, snapshot, batch, tf.constant(0, tf.int64))
                with evaluating(model, "fit"), evaluation.without_graph_optimiser():
                    parts, of_modes, active, is_finite = function(snapshot, batch, tf.constant(index, tf.int64))
                sizes.append(batches.size_of(batch.x))
                if not is_finite:
                    self.not_finite = first_not_finite(model, snapshot, batch, index, self.unjudged is None)
                    break
                self._keep(parts, of_modes, active, sizes[-1])
                with evaluating(model, "fit"):
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
            if loss is None and self.unjudged is None:
                self.unjudged = f"{model.name} is compiled without a loss"
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

    def _keep(self, parts, of_modes, active, size):
        self._parts.append(parts)
        for name, part in zip(self._measure.called, parts):
            count = np.max(part[2].count.numpy()) / max(1, self._calls[name])
            ghosts = getattr(self._layers[name], "virtual_batch_size", None)
            count *= min(1, ghosts / size) if ghosts else 1
            self._values.setdefault(name, []).append(count)
        for mode, (_, loss) in of_modes.items():
            if loss is not None:
                self._losses[mode].append(float(loss))
        for name, channels in active.items():
            self._active[name] = channels.numpy() | self._active.get(name, False)

    def evidence(self, sizes, is_dataset):
        model, measure, steps = self._model, self._measure, _steps(self._model)
        measured = {shift.layer: shift for shift in measure.shifts(self._parts, int(sizes[-1]))}
        normalizations, record, scatter, by_channel = {}, {}, {}, {}
        for name, shift in measured.items():
            layer = self._layers[name]
            normalizations[name] = Normalization(
                momentum=1.0 if name in self._fixed else layer.momentum,
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
            by_channel[name] = _by_channel(shift, in_training, layer.epsilon, normalizations[name].errors)
        found = {mode: Evaluation(np.asarray(losses), sizes, self._metrics[mode]) for mode, losses in self._losses.items() if losses}
        return Evidence(
            model=model,
            sizes=sizes,
            is_dataset=is_dataset,
            not_finite=None,
            layers={name: self._layers[name] for name in measured},
            shifts=measured,
            record=record,
            normalizations=normalizations,
            values={name: np.asarray(counts) for name, counts in self._values.items()},
            scatter=scatter,
            by_channel=by_channel,
            calls=self._calls,
            active=self._active,
            evaluations=found,
            unjudged=self.unjudged,
            folds=tuple(folds(model)),
            steps=steps,
            fixed=frozenset(self._fixed),
        )

    def _warm_up(self, shift, layer, normalization):
        """By the statistics that a new layer has, of which no more is left than the number of steps allows."""
        began = np.zeros_like(shift.moving_mean), np.ones_like(shift.moving_variance)
        return warm_up(shift, *began, normalization.left, layer.epsilon)


def _by_channel(shift, in_training, epsilon, errors):
    def size(variance):
        with np.errstate(invalid="ignore", divide="ignore"):
            return float(np.sqrt(np.mean(np.log((variance + epsilon) / np.maximum(shift.moving_variance + epsilon, 1e-300)) ** 2))) / 2

    variances = [part.variance.numpy() for part in full(in_training)]
    relative = np.std(variances, axis=0, ddof=1) / (np.mean(variances, axis=0) + epsilon) if len(variances) > 1 else np.inf
    return ByChannel(size(shift.training_variance), size(shift.variance), float(np.sqrt(np.mean(np.square(relative)))) / 2 * errors)


def _steps(model):
    """How many batches the optimizer has received; None where that is none, as of one that was compiled anew."""
    optimizer = getattr(model, "optimizer", None)
    return (keras_internals.batches_of(optimizer) or None) if optimizer is not None else None


def _why_unjudged(model, batch):
    if not model.compiled:
        return f"{model.name} is not compiled"
    if keras_internals.compiled_loss(model) is not None:
        return "the data hold no targets" if batch.y is None else None
    if type(model).train_step is not keras.Model.train_step and type(model).compute_loss is keras.Model.compute_loss:
        return f"{model.name} has a `train_step` of its own, and no compiled loss"
    return None


def _outputs_and_loss(model, batch, training, is_judged):
    """Within an open `evaluation.stateless`; the loss is None where there is none."""
    outputs = model(batch.x, training=training)
    has_loss = keras_internals.compiled_loss(model) is not None or type(model).compute_loss is not keras.Model.compute_loss or model.losses
    if not is_judged or not has_loss:
        return outputs, None
    return outputs, tf.cast(objective.compiled_loss(model, batch, outputs, training), tf.float64)


def _is_assigned(model, scope, snapshot, variable):
    index = next((index for index, each in enumerate(model.non_trainable_variables) if each is variable), None)
    return index is not None and scope.get_current_value(variable) is not snapshot.state[index]


def _is_active(call):
    outputs = call.activation[1]
    active = outputs > 0
    if call.mask is not None:
        active &= tf.expand_dims(call.mask, call.axis)
    return tf.reduce_any(active, axis=[axis for axis in range(outputs.shape.rank) if axis != call.axis])


def _recalibrated(evidence, names, mode, data, batch_size, progress):
    """`Evaluation` in inference mode with the statistics that `recalibrate` would assign to these layers."""
    model, layers = evidence.model, [evidence.layers[name] for name in names]
    snapshot, losses = evaluation.snapshot(model), []
    positions = {id(variable): index for index, variable in enumerate(model.non_trainable_variables)}
    statistics = population(model, layers, lambda: batches.inputs(data, batch_size), SEQUENTIAL, False, progress("layers deep"))
    for values in statistics.values():
        for variable, value in values:
            snapshot.state[positions[id(variable)]] = tf.cast(value, variable.dtype)

    def evaluate(snapshot, batch, index):
        with evaluation.stateless(model, snapshot):
            return _outputs_and_loss(model, batch, False, True)

    function, show, sizes, inference, before = evaluation.traced(evaluate), progress("batches"), [], [], evaluation.snapshot(model)
    with evaluations.Metrics(model) as metrics, evaluation.without_graph_optimiser():
        for index, batch in enumerate(batches.examples(data, batch_size)):
            batch = Batch(*evaluation.tensors(batch))
            if not losses:
                evaluation.trace_for_any_size(function, snapshot, batch, tf.constant(0, tf.int64))
            outputs, loss = function(snapshot, batch, tf.constant(index, tf.int64))
            losses.append(float(loss))
            # Read again, the data may come in other batches.
            inference.append(float(function(before, batch, tf.constant(index, tf.int64))[1]))
            sizes.append(batches.size_of(batch.x))
            metrics.update(mode, batch, outputs)
            show(index + 1, len(evidence.sizes))
        return Evaluation(np.asarray(losses), np.asarray(sizes), metrics.results(mode), np.asarray(inference))
