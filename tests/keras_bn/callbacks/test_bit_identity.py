"""With the callbacks on, a training is what it is without them, to the bit: weights, slots, moving statistics, states of seeds, History."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import trainings

from keras_bn.inspection import evaluation
from keras_bn.inspection.prepared import prepared
from keras_bn.measures import activations, covariate_shift
from keras_bn.measures.loss_landscape import Measure as LossLandscape
from keras_bn.measures.variance_shift import Measure as VarianceShift


def result(training):
    """(values of all variables, history) of what `trainings.trained` returned, which the next training overwrites."""
    model, history = training
    return trainings.everything(model), history


def assert_same(one, other):
    (values, history), (measured, measured_history) = one, other
    for expected, got in zip(values, measured, strict=True):
        np.testing.assert_array_equal(got, expected)
    assert measured_history == history


# All four where the measures themselves compute otherwise; elsewhere the modes differ in how the step is followed, which is the same code for all: one of each
# kind in turn.
ALL = {"numpy", "half precision", "replicas"}


@pytest.mark.parametrize("mode", trainings.MODES)
def test_training_is_the_same(mode, strategy):
    instruments = trainings.instruments()
    shift, variances, landscape, statistics = instruments
    if mode not in ALL:
        instruments = [(shift, landscape, statistics)[list(trainings.MODES).index(mode) % 3], variances]
    plain = result(trainings.trained(mode, [], strategy))
    model, history = trainings.trained(mode, instruments, strategy, anew=mode == "numpy")
    assert_same(plain, result((model, history)))
    updates = int(keras.ops.convert_to_numpy(model.optimizer.iterations))
    if mode == "half precision":  # In the first steps gradients are not finite, so that they make no updates.
        assert 0 < updates < 12
    else:
        assert updates == (4 if mode == "accumulation" else 12)
    for instrument in instruments:
        if instrument is not variances:
            assert [record["step"] for record in instrument.history] == list(range(0, updates, 2))
    assert len(variances.history) == 2
    assert variances.history[-1]["step"] == updates


def test_nothing_is_traced_for_steps_that_are_measured():
    traces = []

    class Telling(keras.layers.Layer):
        def call(self, x):
            if tf.inside_function() and keras.src.backend.common.stateless_scope.in_stateless_scope() is False:
                traces.append(x.shape)
            return x

    def number_of_traces(callbacks):
        traces.clear()
        model = keras.Sequential([trainings.network(), Telling()])
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        model.fit(trainings.X, trainings.Y, batch_size=trainings.BATCH, epochs=2, callbacks=callbacks, verbose=0)
        return len(traces)

    assert number_of_traces(trainings.instruments()) == number_of_traces([]) > 0


def test_a_second_fit_traces_nothing_anew_unless_the_model_is_another():
    model, instruments = trainings.network(), trainings.instruments()

    def measures_after_a_fit(loss):
        if loss is not None:
            model.compile("sgd", loss)
        model.fit(trainings.X, trainings.Y, batch_size=trainings.BATCH, verbose=0, callbacks=instruments)
        return measures_now()

    def measures_now():
        kinds = VarianceShift, LossLandscape, activations.Measure
        options = [(), (None,), (None, True)]
        measures = [prepared(kind, model, *each) for kind, each in zip(kinds, options)]
        return [covariate_shift.measure_of(model, evaluation.batch_of(trainings.X)), *measures]

    def traces(measures):
        return [measure.function.experimental_get_tracing_count() for measure in measures]

    once = measures_after_a_fit(keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    assert traces(once) == [1, 1, 1, 1]  # Also of the variances, whose last batch is smaller.
    again = measures_after_a_fit(None)
    assert all(one is other for one, other in zip(once, again))
    assert traces(again) == [1, 1, 1, 1]
    anew = measures_after_a_fit(keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum"))
    model.layers[0].trainable = False
    frozen = measures_now()
    assert not any(one is other for one, other in zip(again, anew))
    assert not any(one is other for one, other in zip(anew, frozen))


def test_together_with_keras_s_callbacks(tmp_path):
    def others(folder):
        return [
            keras.callbacks.BackupAndRestore(str(tmp_path / folder / "backup")),
            keras.callbacks.TensorBoard(str(tmp_path / folder / "keras"), update_freq=2),
            keras.callbacks.EarlyStopping("loss", patience=5),
            keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
            keras.callbacks.ModelCheckpoint(str(tmp_path / folder / "model.keras"), save_freq=3),
        ]

    mode = "moving average of weights"
    _, second, first, behind = trainings.instruments(str(tmp_path / "run"))
    plain = result(trainings.trained(mode, others("plain")))
    assert_same(plain, result(trainings.trained(mode, [first, second, *others("measured"), behind])))


def test_a_second_fit_goes_on(tmp_path):
    instruments = trainings.instruments(str(tmp_path))[1:3]
    values = []
    for callbacks in ([], instruments):
        model, _ = trainings.trained("numpy", callbacks)
        model.fit(trainings.X, trainings.Y, batch_size=trainings.BATCH, shuffle=False, verbose=0, callbacks=callbacks)
        values.append(trainings.everything(model))
    assert [record["step"] for record in instruments[1].history] == list(range(0, 18, 2))
    assert [record["step"] for record in instruments[0].history] == [6, 12, 18]
    for expected, got in zip(*values, strict=True):
        np.testing.assert_array_equal(got, expected)
