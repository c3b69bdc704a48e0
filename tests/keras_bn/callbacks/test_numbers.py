"""What the callbacks keep is what the measures say of the batch and the update of that step."""

import copy

import keras
import numpy as np
import pytest
import tensorflow as tf
import trainings

from keras_bn import callbacks, measures, summaries

WITHOUT_DROPOUT = 0.0  # Its masks are those of the state before the step, which only the callbacks see.


def by_tags(shifts, loss):
    by_layer = {f"internal_covariate_shift/{name}/{shift.layer}": value for shift in shifts for name, value in shift._asdict().items() if name != "layer"}
    return by_layer | {"internal_covariate_shift/loss": loss}


def loss_at(model, weights, *batch):
    for variable, value in zip(model.trainable_variables, weights):
        variable.assign(value)
    x, y, *sample_weight = batch
    return measures.loss_landscape(model, x, y, [1.0], *sample_weight).loss


def assert_close(record, step, expected, rtol=1e-4, atol=1e-6):
    assert record["step"] == step
    assert set(record) == {"step", *expected}
    for tag, value in expected.items():
        np.testing.assert_allclose(record[tag], value, rtol=rtol, atol=atol, err_msg=tag)


@pytest.fixture(scope="module")
def training():
    """(model, snapshots, instruments, all variables at the end) of a training whose every other step was measured."""
    snapshots, instruments = trainings.Snapshots(), trainings.instruments()
    model, _ = trainings.trained("sample weights", [snapshots, *instruments], dropout=WITHOUT_DROPOUT)
    return model, snapshots, instruments, [value.numpy() for value in model.variables]


@pytest.fixture
def followed(training):
    """(model, snapshots, instruments) as at the end of that training, whatever the test before has put into the model."""
    model, snapshots, instruments, end = training
    for variable, value in zip(model.variables, end, strict=True):
        variable.assign(value)
    return model, snapshots, instruments


def batch_of(step):
    part = slice(step % 6 * trainings.BATCH, (step % 6 + 1) * trainings.BATCH)
    return trainings.X[part], trainings.Y[part], trainings.WEIGHTS[part]


def test_internal_covariate_shift_is_of_the_step_s_own_batch_and_update(followed):
    model, snapshots, (instrument, *_) = followed
    for index, record in enumerate(instrument.history):
        step = 2 * index
        x, y, sample_weight = batch_of(step)
        shifts = measures.internal_covariate_shift(model, snapshots.before[step], snapshots.after[step], x, y, sample_weight)
        assert shifts[1].l2 > 0
        assert_close(record, step, by_tags(shifts, loss_at(model, snapshots.before[step], x, y, sample_weight)))


def test_loss_landscape_is_of_the_step_s_own_batch(followed):
    model, snapshots, (_, _, instrument, _) = followed
    for index, record in enumerate(instrument.history):
        step = 2 * index
        x, y, sample_weight = batch_of(step)
        snapshots.put_back(step)
        landscape = measures.loss_landscape(model, x, y, [0.05, 0.1, 0.2, 0.4], sample_weight)
        expected = {
            "loss": landscape.loss,
            "loss_min": landscape.losses.min(),
            "loss_max": landscape.losses.max(),
            "gradient_norm": landscape.gradient_norm,
            "gradient_change_min": landscape.gradient_changes.min(),
            "gradient_change_median": np.median(landscape.gradient_changes),
            "gradient_change_max": landscape.gradient_changes.max(),
            "effective_smoothness": landscape.smoothness.max(),
            "grid_limit": 1 / landscape.step_sizes[landscape.smoothness.argmax()],
            **dict(zip(("smoothness/01_0.5lr", "smoothness/02_1lr", "smoothness/03_2lr", "smoothness/04_4lr"), landscape.smoothness)),
        }
        assert_close(record, step, {f"loss_landscape/{tag}": value for tag, value in expected.items()})


def test_dropout_masks_are_those_of_the_step():
    """Plain SGD goes along the gradient that it saw: with other masks that would be another one."""
    snapshots, instrument = trainings.Snapshots(), callbacks.LossLandscape(every=1)
    model = trainings.network(dropout=0.5)
    model.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    model.fit(trainings.X, trainings.Y, batch_size=trainings.BATCH, shuffle=False, verbose=0, callbacks=[snapshots, instrument])
    assert len(instrument.history) == 6
    for record, before, after in zip(instrument.history, snapshots.before, snapshots.after):
        went = np.sqrt(sum(((one - other) ** 2).sum() for one, other in zip(before, after))) / 0.1
        np.testing.assert_allclose(record["loss_landscape/gradient_norm"], went, rtol=1e-4)


