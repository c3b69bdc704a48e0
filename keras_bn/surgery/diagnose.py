"""`diagnose`: what is wrong with batch normalisation in a model, and what mends it."""

from collections.abc import Iterator

import keras
import numpy as np

from keras_bn.inspection import batches, building
from keras_bn.measures.conclusions import shifts
from keras_bn.measures.conclusions.conclusion import CERTAIN, LEAST_LOSSES, several
from keras_bn.surgery.diagnosis.evaluations import difference
from keras_bn.surgery.diagnosis.evidence import INFERENCE, TRAINING, Evidence
from keras_bn.surgery.diagnosis.examination import gathered
from keras_bn.surgery.diagnosis.finding import Finding
from keras_bn.surgery.diagnosis.report import Diagnosis, Shift
from keras_bn.surgery.diagnosis.rules import findings
from keras_bn.surgery.diagnosis.rules.losses import costs
from keras_bn.surgery.diagnosis.rules.statistics import lagging, right
from keras_bn.surgery.progress import bar


def diagnose(model: keras.Model, data, batch_size: int = 32, verbose: bool = True) -> Diagnosis:
    """What is wrong with batch normalisation in a model, worst first, on which layer, how much, why it matters, and what mends it.

    It evaluates the data in training mode and in inference mode, and where something is off in inference mode with the statistics that `recalibrate` would
    assign. Nothing of the model changes. It looks at

        losses and metrics in training mode, in inference mode, and recalibrated          inference_worse
        moving statistics against those of the inputs in training, layer by layer         statistics_lag, warming_up, never_updated, negative_variance,
                                                                                          statistics_of_other_data
        inputs in inference against those in training                                     dropout_in_front, other_inputs_in_training
        numbers that are not finite                                                       not_finite
        how many values a batch has for a channel                                         few_values, last_batch_of_one
        channels that carry nothing                                                       dead_channels, variance_below_epsilon, gamma_near_zero
        what stands next to a layer, hints all                                            several_in_a_row, bias_in_front, not_foldable, behind_activation

    What counts as a finding is said in standard errors, by the rules of `callbacks.VarianceShift.summary()`; docs/surgery.md says each.

    Args:
        model: with batch normalisation. For losses it must be compiled with one.
        data: as `fit` takes them, with targets for losses: those of the training, in batches as large as those of the training, six at least for losses to be
            compared.
        batch_size: of arrays, which are cut in random order: that of the training.
        verbose: whether a bar shows the progress.

    Returns:
        A `Diagnosis`: `findings`, printing, `markdown()`, `to_dict()`, `plot()`, `write(path)`.

    Raises:
        ValueError: no such layer, no data, data that the model does not take, an iterator, or a layer that is called within a loop.

    Source: Dropout: Li, Chen, Hu & Yang 2018, eq. 7 and 8. Its thresholds are ours.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.BatchNormalization(name="normalised"), keras.layers.Dense(1)])
        >>> diagnosis = diagnose(model, np.random.default_rng(0).normal(3, 2, (256, 2)), verbose=False)
        >>> [(finding.layer, finding.fault, finding.remedy) for finding in diagnosis.findings]
        [('normalised', 'never_updated', 'keras_bn.surgery.recalibrate(model, data)')]
    """
    building.refuse_no_model(model)
    batches.refuse_size(batch_size)
    if isinstance(data, Iterator):
        raise ValueError(f"`data` is a {type(data).__name__}, used up once it is read; expected what can be read again: a dataset.")
    evidence = gathered(model, data, batch_size, lambda unit: bar(unit, verbose))
    results = findings(evidence)
    evaluations = {mode: {"loss": each.loss, **each.metrics} for mode, each in evidence.evaluations.items()}
    doubtful = _doubtful(evidence)
    return Diagnosis(model.name, results, _on_what(evidence, results, doubtful), evaluations, _shifts(evidence, results), doubtful)


def _on_what(evidence: Evidence, results: list[Finding], doubtful: list[str]) -> str:
    """The sentences of `Diagnosis.evidence`."""
    number, size = len(evidence.sizes), int(np.sum(evidence.sizes))
    seen = f"{several(size, 'example')} in {number} batch{'' if number == 1 else 'es'} of {int(np.max(evidence.sizes))}"
    if evidence.not_finite is not None:
        return f"Stopped at batch {number}, which is not finite; later batches were not read."
    layers = several(len(evidence.layers), "batch normalisation layer")
    record, names = evidence.record, list(evidence.layers)
    error = max((2 * shifts.error(record, "ratio", name, evidence.normalizations) for name in names), default=np.nan)
    off = max((shifts.value(record, "ratio", name) for name in names), default=np.nan)
    sentences = [f"{layers} on {seen}: variances in inference are within a factor of {off:.3g} of the moving ones, of standard error {error:.2g} at most."]
    named = {name for finding in results if "shift" in finding.measured for name in finding.measured.get("layers", [finding.layer])}
    harmless = {name: size for name, size in lagging(evidence).items() if evidence.layers[name].name not in named}
    if harmless:
        sentences.append(
            f"The moving statistics of {several(len(harmless), 'layer')} are others than these data have, by {max(harmless.values()):.2g} standard deviations "
            "at most, and those of the data would not lower the loss: the net has learned with them, or these data are not those of the training."
        )
    if doubtful:
        sentences.append(f"These data are too few to tell a shift of {several(len(doubtful), 'layer')} from chance: give more batches.")
    if evidence.evaluations:
        if number < LEAST_LOSSES:
            sentences.append(f"Losses of {several(number, 'batch') if number == 1 else f'{number} batches'} are too few to be compared: give {LEAST_LOSSES}.")
            return " ".join(sentences)
        worse = difference(evidence.evaluations[INFERENCE], evidence.evaluations[TRAINING])
        sentences.append(
            f"The loss in inference is {abs(worse.value):.3g} {'more' if worse.value > 0 else 'less'} than in training mode (standard error {worse.error:.2g})."
        )
    else:
        sentences.append(f"No losses were compared, as {evidence.unjudged}.")
    return " ".join(sentences)


def _doubtful(evidence):
    if costs(evidence) is not None:
        return []
    record, layers = evidence.record, evidence.normalizations
    known = {name for name in right(evidence) if CERTAIN * shifts.error(record, "mode", name, layers) <= 2 * shifts.SMALL}
    known |= lagging(evidence).keys()
    return [evidence.layers[name].name for name in shifts.doubtful(record, layers) if name not in known]


def _shifts(evidence, results):
    faults = {}
    for finding in results:
        for name in finding.measured.get("layers", [finding.layer]):
            faults.setdefault(name, []).append(finding.fault)
    record, normalizations = evidence.record, evidence.normalizations
    return [
        Shift(
            layer=evidence.layers[name].name,
            variance=float(shift.variance.mean() / shift.moving_variance.mean()) if shift.moving_variance.mean() else np.inf,
            error=2 * shifts.error(record, "ratio", name, normalizations),
            mean=shift.mean_shift,
            mean_error=shifts.error(record, "mean_mode", name, normalizations),
            faults=tuple(faults.get(evidence.layers[name].name, ())),
        )
        for name, shift in evidence.shifts.items()
    ]
