"""When the callbacks measure by themselves: short and long trainings, cheap and dear measurements, and that they do in `fit`."""

import keras
import numpy as np
import pytest

import keras_bn
from keras_bn import callbacks
from keras_bn.callbacks.schedule import Schedule


def due(steps, cost, known=True):
    schedule = Schedule(None, range(steps) if known else None, [cost])
    return [step for step in range(steps) if schedule(step, epoch=False)]


@pytest.mark.parametrize("cost", [0.5, 2, 5, 25, 130])
@pytest.mark.parametrize("steps", [1000, 3000, 20_000, 200_000])
def test_a_long_training_takes_at_most_a_tenth_longer(steps, cost):
    measured = due(steps, cost)
    assert len(measured) * cost <= max(0.07 * steps, 2 * cost)
    assert (measured[0], measured[-1]) == (0, steps - 1)
    assert len(measured) >= min(16, 0.07 * steps / cost - 1)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("cost", [0.5, 5, 130])
def test_a_short_training_has_eight_records(cost, known):
    assert len(due(24, cost, known)) >= 8


def test_a_training_whose_end_is_unknown_is_dense_first_and_then_rarer():
    measured = due(5000, 5, known=False)
    gaps = np.diff(measured)
    assert (np.diff(gaps) >= 0).all() or sorted(gaps)[-1] == 512
    assert len(measured) == 14 + 9
    assert measured[-1] == 4608


def test_every_instrument_has_eight_records_of_22_steps_in_fit():
    x, y = np.random.default_rng(0).normal(1, 2, (88, 4)).astype("float32"), np.ones((88, 1))
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras_bn.BatchNormalization(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    instruments = [
        callbacks.InternalCovariateShift(strict=True),
        callbacks.LossLandscape(strict=True),
        callbacks.ActivationStatistics((x, y), strict=True),
        callbacks.VarianceShift(x, strict=True),
    ]
    model.fit(x, y, batch_size=8, epochs=2, verbose=0, callbacks=instruments)
    for instrument in instruments[:3]:
        assert [record["step"] for record in instrument.history] == [0, 1, 2, 3, 4, 6, 8, 12, 16, 21]
    assert [record["step"] for record in instruments[3].history] == [1, 2, 3, 4, 6, 8, 12, 16, 22]  # After the last update.


def test_dear_data_are_read_rarely_in_a_long_training():
    x, y = np.ones((8, 2), "float32"), np.ones((8, 1))
    model = keras.Sequential([keras.Input((2,)), keras_bn.BatchNormalization(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    dear = callbacks.VarianceShift(np.ones((400, 2), "float32"), strict=True)  # 400 batches of 1.
    model.fit(x, y, batch_size=1, epochs=13, verbose=0, callbacks=[dear])
    assert [record["step"] for record in dear.history] == [1, 104]


def test_instruments_share_what_a_default_schedule_may_take():
    """In 1,000 steps 70 are allowed: four measurements at a cost of 4 / 3 + 5 + 5 + 2 + 1."""
    x, y = np.random.default_rng(0).normal(1, 2, (125, 2)).astype("float32"), np.ones((125, 1), "float32")
    model = keras.Sequential([keras.Input((2,)), keras_bn.BatchNormalization(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    instruments = [
        callbacks.InternalCovariateShift(strict=True),
        callbacks.LossLandscape(strict=True),
        callbacks.LossLandscape(strict=True),
        callbacks.ActivationStatistics((x, y), strict=True),
        callbacks.VarianceShift(x[:1], strict=True),
    ]
    model.fit(x, y, batch_size=1, epochs=8, verbose=0, callbacks=instruments)
    for instrument in instruments[:4]:
        assert [record["step"] for record in instrument.history] == [0, 6, 32, 999]
    assert [record["step"] for record in instruments[4].history] == [1, 8, 32, 1000]


def test_the_end_of_a_training_that_goes_on_is_known():
    x, y = np.random.default_rng(0).normal(1, 2, (40, 2)).astype("float32"), np.ones((40, 1), "float32")
    model = keras.Sequential([keras.Input((2,)), keras_bn.BatchNormalization(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    landscape, shift = callbacks.LossLandscape(strict=True), callbacks.VarianceShift(x, strict=True)
    for begin, end in ((0, 2), (2, 5)):
        model.fit(x, y, batch_size=4, initial_epoch=begin, epochs=end, verbose=0, callbacks=[landscape, shift])
    assert [record["step"] for record in landscape.history] == [0, 1, 2, 3, 4, 6, 8, 12, 16, 19, 24, 32, 49]
    assert [record["step"] for record in shift.history] == [1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 32, 50]


def test_the_size_of_the_training_s_batches_counts_for_what_a_measurement_costs():
    """Of 400 examples 200 batches of 2: too dear to be measured more than twice in 400 steps. The other one has a quarter of the budget nevertheless."""
    x, y = np.random.default_rng(0).normal(1, 2, (400, 2)).astype("float32"), np.ones((400, 1), "float32")
    model = keras.Sequential([keras.Input((2,)), keras_bn.BatchNormalization(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    landscape, shift = callbacks.LossLandscape(strict=True), callbacks.VarianceShift(x, strict=True)
    model.fit(x, y, batch_size=2, epochs=2, verbose=0, callbacks=[landscape, shift])
    assert [record["step"] for record in shift.history] == [1, 400]
    assert len(landscape.history) == 3
    assert landscape.history[-1]["step"] == 399