def test_activation_statistics_are_of_the_weights_before_and_their_change_by_the_update(followed):
    model, snapshots, (*_, instrument) = followed
    x, y = trainings.X[:10], trainings.Y[:10]
    for index, record in enumerate(instrument.history):
        step = 2 * index
        snapshots.put_back(step)
        now = measures.activation_statistics(model, x, y)
        snapshots.put_back(step, after=model.trainable_variables)
        then = measures.activation_statistics(model, x)
        expected = {}
        for one, other in zip(now, then):
            values = {"dead": one.dead, "gradient_norm": one.gradient_norm, "gradient_ratio": one.gradient_ratio}
            values["mean_change"] = np.abs(other.inputs.mean - one.inputs.mean).mean()
            values["variance_change"] = np.abs(other.inputs.variance - one.inputs.variance).mean()
            for side in ("input", "output"):
                distribution = getattr(one, f"{side}s")
                values |= {f"{side}_mean": distribution.overall_mean, f"{side}_stddev": distribution.overall_stddev}
                values |= {f"{side}_p{which}": value for which, value in zip((15, 50, 85), distribution.percentiles)}
            expected |= {f"activation_statistics/{name}/{one.layer}": value for name, value in values.items() if value is not None}
        assert_close(record, step, expected)


def test_variance_shift_is_of_the_model_after_the_epoch(followed):
    model, _, (_, instrument, *_) = followed
    shifts = measures.variance_shift(model, instrument.data)
    quantities = [row.name for row in instrument.quantities if row.name in measures.VarianceShift._fields]
    expected = {f"variance_shift/{name}/{shift.layer}": getattr(shift, name) for shift in shifts for name in quantities}
    expected |= {tag: value for tag, value in instrument.history[-1].items() if "warm_up" in tag or "mean_besides" in tag}  # Of the training, not of the model.
    assert_close(instrument.history[-1], 12, {tag: value for tag, value in expected.items() if value is not None})


@pytest.fixture(scope="module")
def usual():
    """Instruments that have measured the most usual training."""
    instruments = trainings.instruments(every=5)
    trainings.trained("numpy", instruments, dropout=WITHOUT_DROPOUT)
    return instruments


@pytest.mark.parametrize("mode", ["jit", "eagerly", "several steps an execution"])
def test_each_mode_gives_the_same_numbers(mode, usual):
    got = trainings.instruments(every=5)
    trainings.trained(mode, got, dropout=WITHOUT_DROPOUT)
    for one, other in zip(usual, got):
        assert [record["step"] for record in one.history] == [record["step"] for record in other.history]
        for record, same in zip(one.history, other.history):
            # XLA rounds otherwise, which grows over the steps, most where differences are taken.
            assert_close(same, record["step"], {tag: value for tag, value in record.items() if tag != "step"}, rtol=2e-2, atol=2e-3)


def test_accumulated_gradients_are_measured_at_the_update():
    snapshots, instrument = trainings.Snapshots(), callbacks.InternalCovariateShift(every=1)
    model, _ = trainings.trained("accumulation", [snapshots, instrument], dropout=WITHOUT_DROPOUT)
    assert [record["step"] for record in instrument.history] == [0, 1, 2, 3]
    for record in instrument.history:
        batch = 3 * record["step"] + 2  # The last of three.
        x, y, _ = batch_of(batch)
        shifts = measures.internal_covariate_shift(model, snapshots.before[batch], snapshots.after[batch], x, y)
        assert_close(record, record["step"], by_tags(shifts, loss_at(model, snapshots.before[batch], x, y)))


def test_the_batch_of_replicas_is_that_of_all(strategy):
    snapshots, instrument = trainings.Snapshots(), callbacks.InternalCovariateShift(every=3)
    trainings.trained("replicas", [snapshots, instrument], strategy, dropout=WITHOUT_DROPOUT)
    alone, _ = trainings.trained("numpy", [], epochs=1, dropout=WITHOUT_DROPOUT)
    for record in instrument.history:
        x, y, _ = batch_of(record["step"])
        shifts = measures.internal_covariate_shift(alone, snapshots.before[record["step"]], snapshots.after[record["step"]], x, y)
        assert_close(record, record["step"], by_tags(shifts, loss_at(alone, snapshots.before[record["step"]], x, y)))


def test_a_fixed_batch():
    x, y = trainings.X[:20], trainings.Y[:20]
    snapshots, instrument = trainings.Snapshots(), callbacks.InternalCovariateShift(every=4, batch=(x, y), layers=["dense_1", 3])
    model, _ = trainings.trained("numpy", [snapshots, instrument], dropout=WITHOUT_DROPOUT)
    for record in instrument.history:
        step = record["step"]
        shifts = measures.internal_covariate_shift(model, snapshots.before[step], snapshots.after[step], x, y)
        assert_close(record, step, by_tags(shifts[1:], loss_at(model, snapshots.before[step], x, y)))


@pytest.mark.parametrize(
    ("every", "steps"),
    [(1, list(range(12))), (5, [0, 5, 10]), (100, [0]), ("epoch", [0, 6]), (lambda step: step in (3, 7), [3, 7])],
)
def test_schedules(every, steps):
    instrument = callbacks.LossLandscape(every=every, step_sizes=[0.1])
    trainings.trained("several steps an execution", [instrument])
    assert [record["step"] for record in instrument.history] == steps


@pytest.mark.parametrize(("every", "steps"), [(1, list(range(1, 13))), (5, [5, 10]), ("epoch", [6, 12]), (lambda step: step in (3, 7), [3, 7])])
def test_schedules_after_steps(every, steps):
    instrument = callbacks.VarianceShift(trainings.X, every=every)
    trainings.trained("numpy", [instrument])
    assert [record["step"] for record in instrument.history] == steps


