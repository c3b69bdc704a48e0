"""What `VarianceShift` concludes, on trainings of which it is known what is wrong with them; and from records that say it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from known_trainings import BATCH, X, Y, compiled, fitted, net

import keras_bn
from keras_bn import callbacks, measures
from keras_bn.measures.conclusions.shifts import Normalization
from keras_bn.measures.conclusions.variance_shift import conclusion


def summary_of(model, optimizer, epochs=1, x=X):
    """The three lines, and the last record."""
    shift = callbacks.VarianceShift(x)
    fitted(compiled(model, optimizer), [shift], epochs, x)
    lines = shift.summary().split("\n")
    assert [line[-1] for line in lines] == [".", ".", "."] or lines[0].endswith(").")
    return *lines, {tag.removeprefix("variance_shift/"): value for tag, value in shift.history[-1].items()}


def test_a_healthy_training_is_said_to_be():
    finding, meaning, remedy, _ = summary_of(net(), "adam", epochs=4)
    assert "nothing is amiss: the largest ratio is " in finding
    assert meaning.startswith("In inference the inputs of 4 layers have the moments that their moving statistics say, ")
    assert remedy.startswith("There is nothing to do")


def test_dropout_is_found_by_where_the_shift_adds_up_to_most():
    finding, meaning, remedy, record = summary_of(net(rate=0.5), keras.optimizers.SGD(0.05), epochs=8)
    layer, name = finding.split(": ")[1].split(" is off")[0].split(" ")
    assert name.startswith('("batch_normalization')  # What the model calls it.
    assert layer == min(("02_batch_normalization", "03_batch_normalization", "04_batch_normalization"), key=lambda name: record[f"mode/{name}"])
    assert f"in inference its inputs have {record[f'mode/{layer}']:.3g} times their variance in training" in finding
    assert " in front of it explains " in meaning
    assert "and the rest is passed on by layers further in front: Dropout makes inputs vary in training only" in meaning
    assert "UniformDropout(0.1)" in remedy


def test_its_remedy_helps():
    finding, *_, record = summary_of(net(rate=0.1, dropout=keras_bn.UniformDropout), keras.optimizers.SGD(0.05), epochs=8)
    assert max(abs(np.log(value)) for name, value in record.items() if name.startswith("mode/")) < 0.1
    assert "nothing is amiss" in finding


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_warming_up_says_how_long_it_lasts(rate):
    finding, meaning, remedy, record = summary_of(net(momentum=0.99, rate=rate), keras.optimizers.SGD(0.05), epochs=2)
    assert '01_batch_normalization ("batch_normalization") is off, since step 1: its inputs have ' in finding
    assert "with momentum 0.99, after 58 updates, 55.8 % of them at most is what the training began with" in meaning
    left = record["warm_up/01_batch_normalization"]
    left = min(left, 1 / record["lag/01_batch_normalization"] - 1)  # Less may be left, as the weights have moved.
    steps = int(np.ceil(np.log(0.01 / left) / np.log(0.99)))
    assert remedy.startswith(
        f"Train {steps} steps more, until it makes 1 % of the variance, or let them follow faster: keras_bn.BatchNormalization(momentum=0."
    )
    np.testing.assert_allclose(1 / (1 + left), record["lag/01_batch_normalization"], rtol=0.05)


def test_the_faster_momentum_that_it_says_is_enough():
    *_, remedy, _ = summary_of(net(momentum=0.99), keras.optimizers.SGD(0.01), epochs=2)
    *_, record = summary_of(net(momentum=float(remedy.split("momentum=")[1].split(")")[0])), keras.optimizers.SGD(0.01), epochs=2)
    assert 0.005 < record["warm_up/01_batch_normalization"] <= 0.01


def test_a_tail_of_warming_up_is_not_taken_for_a_lag_by_its_learning_rate():
    finding, meaning, _, record = summary_of(net(momentum=0.99), keras.optimizers.SGD(1e-9), epochs=10)
    assert record["lag/01_batch_normalization"] < 0.9
    assert "nothing is amiss" in finding or "warming up" in meaning


def test_a_frozen_layer_of_other_inputs_is_found_by_its_means():
    model = fitted(compiled(net(1), "adam"), epochs=4)
    model.layers[1].trainable = False
    finding, meaning, remedy, record = summary_of(model, keras.optimizers.Adam(1e-9), x=X + 0.5)
    assert '01_batch_normalization ("batch_normalization") is off, since step 1: the means of its inputs are ' in finding
    assert record["mean_lag/01_batch_normalization"] > 0.5
    assert "do not move, as the layer is frozen" in meaning
    assert "layer.trainable = True" in remedy


def test_loaded_statistics_of_other_inputs_warm_up():
    """Twice the inputs: the moving variance is too small, which it cannot be by what a new layer begins with."""
    model = fitted(compiled(net(2, momentum=0.99), "adam"), epochs=8)
    _, meaning, _, record = summary_of(model, "adam", x=2 * X)
    assert record["lag/01_batch_normalization"] > 1.5
    assert "warming up" in meaning
    assert "after 29 updates, 74.7 % of them at most is what the training began with" in meaning


def test_large_means_of_inputs_that_move_on_lag():
    """A large mean of the inputs moves with the weights by many standard deviations."""
    finding, meaning, remedy, _ = summary_of(net(1, momentum=0.99), keras.optimizers.SGD(0.05), epochs=8, x=X + 1000)
    assert "from its moving mean" in finding
    assert meaning.startswith("Its moving statistics lag: the weights change faster than they follow")
    assert remedy.startswith("If the data are those of the training, centre what goes into the net, or lower the learning rate")


def test_what_is_off_besides_warming_up_is_said():
    of_besides = {size: of_records({"mean_lag": 2.0, "mean_warm_up": 1.9, "mean_besides": size}, momentum=0.99, updates=100) for size in (0.5, 0.05)}
    assert "Without it 0.5 standard deviations are left, by which its inputs have moved on: centre what goes into the net" in of_besides[0.5].meaning
    assert of_besides[0.05].meaning.endswith("which alone would make that 1.9. It is no shift that lasts.")


def test_no_more_is_left_than_there_is():
    """Where a step calls the layer several times, the share that is left is believed to be larger than it is."""
    result = of_records({"lag": 0.8, "warm_up": 3.0}, momentum=0.99, updates=100)
    assert "which alone would make that 0.8. It is no shift that lasts." in result.meaning
    assert result.remedy.startswith("Train 321 steps more")  # log(0.01 / 0.25) / log(0.99)


def test_noise_in_front_of_the_first_layer_is_no_matter_of_moving_statistics():
    keras.utils.set_random_seed(0)
    layers = [keras.layers.GaussianNoise(0.5), keras.layers.Dense(32), keras_bn.BatchNormalization(momentum=0.9), keras.layers.ReLU()]
    layers += [keras.layers.Dense(32), keras_bn.BatchNormalization(momentum=0.9), keras.layers.ReLU(), keras.layers.Dense(10)]
    finding, meaning, remedy, _ = summary_of(keras.Sequential([keras.Input((64,)), *layers]), keras.optimizers.SGD(0.01), epochs=4)
    assert '01_batch_normalization ("' in finding
    assert "in inference its inputs have" in finding
    assert meaning.startswith("In front of it 1 layer (gaussian_noise) acts in training only, which no closed form explains")
    assert remedy.startswith("If inference is worse for it, weaken it")


def test_statistics_that_follow_too_slowly_lag():
    finding, meaning, remedy, _ = summary_of(net(momentum=0.99), keras.optimizers.Adam(0.1), epochs=18)
    assert " is off, since step " in finding
    assert meaning.startswith("Its moving statistics lag: the weights change faster than they follow")
    assert remedy.endswith("or let the statistics follow faster: keras_bn.BatchNormalization(momentum=0.96).")


class CompiledAnew(keras.callbacks.Callback):
    """In the middle of a fit."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            self.model.compile(keras.optimizers.SGD(0.0), "mse")
            self.model.make_train_function()


