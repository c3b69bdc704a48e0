"""`Evidence`: what a diagnosis judges by."""

from collections.abc import Iterable, Mapping, Set
from typing import NamedTuple

import keras
import numpy as np

from keras_bn.measures.conclusions.shifts import Normalization
from keras_bn.measures.variance_shift import VarianceShift
from keras_bn.surgery.diagnosis.evaluations import Evaluation
from keras_bn.surgery.diagnosis.finding import several_layers
from keras_bn.surgery.diagnosis.non_finite import NonFinite
from keras_bn.surgery.foldable import Fold

TRAINING, INFERENCE, RECALIBRATED, ALL_RECALIBRATED = "training mode", "inference mode", "recalibrated", "all recalibrated"


class ByChannel(NamedTuple):
    """Root of the mean square over the channels of half the logarithm of variance / moving variance, epsilon added to both: in standard deviations, as sizes of
    `shifts`. It sees single channels, which the ratio of the means over the channels does not.

    lag: of the variance in training; shift: of that in inference; error: what the former is by chance, at most.
    """

    lag: float
    shift: float
    error: float


class Evidence(NamedTuple):
    """What a diagnosis judges by. Layers go by their names in tags, such as 02_batch_normalization; only those that a call of the model uses are here.

    sizes: examples in each batch.
    is_dataset: whether the data are a tf.data.Dataset.
    not_finite: the first thing that is not; all that follows is empty then.
    layers: dict, name to layer, in the order in which the model holds them.
    shifts: dict, name to `measures.variance_shift.VarianceShift`; record: the same as a record of numbers by tags, with warm-up.
    normalizations: dict, name to `Normalization`; momentum 1: its moving statistics do not move.
    values: dict, name to values a channel in each batch, (B,), of one call.
    scatter: dict, name to the standard deviation of the means between batches in training mode, in standard deviations of the inputs.
    by_channel: dict, name to `ByChannel`.
    calls: dict, name to how many calls of it a call of the model makes.
    active: dict, name of a layer with a ReLU right behind to whether each channel of it is above 0 anywhere in training mode, (C,).
    evaluations: dict, `TRAINING`, `INFERENCE` and, where something was off, `RECALIBRATED` and, where layers that do not move were, `ALL_RECALIBRATED` to
        `Evaluation`; empty without a loss or targets.
    unjudged: why there are no evaluations; else None.
    folds: of `foldable.folds`.
    fixed: layers that normalise by their moving statistics in training mode, too.
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
    by_channel: Mapping[str, ByChannel] = {}
    calls: Mapping[str, int] = {}
    active: Mapping[str, np.ndarray] = {}
    evaluations: Mapping[str, Evaluation] = {}
    unjudged: str | None = None
    folds: tuple[Fold, ...] = ()
    steps: int | None = None
    fixed: Set[str] = frozenset()

    def several(self, names: Iterable[str]) -> dict:
        """For `Finding.measured`."""
        return several_layers(self.layers[name] for name in names)
