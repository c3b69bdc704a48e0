"""What callbacks conclude, on trainings of which it is known what is wrong with them; and from records that say it."""

import keras
import pytest
from known_trainings import BATCH, X, Y, compiled, fitted, in_hand, net

from keras_bn import callbacks
from keras_bn.measures.conclusions import activations, covariate_shift, loss_landscape, variance_shift
from keras_bn.measures.conclusions.conclusion import not_learned


def trained(momentum, rate, epochs, learning_rate=0.05, **options):
    """Instruments that have measured a training."""
    model = compiled(net(4, momentum, rate), keras.optimizers.SGD(learning_rate))
    instruments = [
        callbacks.InternalCovariateShift(**options),
        callbacks.VarianceShift(X, **options),
        callbacks.LossLandscape(**options),
        callbacks.ActivationStatistics((X[:BATCH], Y[:BATCH]), **options),
    ]
    fitted(model, instruments, epochs)
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
    assert variance[0].startswith('VarianceShift, step 232: 04_batch_normalization ("batch_normalization_3") is off, since step ')
    assert "times their variance in training" in variance[0]
    assert float(variance[0].split(" have ")[1].split(" times")[0]) < 0.8
    assert variance[1].startswith("dropout_2 in front of it ")
    assert "the closed form" in variance[1]
    assert "UniformDropout" in variance[2]
    assert "shifts most, and has since step" in covariate[0]
    assert "nothing is amiss" in covariate[1]
    assert "effective smoothness" in landscape[0]


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


def test_layers_that_hardly_move_are_named_and_do_not_count():
    one = {"relative/01_a": 0.0, "update_size/01_a": 1e-9, "relative/02_b": 1e-7, "update_size/02_b": 0.1, "cosine/02_b": 1.0}
    one |= {"relative/03_c": 2.0, "cosine/03_c": 0.1, "update_size/03_c": 0.1}
    history = records("internal_covariate_shift", one, one)
    assert covariate_shift.unshifted(history[0]) == ["02_b"]
    result = covariate_shift.conclusion(history, 0.1)
    assert "03_c shifts most, and has since step 0: by 2 of its gradient, cosine 0.1." in result.finding
    assert "Shifts below rounding, where cosines of 1 say nothing: 1 layer (02_b). Weights that hardly move: 1 layer (01_a)." in result.meaning
    assert "more than the gradient itself" in result.meaning
    assert result.remedy.endswith("model.optimizer.learning_rate = 0.01.")
    nothing = covariate_shift.conclusion(records("internal_covariate_shift", one | {"relative/03_c": 1e-7}), 0.1)
    assert "no layer's gradient changes by more than rounding" in nothing.finding


def test_a_landscape_says_whether_steps_are_too_long():
    short = {"loss": 1.0, "loss_min": 0.5, "loss_max": 0.9, "effective_smoothness": 4.0, "gradient_change_max": 2.0, "gradient_norm": 1.0}
    assert "nothing is amiss" in loss_landscape.conclusion(records("loss_landscape", short), 1.0).meaning
    assert "measurement cannot tell: 6 could" in loss_landscape.conclusion(records("loss_landscape", short), 1.0).meaning
    assert "cannot tell" not in loss_landscape.conclusion(records("loss_landscape", *(short | {"loss": 1.0 / n} for n in range(1, 7))), 1.0).meaning
    assert "steps add up to 10 times the learning rate" in loss_landscape.conclusion(records("loss_landscape", short), None, 10.0).remedy
    long = loss_landscape.conclusion(records("loss_landscape", short, short | {"loss_max": 3.0}, short | {"loss_max": 2.0}), 1.0)
    assert "some steps raise the loss, at 2 of 3 measured steps." in long.finding
    assert long.remedy.endswith("model.optimizer.learning_rate = 0.25.")
    assert "some steps raise the loss" in loss_landscape.conclusion(records("loss_landscape", short | {"loss_max": 3.0}, short), 1.0).finding
    rarely = loss_landscape.conclusion(records("loss_landscape", short | {"loss_max": 3.0}, short, short), 1.0)
    assert "nothing is amiss" in rarely.meaning
    blind = loss_landscape.conclusion(records("loss_landscape", short | {"loss_max": 3.0, "grid_limit": 4.2}), 1.0)
    assert blind.remedy == "These steps are too long to tell the smoothness: take a tenth, and measure again: model.optimizer.learning_rate = 0.1."
    assert "says nothing" in loss_landscape.conclusion(records("loss_landscape", short | {"effective_smoothness": None}), 1.0).meaning