@pytest.mark.parametrize(("anew", "updates"), [("never", 7), ("between", 4), ("within", 3)])
def test_what_is_left_of_the_beginning_is_exact(anew, updates, rng):
    """At weights that do not move, and with one batch over and over, it is all that the moving statistics are off by."""
    x = rng.normal(3, 2, (32, 5)).astype("float32")
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4), keras_bn.BatchNormalization(momentum=0.8, center=False, scale=False)])
    layer = model.layers[1]
    layer.moving_mean.assign(rng.normal(size=4))
    layer.moving_variance.assign(rng.uniform(1, 50, 4))
    shift = callbacks.VarianceShift(x, every=1)
    for epochs in (3, 4):
        if anew == "between" or not shift.history:
            model.compile(keras.optimizers.SGD(0.0), "mse")
        callbacks_of_fit = [CompiledAnew(), shift] if anew == "within" and shift.history else [shift]
        model.fit(x, np.zeros((32, 4)), batch_size=32, epochs=epochs, verbose=0, callbacks=callbacks_of_fit)
    assert len(shift.history) == 7
    for record in shift.history:
        lag, left, mean_lag, mean_left = (record[f"variance_shift/{name}/01_batch_normalization"] for name in ("lag", "warm_up", "mean_lag", "mean_warm_up"))
        np.testing.assert_allclose(1 + left, 1 / lag, rtol=1e-4)
        np.testing.assert_allclose(mean_left, mean_lag, rtol=1e-3)
    assert shift._layers["01_batch_normalization"].updates == updates


