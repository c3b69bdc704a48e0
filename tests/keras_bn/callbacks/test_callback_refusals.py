"""What cannot be measured is refused at the start of `fit`; what fails later is told once, and the training goes on."""

import json
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
import trainings

import keras_bn
from keras_bn import callbacks


class OwnStep(keras.Sequential):
    def train_step(self, data):
        return super().train_step(data)


def compiled(model):
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def fit(model, callback):
    before = [value.numpy() for value in model.variables]
    try:
        model.fit(trainings.X, trainings.Y, batch_size=trainings.BATCH, verbose=0, callbacks=[callback])
    except ValueError:
        for one, other in zip(before, model.variables):
            np.testing.assert_array_equal(one, other)
        raise


def own_step():
    return compiled(OwnStep(trainings.network().layers, name="net"))


def plain(*layers):
    return compiled(keras.Sequential([keras.Input((5,)), *layers], name="net"))


OWN_STEP = (
    " received a model whose class OwnStep has a train_step of its own; expected one that trains by its compiled loss: what it minimises cannot be known "
    "otherwise, so put it into compute_loss, or leave the callback out."
)
WITHOUT_KERNEL = "net has no layer with a trainable kernel; expected a Dense, a convolution or their like: give it one that is trainable."
WITHOUT_NORMALISATION = "net has no batch normalisation layer; expected one at least: this measure is about them, leave it out for other models."
CASES = {
    "own step, shift": (own_step, callbacks.InternalCovariateShift, "InternalCovariateShift" + OWN_STEP),
    "own step, landscape": (own_step, callbacks.LossLandscape, "LossLandscape" + OWN_STEP),
    "own step, activations": (
        own_step,
        lambda: callbacks.ActivationStatistics((trainings.X, trainings.Y)),
        "ActivationStatistics" + OWN_STEP,
    ),
    "no kernel": (lambda: plain(keras_bn.BatchNormalization()), callbacks.InternalCovariateShift, WITHOUT_KERNEL),
    "no such layer": (
        lambda: plain(keras.layers.Dense(3, name="only")),
        lambda: callbacks.InternalCovariateShift(layers=["other"]),
        "`layers` holds 'other'; expected names or places of layers with a kernel, which are 1: only: choose among these.",
    ),
    "no normalisation, variances": (lambda: plain(keras.layers.Dense(3)), lambda: callbacks.VarianceShift(trainings.X), WITHOUT_NORMALISATION),
    "no normalisation, activations": (lambda: plain(keras.layers.Dense(3)), lambda: callbacks.ActivationStatistics(trainings.X), WITHOUT_NORMALISATION),
    "generator": (
        lambda: compiled(trainings.network()),
        lambda: callbacks.VarianceShift(trainings.batches()),
        "`data` of VarianceShift is a generator, used up once it is read; expected what can be read again: a dataset.",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_model_that_cannot_be_measured_is_refused_before_the_first_step(case):
    model, callback, sentence = CASES[case]
    model = model()
    if not model.built:
        model.build((None, 5))
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        fit(model, callback())


@pytest.mark.parametrize("callback", [callbacks.InternalCovariateShift, callbacks.LossLandscape, lambda: callbacks.VarianceShift(trainings.X)])
def test_a_model_that_is_not_built_is_refused(callback):
    model = compiled(keras.Sequential(trainings.network().layers, name="net"))
    model.built = False
    sentence = ", which is not built; expected a model that knows its weights: give it a keras.Input, or call its `build` before `fit`."
    instrument = callback()
    instrument.set_model(model)
    with pytest.raises(ValueError, match=f"^{type(instrument).__name__} received net{re.escape(sentence)}$"):
        instrument.on_train_begin()


def test_data_without_an_end_are_refused():
    data = tf.data.Dataset.from_tensor_slices(trainings.X).repeat().batch(4)
    sentence = "`data` has no end; expected batches that do: for instance the first so many, by `take` of a tf.data.Dataset."
    with pytest.raises(ValueError, match=re.escape(sentence)):
        fit(compiled(trainings.network()), callbacks.VarianceShift(data))


def test_a_batch_that_does_not_fit_the_model_is_refused_before_the_first_step():
    with pytest.raises(ValueError, match=r"^InternalCovariateShift cannot evaluate its `batch`; expected \(x, y\) or \(x, y, sample_weight\): "):
        fit(compiled(trainings.network()), callbacks.InternalCovariateShift(batch=(np.ones((4, 7)), np.ones(4))))


@pytest.mark.parametrize("callback", [callbacks.VarianceShift, callbacks.ActivationStatistics])
def test_data_that_do_not_fit_the_model_are_refused_before_the_first_step(callback):
    model = compiled(trainings.network())
    with pytest.raises(ValueError, match=rf"^{callback.__name__} cannot evaluate its `data`; expected .* {model.name}, "):
        fit(model, callback(np.ones((4, 7), "float32")))


@pytest.mark.parametrize("every", [0, -1, 1.5, True, "step", None])
def test_every_that_is_none_is_refused(every):
    sentence = f'`every` is {every!r}; expected a positive number of optimizer steps, "epoch", or a function that says of a step whether it is due.'
    for make in (callbacks.InternalCovariateShift, lambda every: callbacks.VarianceShift(trainings.X, every=every)):
        with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
            make(every=every)


@pytest.mark.parametrize("batch", ["validation", 3, (1,)])
def test_a_batch_that_is_none_is_refused(batch):
    sentence = f'`batch` is {batch!r}; expected "train", (x, y) or (x, y, sample_weight): a tuple of a batch for the model.'
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        callbacks.InternalCovariateShift(batch=batch)


class Failing(keras.layers.Layer):
    """Fails when a gradient is measured, not when it is trained: as a measurement that does not fit into memory."""

    fails = False

    def call(self, x):
        if self.fails and keras.src.backend.common.stateless_scope.in_stateless_scope():
            raise MemoryError("too much")
        return x


def failing_network():
    return compiled(keras.Sequential([keras.Input((5,)), keras.layers.Dense(4), Failing(), keras_bn.BatchNormalization(), keras.layers.Dense(3)]))


INSTRUMENTS = {
    "internal_covariate_shift": callbacks.InternalCovariateShift,
    "loss_landscape": callbacks.LossLandscape,
}


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_a_failure_is_told_once_and_recorded_and_the_training_goes_on(name, tmp_path, monkeypatch):
    model, instrument = failing_network(), INSTRUMENTS[name](str(tmp_path), every=2)
    monkeypatch.setattr(Failing, "fails", True)
    sentence = f"{INSTRUMENTS[name].__name__} failed at step 0, and the training goes on; strict=True would end it: MemoryError: "
    with pytest.warns(UserWarning, match=f"^{re.escape(sentence)}") as warned:
        fit(model, instrument)
    assert sum("failed at step" in str(warning.message) for warning in warned) == 1
    assert [record["step"] for record in instrument.history] == [0, 2, 4]
    assert all("too much" in record["error"] for record in instrument.history)
    assert int(model.optimizer.iterations) == 6
    json.dumps(instrument.history)


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_strict_ends_the_training_and_a_later_one_is_none_the_worse(name, monkeypatch):
    model = failing_network()
    monkeypatch.setattr(Failing, "fails", True)
    with pytest.raises(MemoryError, match="too much"):
        fit(model, INSTRUMENTS[name](every=1, strict=True))
    monkeypatch.setattr(Failing, "fails", False)
    instrument = INSTRUMENTS[name](every=1, strict=True)
    fit(model, instrument)
    assert [record["step"] for record in instrument.history] == list(range(1, 7))


def test_a_log_that_cannot_be_opened_is_refused_before_the_first_step(tmp_path):
    (tmp_path / "file").write_text("in the way")
    instrument = callbacks.InternalCovariateShift(str(tmp_path / "file" / "run"))
    with pytest.raises(OSError, match=r"^event file not written: "):
        fit(compiled(trainings.network()), instrument)


def test_a_stand_in_that_was_not_used_is_taken_away():
    """Another callback fails between the moment in which it is put in place and that in which it is called."""

    class Failure(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            raise RuntimeError("now")

    model, left = compiled(trainings.network()), callbacks.LossLandscape(every=1)
    with pytest.raises(RuntimeError, match="now"):
        model.fit(trainings.X, trainings.Y, verbose=0, callbacks=[left, Failure()])
    model.train_on_batch(trainings.X[:8], trainings.Y[:8])
    with pytest.raises(RuntimeError, match="now"):
        model.fit(trainings.X, trainings.Y, verbose=0, callbacks=[left, Failure()])
    instrument = callbacks.LossLandscape(every=4)
    fit(model, instrument)
    assert [record["step"] for record in instrument.history] == [4]
    assert left.history == []
