"""What cannot be measured is refused at the start of `fit`; a later failure is reported once, and the training continues."""

import functools
import json
import re
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
import trainings

import keras_bn
from keras_bn import callbacks, summaries
from keras_bn.inspection import evaluation


class OwnStep(keras.Sequential):
    def train_step(self, data):
        return super().train_step(data)


def compiled(model):
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def fit(model, *with_callbacks):
    before = [value.numpy() for value in model.variables]
    try:
        model.fit(trainings.X, trainings.Y, batch_size=trainings.BATCH, verbose=0, callbacks=list(with_callbacks))
    except ValueError:
        for one, other in zip(before, model.variables):
            np.testing.assert_array_equal(one, other)
        raise


def own_step():
    return compiled(OwnStep(trainings.network().layers, name="net"))


def plain(*layers):
    return compiled(keras.Sequential([keras.Input((5,)), *layers], name="net"))


OWN_STEP = (
    " received a model whose class OwnStep has a train_step of its own; expected to be told what that minimises: give `loss`, a function of "
    "(model, x, y, sample_weight), or put it into compute_loss."
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
        "`layers` holds 'other'; expected names or numbers of layers with a kernel, which are 1: only: choose among these.",
    ),
    "layers that choose none": (
        lambda: plain(keras.layers.Dense(3, name="only")),
        lambda: callbacks.InternalCovariateShift(layers=lambda layer: layer.name == "onyl"),
        "`layers` chooses none; expected one at least of the layers with a kernel, which are 1: only: choose among these.",
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


def test_a_fit_within_a_strategy_s_scope_is_refused(strategy):
    sentence = (
        "LossLandscape is used by a training within a strategy's scope, where Keras divides losses by the number of replicas; expected one outside of it: only "
        "build and compile the model in the scope."
    )
    with strategy.scope(), pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        compiled(trainings.network()).fit(trainings.X, trainings.Y, verbose=0, callbacks=[callbacks.LossLandscape()])


@pytest.mark.skipif(not hasattr(keras.optimizers, "MultiOptimizer"), reason="Keras is older than that optimizer.")
def test_several_optimizers_have_no_one_learning_rate():
    model = trainings.network()
    several = keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(keras.optimizers.SGD(0.1), {"dense.*": keras.optimizers.Adam(0.01)}))
    model.compile(several, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    sentence = (
        "LossLandscape has no `step_sizes`, and MultiOptimizer no one learning rate to take them from; expected them, or an optimizer of one learning rate "
        "that updates the net: give `step_sizes`, or that as `optimizer`."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        fit(model, callbacks.LossLandscape())
    instruments = [callbacks.LossLandscape(every=2, step_sizes=[0.1], strict=True), callbacks.InternalCovariateShift(every=2, strict=True)]
    model.fit(trainings.X, trainings.Y, batch_size=trainings.BATCH, verbose=0, callbacks=instruments)
    assert [[record["step"] for record in instrument.history] for instrument in instruments] == [[0, 2, 4]] * 2


def test_data_without_an_end_are_refused():
    data = tf.data.Dataset.from_tensor_slices(trainings.X).repeat().batch(4)
    sentence = "`data` has no end; expected batches that do: for instance the first so many, by `take` of a tf.data.Dataset."
    with pytest.raises(ValueError, match=re.escape(sentence)):
        fit(compiled(trainings.network()), callbacks.VarianceShift(data))


@pytest.mark.parametrize("batch", [(np.ones((4, 7)), np.ones(4)), (np.ones((4, 5)), np.ones(3))], ids=["inputs", "targets"])
def test_a_batch_that_does_not_fit_the_model_is_refused_before_the_first_step(batch):
    with pytest.raises(ValueError, match=r"^InternalCovariateShift cannot evaluate its `batch`; expected \(x, y\) or \(x, y, sample_weight\): "):
        fit(compiled(trainings.network()), callbacks.InternalCovariateShift(batch=batch, every=lambda step: False))


@pytest.mark.parametrize("callback", [callbacks.VarianceShift, callbacks.ActivationStatistics])
def test_data_that_do_not_fit_the_model_are_refused_before_the_first_step(callback):
    model = compiled(trainings.network())
    with pytest.raises(ValueError, match=rf"^{callback.__name__} cannot evaluate its `data`; expected .* {model.name}, "):
        fit(model, callback(np.ones((4, 7), "float32")))


@pytest.mark.parametrize("every", [0, -1, 1.5, True, "step"])
def test_every_that_is_none_is_refused(every):
    sentence = (
        f'`every` is {every!r}; expected a positive number of optimizer steps, "epoch", or a function that says of a step whether it is due: leave it out for '
        "a schedule that is dense first, and then rarer."
    )
    for make in (callbacks.InternalCovariateShift, lambda every: callbacks.VarianceShift(trainings.X, every=every)):
        with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
            make(every=every)


@pytest.mark.parametrize(
    ("batch", "what"),
    [("validation", "'validation'"), (3, "3"), ((np.ones(4),), "a tuple of 1"), ((np.ones(4),) * 4, "a tuple of 4"), ([np.ones(4)] * 2, "a list of 2")],
)
def test_a_batch_that_is_none_is_refused(batch, what):
    sentence = f'`batch` is {what}; expected "train", (x, y) or (x, y, sample_weight): a tuple of a batch for the model.'
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        callbacks.InternalCovariateShift(batch=batch)


class Failing(keras.layers.Layer):
    """Fails when a measurement is traced, not when it is trained: as one that does not fit into memory."""

    fails = False

    def call(self, x):
        if self.fails and keras.src.backend.common.stateless_scope.in_stateless_scope():
            raise MemoryError("too much")
        return x


class FailingData:
    def __iter__(self):
        if Failing.fails:
            raise MemoryError("too much")
        return iter([trainings.X])


class FromNowOn(keras.callbacks.Callback):
    """Lets what is measured fail when the training has begun."""

    def on_train_batch_begin(self, batch, logs=None):
        Failing.fails = True


@pytest.fixture
def failing(monkeypatch):
    """A net whose measurements can fail, and whose training does not."""
    monkeypatch.setattr(Failing, "fails", False)
    return compiled(keras.Sequential([keras.Input((5,)), keras.layers.Dense(4), Failing(), keras_bn.BatchNormalization(), keras.layers.Dense(3)]))


# And the steps at which each measures six updates, every other of them.
INSTRUMENTS = {
    "internal_covariate_shift": (callbacks.InternalCovariateShift, [0, 2, 4]),
    "variance_shift": (functools.partial(callbacks.VarianceShift, FailingData()), [2, 4, 6]),
    "loss_landscape": (callbacks.LossLandscape, [0, 2, 4]),
    "activation_statistics": (functools.partial(callbacks.ActivationStatistics, (trainings.X, trainings.Y)), [0, 2, 4]),
}


@pytest.mark.parametrize(("make", "steps"), INSTRUMENTS.values(), ids=INSTRUMENTS)
def test_a_failure_is_told_once_and_recorded_and_the_training_goes_on(make, steps, failing, tmp_path):
    instrument = make(log_dir=str(tmp_path), every=2)
    sentence = f"{type(instrument).__name__} failed to measure at step {steps[0]}, and the training goes on; strict=True would end it: MemoryError: "
    with pytest.warns(UserWarning, match=f"^{re.escape(sentence)}") as warned:
        fit(failing, FromNowOn(), instrument)
    assert sum("failed to measure at step" in str(warning.message) for warning in warned) == 1
    assert [record["step"] for record in instrument.history] == steps
    assert all("too much" in record["error"] for record in instrument.history)
    assert int(failing.optimizer.iterations) == 6
    json.dumps(instrument.history)


@pytest.mark.parametrize("make", [make for make, _ in INSTRUMENTS.values()], ids=INSTRUMENTS)
def test_strict_ends_the_training_and_a_later_one_is_none_the_worse(make, failing):
    with pytest.raises(MemoryError, match="too much"):
        fit(failing, FromNowOn(), make(every=1, strict=True))
    Failing.fails = False
    instrument = make(every=2, strict=True)
    fit(failing, instrument)
    assert [record["step"] for record in instrument.history] == [2, 4, 6]


def test_copies_that_fail_do_not_end_the_training(monkeypatch):
    """What a measurement needs of the step is copied while it is trained."""
    monkeypatch.setattr(evaluation, "snapshot", lambda model: 1 / 0)
    instrument = callbacks.LossLandscape(every=2)
    with pytest.warns(
        UserWarning, match=r"^LossLandscape failed to measure at step 0, and the training goes on; strict=True would end it: ZeroDivisionError: "
    ):
        fit(compiled(trainings.network()), instrument)
    assert [record["step"] for record in instrument.history] == [0, 2, 4]


def test_a_loss_of_one_s_own_need_not_know_of_training():
    class Halved(keras.Sequential):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
            return 0.5 * super().compute_loss(x, y, y_pred, sample_weight)

    losses = []
    for kind in (keras.Sequential, Halved):
        keras.utils.set_random_seed(0)
        instrument = callbacks.LossLandscape(every=100, strict=True)
        fit(compiled(kind([keras.Input((5,)), *trainings.network(dropout=0).layers])), instrument)
        losses.append(instrument.history[0]["loss_landscape/loss"])
    assert losses[1] == pytest.approx(losses[0] / 2)


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
    model.fit(trainings.X[:8], trainings.Y[:8], verbose=0)
    with pytest.raises(RuntimeError, match="now"):
        model.fit(trainings.X, trainings.Y, verbose=0, callbacks=[left, Failure()])
    instrument = callbacks.LossLandscape(every=4)
    fit(model, instrument)
    assert [record["step"] for record in instrument.history] == [4]
    assert left.history == []


def test_trainable_that_was_changed_without_compiling_is_an_error_not_a_number():
    """The training goes on with the weights of before, so that there is no number of what is trainable now."""

    class Freezing(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                self.model.layers[0].trainable = False

    model = compiled(trainings.network())
    instruments = [callbacks.InternalCovariateShift(every=1), callbacks.LossLandscape(every=1)]
    with pytest.warns(UserWarning, match="other trainable weights than when its training step was made"):
        model.fit(trainings.X[:8], trainings.Y[:8], batch_size=8, epochs=2, verbose=0, callbacks=[*instruments, Freezing()])
    for instrument in instruments:
        assert ["error" in record for record in instrument.history] == [False, True]
    compiled(model)  # The remedy.
    model.fit(trainings.X[:8], trainings.Y[:8], batch_size=8, verbose=0, callbacks=instruments)
    for instrument in instruments:
        assert ["error" in record for record in instrument.history] == [False, True, False]


def test_layers_are_numbered_in_the_order_in_which_they_compute():
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.last, self.first = keras.layers.Dense(3, name="last"), keras.layers.Dense(4, name="first")
            self.last.trainable = False

        def call(self, x):
            return self.last(self.first(x))

    model = Net()
    model(trainings.X)
    instrument = callbacks.InternalCovariateShift(every=1, layers=[1], strict=True)
    fit(compiled(model), instrument)
    assert "internal_covariate_shift/l2/01_dense" in instrument.history[0]


@pytest.mark.parametrize("failing_method", ["write", "draw"])
def test_a_log_that_fails_leaves_the_numbers(failing_method, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(summaries.Log, failing_method, fail)
    instrument = callbacks.InternalCovariateShift(str(tmp_path), every=2)
    sentence = f"^InternalCovariateShift failed to {failing_method} at step 0, and the training goes on; strict=True would end it: OSError: disk full"
    with pytest.warns(UserWarning, match=sentence) as warned:
        fit(compiled(trainings.network()), instrument)
    assert sum(f"failed to {failing_method}" in str(warning.message) for warning in warned) == 1
    assert [record["step"] for record in instrument.history] == [0, 2, 4]
    assert not any("error" in record for record in instrument.history)


def test_step_sizes_of_an_optimizer_whose_learning_rate_is_none_of_its_steps_are_warned_of():
    model = trainings.network()
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    sentence = "LossLandscape takes its step sizes from the learning rate of Adam, which says little about how far its steps go: give `step_sizes`."
    with pytest.warns(UserWarning, match=f"^{re.escape(sentence)}$") as caught:
        fit(model, callbacks.LossLandscape(every=6))
    assert len([warning for warning in caught if "LossLandscape" in str(warning.message)]) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit(model, callbacks.LossLandscape(every=6, step_sizes=[0.1], strict=True))  # The remedy.
        fit(compiled(trainings.network()), callbacks.LossLandscape(every=6, strict=True))


def test_a_string_for_layers_is_refused():
    sentence = "`layers` is 'dense'; expected names in a list, or numbers, or a function of a layer: give ['dense']."
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        callbacks.InternalCovariateShift(layers="dense")


def test_a_folder_in_place_of_data_is_refused_at_once():
    with pytest.raises(ValueError, match=r"^`data` is 'logs/run'; expected inputs of the model, or batches of them: an array"):
        callbacks.VarianceShift("logs/run")


LOSS = "expected a function of (model, x, y, sample_weight) that returns a scalar tensor: write one that calls the model, training=True, and your loss."
ARGUMENTS = {
    "log_dir": ({"log_dir": 5}, '`log_dir` is 5; expected the folder of a TensorBoard run: give a path, such as "logs/run", or leave it out.'),
    "net": ({"net": "enc"}, "`net` is 'enc'; expected a keras.Model, one of those that the trained model holds: give the model itself, or leave it out."),
    "optimizer": (
        {"optimizer": "adam"},
        "`optimizer` is 'adam'; expected the optimizer that updates the net: give the object whose `apply` the training step calls, or leave it out.",
    ),
    "name of a loss": ({"loss": "mse"}, f"`loss` is 'mse'; {LOSS}"),
    "three arguments": ({"loss": lambda model, x, y: 0.0}, f"`loss` takes (model, x, y); {LOSS}"),
}


@pytest.mark.parametrize("case", ARGUMENTS)
@pytest.mark.parametrize("make", [callbacks.InternalCovariateShift, callbacks.LossLandscape, functools.partial(callbacks.ActivationStatistics, trainings.X)])
def test_an_argument_that_is_none_is_refused_at_once(case, make):
    arguments, sentence = ARGUMENTS[case]
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        make(**arguments)


def test_a_loss_object_of_keras_is_refused_at_once():
    with pytest.raises(ValueError, match=rf"^`loss` is <.*>; {re.escape(LOSS)}$"):
        callbacks.LossLandscape(loss=keras.losses.MeanSquaredError())


def test_arguments_of_one_callback_are_refused_at_once():
    with pytest.raises(ValueError, match=r"^`layers` is 3; expected names or numbers in a list, or a function of a layer: give \[3\]\.$"):
        callbacks.InternalCovariateShift(layers=3)
    with pytest.raises(ValueError, match=r"^`step_sizes` is 'a'; expected positive numbers, one at least: "):
        callbacks.LossLandscape(step_sizes="a")


LOSSES = {
    "vector": (
        lambda model, x, y, sample_weight: tf.reduce_sum(model(x, training=True), 1),
        "`loss` returned a tensor of shape (8,) and dtype float32; expected",
    ),
    "nothing": (lambda model, x, y, sample_weight: None, "`loss` returned a NoneType; expected"),
    "random": (
        lambda model, x, y, sample_weight: tf.reduce_sum(model(x, training=True)) * tf.random.normal([]),
        "`loss` draws numbers by RandomStandardNormal",
    ),
    "constant": (lambda model, x, y, sample_weight: tf.reduce_sum(x), "`loss` uses no trainable weight of net; expected one that does: call the model"),
    "fails": (lambda model, x, y, sample_weight: tf.reduce_sum(model(x) @ x), "Dimensions must be equal, but are 3 and 8"),
}


def by_hand(model, shift):
    with shift.watching(model, trainings.X[:8], trainings.Y[:8]):
        raise AssertionError("The step was made.")


@pytest.mark.parametrize("case", LOSSES)
@pytest.mark.parametrize("train", [fit, by_hand])
def test_a_loss_that_cannot_be_used_ends_the_training_before_its_first_step(case, train):
    loss, words = LOSSES[case]
    sentence = "InternalCovariateShift cannot evaluate its `loss`; expected a function of (model, x, y, sample_weight) that returns a scalar tensor: "
    model, shift = compiled(keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)], name="net")), callbacks.InternalCovariateShift(loss=loss)
    with pytest.raises(ValueError, match=f"^{re.escape(sentence + words)}") as raised:
        train(model, shift)
    assert "\n" not in str(raised.value)
    assert str(raised.value)[-2] != "." == str(raised.value)[-1]
    assert shift.history == []


def test_a_loss_in_inference_mode_is_warned_of():
    losses = {training: lambda model, x, y, sample_weight, training=training: tf.reduce_mean(model(x, training=training) ** 2) for training in (True, False)}
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit(compiled(trainings.network()), callbacks.LossLandscape(loss=losses[True], every=6, strict=True))
        fit(plain(keras.layers.Dense(3)), callbacks.LossLandscape(loss=losses[False], every=6, strict=True))  # Without batch normalisation it is the same.
    with pytest.warns(UserWarning, match=r"^LossLandscape: `loss` calls .* in inference mode, .* add training=True\.$") as warned:
        fit(compiled(trainings.network()), callbacks.LossLandscape(loss=losses[False], every=2, strict=True))
    assert sum("inference mode" in str(warning.message) for warning in warned) == 1


def test_warnings_name_the_line_of_the_user_s():
    model = trainings.network()
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with pytest.warns(UserWarning, match="takes its step sizes from") as warned:
        fit(model, callbacks.LossLandscape(every=6))
    assert [warning.filename for warning in warned if "step sizes" in str(warning.message)] == [__file__]


def test_two_of_a_kind_in_one_folder_are_refused(tmp_path):
    sentence = f"`log_dir` is {str(tmp_path)!r} for two of LossLandscape; expected one folder for each: give them others."
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        fit(compiled(trainings.network()), callbacks.LossLandscape(f"{tmp_path}/"), callbacks.LossLandscape(str(tmp_path), step_sizes=[0.1]))
    # The remedy, and others of this kind that a failed fit or an earlier one has left.
    instruments = [callbacks.LossLandscape(str(tmp_path / name), every=6, strict=True) for name in "ab"]
    fit(compiled(trainings.network()), *instruments, callbacks.InternalCovariateShift(str(tmp_path / "a"), every=6))
    fit(compiled(trainings.network()), callbacks.LossLandscape(str(tmp_path / "a"), every=6, strict=True))
    assert all(len(instrument.history) == 1 for instrument in instruments)


def test_two_of_a_kind_in_one_folder_by_hand_are_told_once(tmp_path):
    model = compiled(trainings.network())
    first, second = (callbacks.LossLandscape(str(tmp_path), every=1) for _ in range(2))

    def train():
        for begin in (0, 8, 16):
            x, y = trainings.X[begin : begin + 8], trainings.Y[begin : begin + 8]
            with first.watching(model, x, y), second.watching(model, x, y):
                model.train_on_batch(x, y)

    with pytest.warns(UserWarning, match="LossLandscape failed to write at step 1, .*another one writes the same tags into this folder") as warned:
        train()
    assert sum("failed to write" in str(warning.message) for warning in warned) == 1
    assert len(first.history) == len(second.history) == 3


def test_data_of_another_width_are_refused_in_a_sentence():
    with pytest.raises(
        ValueError, match=r"^VarianceShift cannot evaluate its `data`; expected .*expected axis -1 of input shape to have value 5, .*\(4, 7\)\.$"
    ):
        fit(compiled(trainings.network()), callbacks.VarianceShift(np.ones((4, 7), "float32")))
    with pytest.raises(ValueError, match=r"^ActivationStatistics cannot evaluate its `data`; expected a batch .*\.$"):
        fit(compiled(trainings.network()), callbacks.ActivationStatistics(np.array(["a", "b"])))


def by_hand_once(model, callback):
    with callback.watching(model, trainings.X[:8], trainings.Y[:8]):
        model.train_on_batch(trainings.X[:8], trainings.Y[:8])


@pytest.mark.parametrize("data", ["logs/run", tf.data.Dataset.from_tensors(trainings.X), iter([trainings.X])], ids=["folder", "dataset", "iterator"])
def test_what_is_no_batch_is_refused_at_once(data):
    with pytest.raises(ValueError, match=r"^`data` of ActivationStatistics is .*; expected one batch, x, .*: give next\(iter\(dataset\)\), or arrays\.$"):
        callbacks.ActivationStatistics(data)


def test_no_example_is_no_batch():
    with pytest.raises(ValueError, match="`data` holds no batch"):
        fit(compiled(trainings.network()), callbacks.VarianceShift(trainings.X[:0]))


def test_a_summary_says_why_there_is_none(monkeypatch):
    begins = "LossLandscape has measured nothing.\nThere is nothing to conclude: "
    landscape = callbacks.LossLandscape(every=lambda step: False)
    assert landscape.summary() == (
        f"{begins}no training has begun that it is a callback of.\nHand it to fit(callbacks=[...]), or train within its `watching(model, x, y)`."
    )
    for train in (fit, by_hand_once):
        train(compiled(trainings.network()), landscape)
        landscape.on_train_end()
        assert landscape.summary().startswith(f"{begins}no step of this training was due by every=")
    failed = callbacks.LossLandscape(every=6)

    def fail(*_):
        raise ZeroDivisionError("now.")

    monkeypatch.setattr(callbacks.LossLandscape, "_measure", fail)
    with pytest.warns(UserWarning, match="failed to measure"):
        fit(compiled(trainings.network()), failed)
    assert (
        failed.summary()
        == f"{begins}all measurements failed, the last with ZeroDivisionError: now.\nMend that; with strict=True the training ends where it happens."
    )