@pytest.mark.parametrize("change", ["nothing", "loaded", "trained without it"])
def test_the_beginning_is_another_one_where_statistics_have_changed_between_two_fits(change):
    model, shift = compiled(net(1, momentum=0.99), keras.optimizers.SGD(0.0)), callbacks.VarianceShift(X)
    fitted(model, [shift], 2)
    if change == "loaded":
        model.layers[1].moving_mean.assign(np.full(32, 7.0))
    if change == "trained without it":
        fitted(model, [], 2)
    fitted(model, [shift])
    assert shift._layers["01_batch_normalization"].updates == (87 if change == "nothing" else 29)
    if change == "loaded":
        finding, meaning, _ = shift.summary().split("\n")
        assert "the means of its inputs are " in finding
        assert "74.7 % of them at most is what the training began with" in meaning


@pytest.mark.parametrize("training", [False, True])
def test_statistics_that_never_move_are_told_from_those_that_lag(training):
    model, shift = net(1), callbacks.VarianceShift(X, every=5)
    optimizer = keras.optimizers.SGD(0.0)
    optimizer.build(model.trainable_variables)
    for begin in range(0, 640, 64):
        with shift.watching(model, X[begin : begin + 64]):
            model(X[begin : begin + 64], training=training)
    meaning = shift.summary().split("\n")[1]
    assert ("have not changed since the training began, though the layer is trainable" in meaning) == (not training)


def test_too_few_data_are_said_to_be():
    model, shift = compiled(net(1, momentum=0.99), keras.optimizers.SGD(0.0)), callbacks.VarianceShift(X[:8])
    fitted(model, [shift], 8)
    finding, meaning, remedy = shift.summary().split("\n")
    assert "nothing is certain: the largest ratio is " in finding
    assert "too few" in meaning
    assert remedy.startswith("Give more data, in more batches")
    fitted(model, [enough := callbacks.VarianceShift(X)])  # The remedy.
    assert "nothing is certain" not in enough.summary()


def test_steps_that_are_needed_are_updates_of_the_optimizer():
    remedies = []
    for accumulated in (None, 8):
        model = compiled(net(1, momentum=0.99), keras.optimizers.SGD(1e-9, gradient_accumulation_steps=accumulated))
        shift = callbacks.VarianceShift(X, every=1)
        fitted(model, [shift])
        remedies.append(int(shift.summary().split("Train ")[1].split(" ")[0]))
    assert abs(remedies[0] - 8 * remedies[1]) <= 13  # 29 batches are 3 updates of 24 batches.


def test_a_training_function_that_takes_several_batches_is_left_alone():
    class Pairs(keras.Model):
        def make_train_function(self, force=False):
            def train(iterator):
                next(iterator)
                return self.train_step(next(iterator))

            self.train_function = train
            return train

    inputs = keras.Input((64,))
    model, shift = (
        compiled(Pairs(inputs, keras.layers.Dense(10)(keras_bn.BatchNormalization()(inputs))), "sgd"),
        callbacks.VarianceShift(X, every=5, strict=True),
    )
    fitted(model, [shift], x=X)
    assert shift._batch_size is None
    assert len(shift.history) > 0