def test_what_is_logged_is_the_history(tmp_path):
    instruments = trainings.instruments(str(tmp_path))
    trainings.trained("numpy", instruments)
    expected = {}
    for instrument in instruments:
        for record in instrument.history:
            expected.setdefault(record["step"], {"step": record["step"]}).update(record)
    records = summaries.read_scalars(tmp_path)
    assert [record["step"] for record in records] == sorted(expected)
    for record in records:
        logged = {tag: value for tag, value in record.items() if not tag.startswith("0_summary/")}
        assert set(logged) == set(expected[record["step"]])
        assert len(record) > len(logged)
        for tag, value in logged.items():
            np.testing.assert_allclose(value, np.float32(expected[record["step"]][tag]), rtol=1e-6)


def test_keras_s_own_callback_does_not_keep_it_from_being_logged(tmp_path):
    instruments = [callbacks.InternalCovariateShift(str(tmp_path / "run"), every=1), callbacks.VarianceShift(trainings.X, str(tmp_path / "run"))]
    trainings.trained("numpy", [keras.callbacks.TensorBoard(str(tmp_path / "run"), update_freq=5), *instruments])
    assert [record["step"] for record in summaries.read_scalars(tmp_path / "run")] == list(range(13))


def steps_written(path, tag):
    """The steps at which an event file holds the tag, as often as they are there."""
    events = map(tf.compat.v1.Event.FromString, tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    return [event.step for event in events if any(value.tag == tag for value in event.summary.value)]


def test_a_new_training_is_logged_into_a_folder_that_has_one(tmp_path):
    for _ in range(2):
        instrument = callbacks.VarianceShift(trainings.X, str(tmp_path), "epoch")
        trainings.trained("numpy", [instrument])
        keras.backend.clear_session()
    assert [steps_written(path, "variance_shift/ratio/01_batch_normalization") for path in tmp_path.iterdir()] == [[6, 12], [6, 12]]


def test_the_learning_rate_is_that_of_the_step():
    instrument = callbacks.LossLandscape(every=1, strict=True)
    model = trainings.network()
    model.compile(keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)), "sparse_categorical_crossentropy")
    model.fit(trainings.X, trainings.Y, batch_size=trainings.BATCH, verbose=0, callbacks=[instrument])
    for record in instrument.history:
        rate = 0.1 * 0.5 ** record["step"]
        assert min(abs(record["loss_landscape/grid_limit"] * rate * multiple - 1) for multiple in (0.5, 1, 2, 4)) < 1e-5


@pytest.mark.parametrize("every", ["epoch", 3])
def test_a_copy_measures_as_the_original(every):
    instrument = copy.deepcopy(callbacks.LossLandscape(every=every))
    trainings.trained("numpy", [instrument])
    assert [record["step"] for record in instrument.history] == ([0, 6] if every == "epoch" else [0, 3, 6, 9])


def test_updates_that_are_left_out_are_not_counted():
    """Of gradients that are not finite; with half precision the first steps have such."""
    instrument = callbacks.VarianceShift(trainings.X, every=3)
    trainings.trained("half precision", [instrument])
    assert [record["step"] for record in instrument.history] in ([3, 6, 9], [3, 6], [3])


def test_resumed_training_goes_on_and_logs_nothing_twice(tmp_path):
    """Interrupted in the third epoch; what the interrupted epoch had logged is replaced."""

    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if int(keras.ops.convert_to_numpy(self.model.optimizer.iterations)) == 15:
                raise KeyboardInterrupt

    def backup():
        return keras.callbacks.BackupAndRestore(str(tmp_path / "backup"))

    def instruments(run):
        return trainings.instruments(str(tmp_path / run))[2:0:-1]  # One that measures at updates, one after epochs.

    trainings.trained("numpy", instruments("whole"), epochs=4, dropout=WITHOUT_DROPOUT)
    interrupted = instruments("run")  # Still there afterwards, as in a notebook.
    with pytest.raises(KeyboardInterrupt):
        trainings.trained("numpy", [*interrupted, backup(), Interrupt()], epochs=4, dropout=WITHOUT_DROPOUT)
    resumed = instruments("run")
    trainings.trained("numpy", [*resumed, backup()], epochs=4, dropout=WITHOUT_DROPOUT)
    assert [record["step"] for record in resumed[0].history] == list(range(12, 24, 2))
    expected, got = (summaries.read_scalars(tmp_path / run) for run in ("whole", "run"))
    assert [set(record) for record in got] == [set(record) for record in expected]
    for tag in set().union(*expected) - {"step"}:
        for run in ("whole", "run"):
            written = [step for path in sorted((tmp_path / run).iterdir()) for step in steps_written(path, tag)]
            assert written == [record["step"] for record in expected if tag in record]
    for one, other in zip(expected, got):
        for tag, value in one.items():
            np.testing.assert_allclose(other[tag], value, rtol=1e-4, atol=1e-5, err_msg=tag)