def test_activations_say_what_a_batch_can_tell():
    record = {"dead/01_a": 0.25, "dead/02_b": 0.0, "gradient_ratio/01_a": 1.4, "input_stddev/01_a": 1.0}
    dead = activations.conclusion(records("activation_statistics", record), 60)
    assert "behind 01_a 25 % of the channels are dead" in dead.finding
    assert "fewer than 5 % of the data" in dead.meaning
    assert dead.remedy.startswith("They were so at the first measurement: look at beta")
    later = activations.conclusion(records("activation_statistics", record | {"dead/01_a": 0.0}, record), 60)
    assert "lower the learning rate" in later.remedy
    few = activations.conclusion(records("activation_statistics", {"saturated/01_a": 0.05}), 60)
    assert "nothing is amiss" in few.finding  # 2.2 % and three standard errors of 60 examples: 7.9 %.
    saturated = activations.conclusion(records("activation_statistics", {"saturated/01_a": 0.5}), 60)
    assert "50 % of the activations are saturated" in saturated.finding
    bare = activations.conclusion(records("activation_statistics", {"input_stddev/01_a": 2.0}), 60)
    assert "no ReLU, sigmoid or tanh was found right behind a layer" in bare.finding
    assert bare.meaning == "The standard deviation of the inputs is 2."
    deep = activations.conclusion(records("activation_statistics", {f"gradient_ratio/{number:02d}_a": 1.5 for number in range(1, 60)}), 60)
    assert "grows 2.5e+10 times" in deep.finding


@pytest.mark.parametrize("conclude", [lambda each: variance_shift.conclusion(each, {}), lambda each: covariate_shift.conclusion(each, None)])
def test_what_is_not_finite_is_not_praised(conclude):
    record = {"step": 3, "variance_shift/lag/02_b": None, "internal_covariate_shift/relative/02_b": None}
    result = conclude([record])
    assert "not all numbers are finite of 1 layer (02_b)." in result.finding
    assert result.meaning.startswith("Either the data hold NaN or infinity, or the training diverges")
    assert "np.isfinite(x).all()" in result.remedy


@pytest.mark.parametrize(
    "losses",
    [
        (2.3, 1.5, 1.0, 0.8, 0.7, 0.65),
        (2.3, 0.1, 0.11, 0.09, 0.1, 0.11, 0.1),  # At once.
        (1.86, 1.8, 1.2, 0.1, 0.01, 0.003),  # All the time, and far.
        (2.71, 2.7, 2.66, 2.65, 2.6, 2.5, 2.2, 1.7, 0.9),  # Late, as records are rarer there.
    ],
)
def test_a_net_that_learns_is_said_to_learn(losses):
    history = records("loss_landscape", *({"loss": loss} for loss in losses))
    assert not_learned("LossLandscape", history, "loss_landscape/loss") is None


def test_what_is_divided_by_nothing_at_a_finite_loss_is_said():
    record = {"step": 3, "internal_covariate_shift/relative/02_b": None, "internal_covariate_shift/loss": 2.3}
    result = covariate_shift.conclusion([record], None)
    assert "The loss is finite, 2.3: what is divided by is 0 there" in result.meaning
    assert "ActivationStatistics" in result.remedy


def test_momentum_goes_further_than_the_learning_rate_says():
    model, landscape = compiled(net(1), keras.optimizers.SGD(0.01, momentum=0.9)), callbacks.LossLandscape(every=10)
    fitted(model, [landscape], 3)
    assert "By momentum steps add up to 10 times the learning rate" in landscape.summary()


def test_losses_without_a_trend_are_said_to_be_that(rng):
    """Of normal noise 1.4 % of trainings of nine records seem to learn, since the scatter is not known well: in 300, 4.3 with a standard deviation of 2.1."""
    learned = 0
    for losses in rng.normal(2.3, 0.2, (300, 9)):
        learned += not_learned("LossLandscape", records("loss_landscape", *({"loss": loss} for loss in losses)), "loss_landscape/loss") is None
    assert learned <= 12


@pytest.mark.parametrize("steps", [44, 88])
def test_a_short_training_by_hand_learns(steps):
    shift = callbacks.InternalCovariateShift()
    in_hand(compiled(net(3, rate=0.3), keras.optimizers.Adam(1e-3)), shift, steps)
    assert "shifts most" in lines(shift.summary())[0]


def test_conclusions_stay_when_the_model_is_compiled_anew():
    [_, instrument, *_] = trained(momentum=0.9, rate=0.5, epochs=2)
    before = instrument.summary()
    instrument.net.compile("sgd", "mse")
    assert instrument.summary() == before
