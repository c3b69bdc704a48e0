"""Losses and metrics of a model over batches, in one mode, and by how much those of two modes differ."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import keras
import numpy as np

from keras_bn import keras_internals
from keras_bn.inspection import evaluation
from keras_bn.inspection.evaluation import Batch


class Evaluation(NamedTuple):
    """Of one mode.

    losses: one a batch, (B,), as `evaluate` computes it.
    sizes: examples in each batch, (B,).
    metrics: those that the model was compiled with, over all batches.
    beside: losses in inference mode on the same batches, (B,), where the data were read again; else None.
    """

    losses: np.ndarray
    sizes: np.ndarray
    metrics: Mapping[str, float]
    beside: np.ndarray | None = None

    @property
    def loss(self) -> float:
        """Over all examples."""
        return float(np.average(self.losses, weights=self.sizes))

    @property
    def error(self) -> float:
        """Standard error of `loss`, by the scatter between batches; infinite for one batch."""
        return _standard_error(self.losses, self.sizes)


class Difference(NamedTuple):
    """value: by how much one loss is larger than another on the same batches; error: its standard error, by the scatter of the differences."""

    value: float
    error: float


def difference(inference: Evaluation, other: Evaluation) -> Difference:
    """By how much the loss in inference mode is larger than in another."""
    differences = (inference.losses if other.beside is None else other.beside) - other.losses
    return Difference(float(np.average(differences, weights=other.sizes)), _standard_error(differences, other.sizes))


def _standard_error(values, weights):
    """Of the weighted mean of independent values."""
    number = len(values)
    if number < 2:
        return np.inf
    deviations = weights * (values - np.average(values, weights=weights))
    return float(np.sqrt(np.sum(deviations**2) * number / (number - 1)) / np.sum(weights))


class Metrics:
    """The metrics that a model was compiled with, for several modes in turn; those of the model are as they were when it is closed.

    with Metrics(model) as metrics:
        metrics.update(mode, batch, outputs)
        metrics.results(mode)
    """

    def __init__(self, model: keras.Model):
        self._metrics, self._states, self._is_changed = keras_internals.compiled_metrics(model), {}, False

    def __enter__(self):
        # Those that have no variables yet get them at the first batch.
        self._before = [] if self._metrics is None else evaluation.values(self._metrics.variables)
        return self

    def __exit__(self, *_):
        if self._is_changed:
            self._metrics.reset_state()
            for variable, value in zip(self._metrics.variables, self._before):
                variable.assign(value)

    def update(self, mode: str, batch: Batch, outputs) -> None:
        if self._metrics is not None:
            self._restore(mode)
            self._metrics.update_state(batch.y, outputs, batch.sample_weight)
            self._states[mode] = evaluation.values(self._metrics.variables)

    def results(self, mode: str) -> dict[str, float]:
        """By name; only those that are one number."""
        if mode not in self._states:
            return {}
        self._restore(mode)
        values = {name: np.asarray(value) for name, value in self._metrics.result().items()}
        return {name: float(value) for name, value in values.items() if value.ndim == 0}

    def _restore(self, mode: str):
        self._is_changed = True
        state: Sequence = self._states.get(mode, ())
        if not state:
            self._metrics.reset_state()
        for variable, value in zip(self._metrics.variables, state):
            variable.assign(value)