def test_replicas_cut_what_each_of_them_normalises(strategy):
    for synchronized, size in ((False, 32), (True, 64)):
        with strategy.scope():
            model = keras.Sequential([keras.Input((64,)), keras_bn.BatchNormalization(synchronized=synchronized), keras.layers.Dense(10)])
            compiled(model, keras.optimizers.SGD(0.0))
        fitted(model, [shift := callbacks.VarianceShift(X, every=10)])
        assert shift._batch_size == size


def test_an_optimizer_that_was_loaded_back_leaves_a_share_that_is_one():
    model, shift = compiled(net(1, momentum=0.99), keras.optimizers.SGD(0.0)), callbacks.VarianceShift(X, every=10)
    fitted(model, [shift], 2)
    model.optimizer.iterations.assign(0)
    fitted(model, [shift])
    normalization = shift._layers["01_batch_normalization"]
    assert 0 <= normalization.updates <= 29
    assert 0 < normalization.left <= 1


def test_a_model_that_is_compiled_behind_the_last_step_is_measured():
    class CompiledBehind(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.compile(keras.optimizers.SGD(0.0), "mse")
            self.model.make_train_function()

    model, shift = (
        keras.Sequential([keras.Input((64,)), keras_bn.BatchNormalization(), keras.layers.Dense(1)]),
        callbacks.VarianceShift(X, every="epoch", strict=True),
    )
    model.compile(keras.optimizers.SGD(0.0), "mse")
    fitted(model, [CompiledBehind(), shift], 2)
    assert len(shift.history) == 2
    assert shift._layers["01_batch_normalization"].updates == 0


def test_a_loop_around_callbacks_leaves_nothing_on_the_model():
    """Nobody shows the batch there, so that arrays are cut by 128."""
    model, shift = compiled(net(1), keras.optimizers.SGD(0.0)), callbacks.VarianceShift(X, every=20, strict=True)
    fitted(model)
    own = model.train_function
    around = keras.callbacks.CallbackList([shift], model=model, epochs=1, steps=40)
    around.on_train_begin()
    around.on_epoch_begin(0)
    for step in range(40):
        around.on_train_batch_begin(step)
        model.train_step((tf.constant(X[:BATCH]), tf.constant(Y[:BATCH])))
        around.on_train_batch_end(step)
        assert model.train_function is own
    around.on_train_end()
    assert [record["step"] for record in shift.history] == [40, 60]
    fitted(model)


@pytest.mark.parametrize("by_hand", [False, True], ids=["fit", "by hand"])
def test_arrays_are_cut_as_the_training_cuts_them(by_hand):
    """The variance within batches of 4 is a quarter lower than that of all, and so is the moving variance."""
    shift = callbacks.VarianceShift(X, every=50)
    model = compiled(net(1), keras.optimizers.SGD(0.0))
    if by_hand:
        for begin in range(0, 400, 4):
            with shift.watching(model, X[begin : begin + 4], Y[begin : begin + 4]):
                model.train_on_batch(X[begin : begin + 4], Y[begin : begin + 4])
    else:
        model.fit(X[:400], Y[:400], batch_size=4, verbose=0, callbacks=[shift])
    lag = shift.history[-1]["variance_shift/lag/01_batch_normalization"]
    [of_fours] = measures.variance_shift(model, iter(np.split(np.random.default_rng(1).permutation(X)[:1796], 449)))
    [of_many] = measures.variance_shift(model, X)
    np.testing.assert_allclose(lag, of_fours.lag, rtol=0.02)
    assert of_many.lag > 1.2 * lag
    assert shift.history[-1]["step"] == 100


NAME = "01_a"


def of_records(numbers, error=0.01, momentum=0.9, updates=400, errors=0.2, dropout=None, **others):
    """Of two records. numbers: of one layer; its batches scatter by error / errors."""
    numbers = {"lag": 1.0, "mode": 1.0, "mean_lag": 0.0, "mean_mode": 0.0} | numbers
    numbers |= {"error": error, "mean_error": error, "ratio": max(numbers["lag"] * numbers["mode"], 1 / numbers["lag"] / numbers["mode"])}
    records = [{"step": step, **{f"variance_shift/{name}/{NAME}": value for name, value in numbers.items()}} for step in (400, 401)]
    return conclusion(records, {NAME: Normalization(momentum, updates, errors, dropout, acting=[dropout] if dropout else [])})


@pytest.mark.parametrize(
    ("numbers", "error", "finding", "remedy"),
    [
        ({"lag": 1.02, "mode": 0.98}, 0.01, "nothing is amiss: the largest ratio is 1 at 01_a, of standard error 0.01.", "There is nothing to do"),
        (
            {"lag": 1.5},
            0.01,
            "01_a is off, since step 400: its inputs have 1.5 times the variance",
            "follow faster: keras_bn.BatchNormalization(momentum=0.8).",
        ),
        ({"lag": 1.3}, 0.09, "nothing is amiss", "There is nothing to do"),
        ({"mode": 0.5}, 0.01, "01_a is off, since step 400: in inference its inputs have 0.5 times", "Look at what the layers in front of it do"),
        ({"mean_lag": 0.3}, 0.01, "the means of its inputs are 0.3 standard deviations from its moving mean (standard error 0.01)", "follow faster"),
        ({"mean_mode": 0.3}, 0.01, "in inference the means of its inputs are 0.3 standard deviations from those in training", "Look at what"),
    ],
)
def test_three_standard_errors_decide(numbers, error, finding, remedy):
    result = of_records(numbers, error)
    assert finding in result.finding
    assert remedy in result.remedy


@pytest.mark.parametrize(("lag", "words"), [(1.25, "nothing is certain"), (1.4, "is off")])  # 2.2 and 3.4 standard errors, of few batches.
def test_certain_is_more_than_what_batches_scatter_by_where_they_are_few(lag, words):
    assert words in of_records({"lag": lag}, error=0.1, errors=1.5).finding


def test_what_batches_scatter_by_anyway_is_nothing():
    within, beyond = (of_records({"mean_lag": size}, error=0.03) for size in (0.16, 0.18))  # sqrt(0.15**2 + 0.075**2) = 0.168
    assert "nothing is amiss" in within.finding
    assert "or differ by less than batches do in training, which is 0.17 standard deviations" in within.meaning
    assert "is off" in beyond.finding
    # Where batches hardly differ, as of a convolution, a tenth of a standard deviation.
    within, beyond = (of_records({"mean_lag": size}, error=0.001) for size in (0.09, 0.11))
    assert "nothing is amiss" in within.finding
    assert "or differ by less than 0.1 standard deviations" in within.meaning
    assert "is off" in beyond.finding
    # But what Dropout does is there for good.
    small = of_records({"mode": 0.92, "predicted_ratio": 1.08}, dropout="dropout")
    assert "is off" in small.finding
    assert "It is small: less than 0.1 standard deviations, or than the 0.056 that batches differ by in training." in small.meaning
    assert "It is small" not in of_records({"mode": 0.6, "predicted_ratio": 1.6}, dropout="dropout").meaning


@pytest.mark.parametrize(
    ("momentum", "numbers", "words"),
    [
        (0.99, {"lag": 0.4, "warm_up": 1.4}, "warming up"),
        (0.99, {"lag": 0.4, "warm_up": 0.8}, "warming up"),
        (0.99, {"lag": 0.4, "warm_up": 0.7}, "lag: the weights change faster"),  # Less than half of 1 / 0.4 - 1.
        (0.99, {"lag": 2.0, "warm_up": -0.4}, "warming up"),
        (0.99, {"lag": 2.0, "warm_up": 0.4}, "lag: the weights change faster"),  # That would make the moving variance too large.
        (0.99, {"mean_lag": 2.0, "mean_warm_up": 1.5, "mean_besides": 0.9}, "warming up"),
        (0.99, {"mean_lag": 2.0, "mean_warm_up": 1.5, "mean_besides": 1.1}, "lag: the weights change faster"),
        (1.0, {"lag": 0.4, "warm_up": 0.0}, "the layer is frozen"),
        (1.0, {"mean_lag": 2.0, "mean_warm_up": 0.0, "mean_besides": 2.0}, "the layer is frozen"),
        (0.0, {"lag": 0.4, "warm_up": 0.0}, "lag: the weights change faster"),
        (None, {"lag": 0.4, "warm_up": 0.0}, "lag: the weights change faster"),
    ],
)
def test_a_lag_has_its_cause(momentum, numbers, words):
    assert words in of_records(numbers, momentum=momentum, updates=100).meaning
    assert words in of_records(numbers, momentum=momentum, updates=100, dropout="dropout").meaning


def test_dropout_is_not_why_where_its_closed_form_says_otherwise():
    texts = {
        0.7: "dropout in front of it is why, for which the closed form predicts 0.714",
        0.55: "dropout in front of it explains 0.714 by the closed form, and the rest is",
        0.2: "1 layer (dropout) acts in training only, which no closed form explains",
        1.8: "1 layer (dropout) acts in training only, which no closed form explains",
    }
    for mode, text in texts.items():
        assert text in of_records({"mode": mode, "predicted_ratio": 1.4}, dropout="dropout").meaning


def test_dropout_is_why_further_behind_too():
    numbers = {"lag": 1.0, "mean_lag": 0.0, "mean_mode": 0.0, "error": 0.01, "mean_error": 0.01}
    of_layers = {"01_a": {"mode": 1.0}, "02_b": {"mode": 0.7, "predicted_ratio": 1.4}, "03_c": {"mode": 0.65}, "04_d": {"mode": 0.45, "predicted_ratio": 1.4}}
    layers = {name: Normalization(0.9, 400, 0.2, "dropout_" + name if "predicted_ratio" in one else None) for name, one in of_layers.items()}

    def of(names):
        record = {f"variance_shift/{tag}/{name}": value for name in names for tag, value in (numbers | of_layers[name]).items()}
        return conclusion([{"step": 5, **record}], {name: layers[name] for name in names})

    assert "04_d is off" in of(["01_a", "02_b", "03_c", "04_d"]).finding
    assert "dropout_04_d in front of it explains 0.714 by the closed form, and the rest" in of(["01_a", "02_b", "03_c", "04_d"]).meaning
    behind = of(["01_a", "02_b", "03_c"])
    assert "03_c is off" in behind.finding
    assert behind.meaning.startswith("dropout_02_b is why, in front of 02_b, whose inputs pass on what they shift by: ")
    assert "adds up on the way here" in of(["01_a", "03_c"]).meaning


def test_what_layers_in_front_leave_in_doubt_is_no_shift_of_those_behind():
    """In inference a layer scales what comes behind it by the error of its own moving statistics."""
    numbers = {"lag": 1.0, "mean_lag": 0.0, "mean_mode": 0.0, "mean_error": 0.01}
    layers = dict.fromkeys(("01_a", "02_b"), Normalization(0.9, 400, 1.0))
    for error, words in ((0.2, "nothing is"), (0.01, "02_b is off")):
        of_layers = {"01_a": {"mode": 1.0, "error": error}, "02_b": {"mode": 0.7, "error": 0.01}}
        record = {f"variance_shift/{tag}/{name}": value for name, one in of_layers.items() for tag, value in (numbers | one).items()}
        assert words in conclusion([{"step": 5, **record}], layers).finding


def test_the_step_since_when_is_of_the_cause_that_is_named():
    """At first the layer's statistics warm up, and only then lag."""
    numbers = {"lag": 0.5, "mode": 1.0, "mean_lag": 0.0, "mean_mode": 0.0, "error": 0.01, "mean_error": 0.01}
    records = [
        {"step": step, **{f"variance_shift/{tag}/{NAME}": value for tag, value in (numbers | {"warm_up": left}).items()}}
        for step, left in ((1, 1.0), (9, 0.1), (20, 0.0))
    ]
    layers = {NAME: Normalization(0.9, 20, 0.2)}
    assert "since step 9:" in conclusion(records, layers).finding
    assert "since step 1:" in conclusion(records[:1], layers).finding


def test_a_mode_that_is_far_larger_than_any_lag_is_named():
    """Dropout that acts through something else than one linear layer: nobody has a closed form for it, but it is there."""
    assert "in inference its inputs have 0.6 times their variance in training" in of_records({"mean_lag": 0.12, "mode": 0.6}).finding
    assert "from its moving mean" in of_records({"mean_lag": 0.15, "mode": 0.6}).finding  # A mode of half a logarithm of 0.6: 0.255 standard deviations.
    assert "warming up" in of_records({"mean_lag": 0.12, "mean_warm_up": 0.12, "mean_besides": 0.0, "mode": 0.3}).meaning


def test_what_lags_by_more_than_dropout_shifts_comes_first():
    numbers = {"lag": 1.0, "mode": 1.0, "mean_lag": 0.0, "mean_mode": 0.0, "error": 0.01, "mean_error": 0.01}
    for lag, first in ((3.0, "01_a"), (1.3, "02_b")):
        of_layers = {"01_a": {"lag": lag}, "02_b": {"mode": 0.7, "predicted_ratio": 1.45}}
        record = {f"variance_shift/{tag}/{name}": value for name, one in of_layers.items() for tag, value in (numbers | one).items()}
        layers = {"01_a": Normalization(0.9, 400, 0.2, in_front=set()), "02_b": Normalization(0.9, 400, 0.2, "dropout", in_front=set(), acting=["dropout"])}
        result = conclusion([{"step": 5, **record}], layers)
        assert f"{first} is off" in result.finding
        besides = "Dropout shifts 1 layer (02_b) besides: in inference the inputs of 02_b have 0.7 times their variance."
        assert result.meaning.endswith(besides) == (first == "01_a")


def test_too_few_data_tell_nothing():
    """A single batch, of which the standard error is as large as what would count."""
    assert "nothing is certain" in of_records({"lag": 1.1, "mode": 1.1}, error=0.4, errors=1.6).finding
    assert "nothing is amiss" in of_records({"lag": 1.1, "mode": 1.1}, error=0.1, errors=0.4).finding


def test_moving_statistics_that_scatter_are_said_to():
    result = of_records({"mode": 2.4}, momentum=0.0, error=0.4, errors=1.05)  # 0.44 standard deviations, where batches differ by 0.43
    assert "nothing is certain" in result.finding
    assert result.meaning == "The moving statistics scatter themselves: with momentum 0 they hold about 1 batch."
    assert result.remedy == "Let them average over more batches: keras_bn.BatchNormalization(momentum=0.9)."
    assert "they hold about 2 batches" in of_records({"mode": 2.6}, momentum=0.25, error=0.336, errors=0.84).meaning


@pytest.mark.parametrize(
    ("momentum", "advice"), [(0.0, "over more batches: keras_bn.BatchNormalization(momentum=0.9)"), (0.9, "(momentum=0.8)"), (0.99, "(momentum=0.96)")]
)
def test_no_low_momentum_is_advised(momentum, advice):
    assert of_records({"lag": 2.0}, momentum=momentum).remedy.endswith(f"{advice}.")


def test_means_warm_up_channel_by_channel(rng):
    x = rng.normal(3, 2, (32, 5)).astype("float32")
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4), keras_bn.BatchNormalization(momentum=0.8, center=False, scale=False)])
    began = rng.normal(0, 5, 4)
    model.layers[1].moving_mean.assign(began)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    shift = callbacks.VarianceShift(x, every=1)
    mean, of_kernel = began, (x @ model.layers[0].kernel.numpy()).mean(0)
    # On by something else than what the moving mean began with; and half of the way to that, so that less seems to be left than is.
    for updates, bias in ((2, np.zeros(4)), (4, rng.normal(0, 4, 4)), (6, (began - of_kernel) / 2)):
        model.layers[0].bias.assign(bias)
        model.fit(x, np.zeros((32, 4)), batch_size=32, verbose=0, epochs=2, callbacks=[shift])
        of_inputs = of_kernel + bias
        for _ in range(2):
            mean = 0.8 * mean + 0.2 * of_inputs
            variance = model.layers[1].moving_variance.numpy()  # Checked at the end of each fit.
        off, first = ((value - of_inputs) / np.sqrt(variance + 1e-3) for value in (mean, began))
        share = min(max(0.0, off @ first / (first @ first)), 0.8**updates)
        expected = [np.sqrt(np.mean(value**2)) for value in (off, share * first, off - share * first)]
        record = shift.history[-1]
        got = [record[f"variance_shift/{name}/01_batch_normalization"] for name in ("mean_lag", "mean_warm_up", "mean_besides")]
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-5)  # Rounding of float32.
    assert share < 0.8**6


