"""What callbacks conclude, on trainings of which it is known what is wrong with them; and from records that say it."""

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

import keras_bn
from keras_bn import callbacks
from keras_bn.measures.conclusions import activations, covariate_shift, loss_landscape, variance_shift
from keras_bn.measures.conclusions.conclusion import not_learned

X, Y = load_digits(return_X_y=True)
X = (X / 16).astype("float32")
BATCH = 64


def trained(momentum, rate, epochs, learning_rate=0.05, dropout=keras.layers.Dropout, **options):
    """Instruments that have measured four times Dense, batch normalisation, ReLU and Dropout."""
    keras.utils.set_random_seed(0)
    layers = []
    for _ in range(4):
        layers += [keras.layers.Dense(32), keras_bn.BatchNormalization(momentum=momentum), keras.layers.ReLU(), dropout(rate)]
    model = keras.Sequential([keras.Input((64,)), *layers, keras.layers.Dense(10)])
    model.compile(keras.optimizers.SGD(learning_rate), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    instruments = [
        callbacks.InternalCovariateShift(**options),
        callbacks.VarianceShift(X[:1024], **options),
        callbacks.LossLandscape(**options),
        callbacks.ActivationStatistics((X[:BATCH], Y[:BATCH]), **options),
    ]
    model.fit(X, Y, batch_size=BATCH, epochs=epochs, verbose=0, callbacks=instruments)
    return instruments


def lines(summary):
    result = summary.split("\n")
    assert [line[-1] in ".)" for line in result] == [True] * 3, summary
    return result


def test_the_shift_that_dropout_makes_is_told_from_warming_up(capsys):
    *others, last = trained(momentum=0.9, rate=0.5, epochs=8, report=True)
    covariate, variance, landscape = (lines(instrument.summary()) for instrument in others)
    printed = capsys.readouterr().out
    assert all(instrument.summary() in printed for instrument in (*others, last))
    # Its inputs vary less in inference: the first layer, which has no Dropout in front, is not the one.
    assert variance[0].startswith("VarianceShift, step 232: 04_batch_normalization is off, since step ")
    assert "times their variance in training" in variance[0]
    assert float(variance[0].split(" have ")[1].split(" times")[0]) < 0.8
    assert variance[1].startswith("dropout_2 in front of it ")
    assert "the closed form" in variance[1]
    assert "UniformDropout" in variance[2]
    assert "shifts most, and has since step" in covariate[0]
    assert "nothing is amiss" in covariate[1]
    assert "effective smoothness" in landscape[0]


def test_its_remedy_helps():
    [_, instrument, *_] = trained(momentum=0.9, rate=0.1, epochs=8, dropout=keras_bn.UniformDropout)
    modes = [value for name, value in instrument.history[-1].items() if "/mode/" in name]
    assert max(abs(np.log(modes))) < 0.1


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_warming_up_says_how_long_it_lasts(rate):
    [_, instrument, *_] = trained(momentum=0.99, rate=rate, epochs=2)
    finding, meaning, remedy = lines(instrument.summary())
    assert "times the variance that its moving variance holds" in finding
    assert "with momentum 0.99, after 58 steps of this optimizer, 55.8 % of them is what they were built with" in meaning
    assert remedy == "Train 401 steps more until 1 % is left, or build it to follow faster: keras_bn.BatchNormalization(momentum=0.92)."


def test_a_net_that_does_not_learn_is_said_to():
    instruments = trained(momentum=0.9, rate=0.0, epochs=1, learning_rate=1e-7)
    for instrument in (instruments[0], instruments[2]):
        finding, meaning, _ = lines(instrument.summary())
        assert "the loss of the measured steps has not fallen by more than its scatter: " in finding
        assert "the net has not learned" in meaning


def test_what_has_measured_nothing_says_why():
    instrument = trained(momentum=0.9, rate=0.0, epochs=1, every=lambda step: False)[0]
    assert lines(instrument.summary())[1].startswith("There is nothing to conclude: no step of this training was due by every=")


def records(measure, *each):
    return [{"step": index, **{f"{measure}/{name}": value for name, value in one.items()}} for index, one in enumerate(each)]


def variances(lag, mode, error=0.01):
    return {"lag/01_a": lag, "mode/01_a": mode, "error/01_a": error, "ratio/01_a": max(lag * mode, 1 / lag / mode)}


@pytest.mark.parametrize(
    ("record", "finding", "remedy"),
    [
        (variances(1.02, 0.98), "nothing is amiss: the largest ratio is 1 at 01_a, of standard error 0.01.", "There is nothing to do"),
        (
            variances(1.5, 1.0),
            "01_a is off, since step 400: its inputs have 1.5 times the variance",
            "follow faster: keras_bn.BatchNormalization(momentum=0.6).",
        ),
        (variances(1.0, 0.5), "01_a is off, since step 400: in inference its inputs have 0.5 times", "Look for Dropout or noise further in front"),
    ],
)
def test_three_standard_errors_decide(record, finding, remedy):
    history = [{**each, "step": 400 + index} for index, each in enumerate(records("variance_shift", record, record))]
    result = variance_shift.conclusion(history, {"01_a": 0.9}, {})
    assert finding in result.finding
    assert remedy in result.remedy


def test_layers_that_hardly_move_are_named_and_do_not_count():
    one = {"relative/01_a": 0.0, "update_size/01_a": 1e-9, "relative/02_b": 1e-7, "update_size/02_b": 0.1, "cosine/02_b": 1.0}
    one |= {"relative/03_c": 2.0, "cosine/03_c": 0.1, "update_size/03_c": 0.1}
    history = records("internal_covariate_shift", one, one)
    assert covariate_shift.unshifted(history[0]) == ["02_b"]
    result = covariate_shift.conclusion(history, 0.1)
    assert "03_c shifts most, and has since step 0: by 2 of its gradient, cosine 0.1." in result.finding
    assert "Shifts below rounding, where cosines of 1 say nothing: 1 layer (02_b). Weights that hardly move: 1 layer (01_a)." in result.meaning
    assert "more than the gradient itself" in result.meaning
    assert result.remedy.endswith("model.optimizer.learning_rate = 0.05.")
    nothing = covariate_shift.conclusion(records("internal_covariate_shift", one | {"relative/03_c": 1e-7}), 0.1)
    assert "no layer's gradient changes by more than rounding" in nothing.finding


def test_a_landscape_says_whether_steps_are_too_long():
    short = {"loss": 1.0, "loss_min": 0.5, "loss_max": 0.9, "effective_smoothness": 4.0, "gradient_change_max": 2.0, "gradient_norm": 1.0}
    assert "nothing is amiss" in loss_landscape.conclusion(records("loss_landscape", short), 1.0).meaning
    long = loss_landscape.conclusion(records("loss_landscape", short, short | {"loss_max": 3.0}, short | {"loss_max": 2.0}), 1.0)
    assert "some steps raise the loss, as since step 1" in long.finding
    assert long.remedy.endswith("model.optimizer.learning_rate = 0.25.")
    assert "says nothing" in loss_landscape.conclusion(records("loss_landscape", short | {"effective_smoothness": None}), 1.0).meaning


def test_activations_say_what_a_batch_can_tell():
    record = {"dead/01_a": 0.25, "dead/02_b": 0.0, "gradient_ratio/01_a": 1.4, "input_stddev/01_a": 1.0}
    dead = activations.conclusion(records("activation_statistics", record), 60)
    assert "behind 01_a 25 % of the channels are dead" in dead.finding
    assert "fewer than 5 % of the data" in dead.meaning
    saturated = activations.conclusion(records("activation_statistics", {"saturated/01_a": 0.5}), 60)
    assert "50 % of the activations are saturated" in saturated.finding
    deep = activations.conclusion(records("activation_statistics", {f"gradient_ratio/{number:02d}_a": 1.5 for number in range(1, 60)}), 60)
    assert "grows 2.5e+10 times" in deep.finding


@pytest.mark.parametrize("conclude", [lambda each: variance_shift.conclusion(each, {}, {}), lambda each: covariate_shift.conclusion(each, None)])
def test_what_is_not_finite_is_not_praised(conclude):
    record = {"step": 3, "variance_shift/lag/02_b": None, "internal_covariate_shift/relative/02_b": None}
    assert "not all numbers are finite of 1 layer (02_b)." in conclude([record]).finding


def test_a_net_that_learns_fast_is_said_to_learn():
    history = records("loss_landscape", *({"loss": loss} for loss in (2.3, 1.5, 1.0, 0.8, 0.7, 0.65)))
    assert not_learned("LossLandscape", history, "loss_landscape/loss") is None


@pytest.mark.parametrize(
    ("momentum", "step", "lag", "words"),
    [
        (0.99, 100, 0.4, "warming up"),
        (0.99, 100, 1.2, "warming up"),
        (0.99, 100, 3.0, "lag: the weights change faster"),  # As much as that no initial value explains.
        (0.99, 2000, 0.4, "lag: the weights change faster"),
        (1.0, 100, 0.4, "the layer is frozen"),
        (0.0, 0, 0.4, "lag: the weights change faster"),
        (None, 100, 0.4, "lag: the weights change faster"),
        (0.9, 0, 0.4, "warming up"),
    ],
)
def test_a_lag_has_its_cause(momentum, step, lag, words):
    history = [{**records("variance_shift", variances(lag, 1.0))[0], "step": step}]
    assert words in variance_shift.conclusion(history, {"01_a": momentum}, {"01_a": "dropout"}).meaning
    assert words in variance_shift.conclusion(history, {"01_a": momentum}, {}).meaning


def test_dropout_is_not_why_where_its_closed_form_says_otherwise():
    texts = {
        0.7: "dropout in front of it is why, ",
        0.2: "dropout in front of it explains 0.714 by the closed form, and the rest is",
        1.8: "No Dropout that explains",
    }
    for mode, text in texts.items():
        history = records("variance_shift", variances(1.0, mode) | {"predicted_ratio/01_a": 1.4})
        assert text in variance_shift.conclusion(history, {"01_a": 0.9}, {"01_a": "dropout"}).meaning


def test_conclusions_stay_when_the_model_is_compiled_anew():
    [_, instrument, *_] = trained(momentum=0.9, rate=0.5, epochs=2)
    before = instrument.summary()
    instrument.net.compile("sgd", "mse")
    assert instrument.summary() == before