def test_small_lags_in_front_add_up():
    """Of two layers in front, where they explain half of a mode that is not small; what the layer itself lags by does nothing to its inputs."""
    numbers = {"lag": 1.0, "mode": 1.0, "mean_lag": 0.0, "mean_mode": 0.0, "error": 0.001, "mean_error": 0.001}
    for lags, words in (((0.04, 0.04, 0.0), "of 2 layers (01_a, 02_b) are off by little each"), ((0.03, 0.03, 0.09), "No Dropout is in front of it")):
        of_layers = {"01_a": {"mean_lag": lags[0]}, "02_b": {"mean_lag": lags[1]}, "03_c": {"mean_lag": lags[2], "mode": 0.75}}  # 0.144 standard deviations.
        record = {f"variance_shift/{tag}/{name}": value for name, one in of_layers.items() for tag, value in (numbers | one).items()}
        result = conclusion([{"step": 5, **record}], dict.fromkeys(of_layers, Normalization(0.9, 400, 0.2)))
        assert "03_c is off" in result.finding
        assert words in result.meaning


def test_dropout_that_no_closed_form_explains_is_told_of():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((64,))
    outputs = keras_bn.BatchNormalization(momentum=0.9)(keras.layers.Dense(64)(inputs))
    outputs = keras.layers.Add()([inputs, keras.layers.Dropout(0.5, name="far")(keras.layers.ReLU()(outputs))])
    outputs = keras_bn.BatchNormalization(momentum=0.9)(keras.layers.Dense(32)(outputs))
    model = keras.Model(inputs, keras.layers.Dense(10)(outputs))
    finding, meaning, remedy, record = summary_of(model, keras.optimizers.SGD(0.01), epochs=4)
    assert record["mode/02_batch_normalization"] < 0.85
    assert "02_batch_normalization" in finding
    assert "in inference its inputs have" in finding
    assert meaning.startswith("In front of it 1 layer (far) acts in training only, which no closed form explains")
    assert "a Dropout can stand behind the last batch normalisation" in remedy


def test_a_branch_is_not_in_front_of_the_other():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((64,))
    dropped = keras_bn.BatchNormalization(momentum=0.9)(keras.layers.Dropout(0.4)(inputs))
    noisy = keras_bn.BatchNormalization(momentum=0.9)(keras.layers.GaussianNoise(1.0)(inputs))
    both = keras.layers.Dense(16)(keras.layers.Concatenate()([dropped, noisy]))
    finding, meaning, _, record = summary_of(keras.Model(inputs, keras.layers.Dense(10)(both)), keras.optimizers.SGD(0.01), epochs=4)
    assert record["mode/02_batch_normalization"] < record["mode/01_batch_normalization"] < 0.9
    assert '02_batch_normalization ("' in finding
    assert meaning.startswith("In front of it 1 layer (gaussian_noise) acts in training only")
    mode = record["mode/01_batch_normalization"]
    assert f"Dropout shifts 1 layer (01_batch_normalization) besides: in inference the inputs of 01_batch_normalization have {mode:.3g} times" in meaning
    model = keras.Model(inputs, keras.layers.Dense(10)(keras_bn.BatchNormalization()(both)))
    fitted(compiled(model, "sgd"), [shift := callbacks.VarianceShift(X, every=29)])
    first, second, third = shift._layers
    assert {name: layer.in_front for name, layer in shift._layers.items()} == {first: set(), second: set(), third: {first, second}}
    acting = [("dropout",), ("gaussian_noise",), ("dropout", "gaussian_noise")]
    assert [tuple(layer.acting) for layer in shift._layers.values()] == acting
