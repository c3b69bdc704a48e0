"""`Recalibrate`: validation and the model at the end have population statistics, also of averaged weights, and the training stays the same."""

import re

import keras
import numpy as np
import pytest

from keras_bn import callbacks, measures

X = np.random.default_rng(0).normal(1, 2, (96, 6)).astype("float32")
Y = X.sum(1, keepdims=True)


def compiled(**of_optimizer):
    keras.utils.set_random_seed(1)
    hidden = [keras.layers.Dense(5), keras.layers.Dropout(0.5), keras.layers.BatchNormalization(), keras.layers.ReLU()]
    model = keras.Sequential([keras.Input((6,)), *hidden, keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.01, **of_optimizer), "mse")
    return model


def shift_of(model):
    [shift] = measures.variance_shift(model, X)
    return [shift.ratio, shift.mean_shift]


class Watching(keras.callbacks.Callback):
    """What the statistics are off by when validation begins, and at the end of each epoch."""

    def __init__(self):
        super().__init__()
        self.at_validation, self.at_end = [], []

    def on_test_begin(self, logs=None):
        self.at_validation.append(shift_of(self.model))

    def on_epoch_end(self, epoch, logs=None):
        self.at_end.append(shift_of(self.model))


def fitted(model, *others, **options):
    model.fit(X, Y, batch_size=32, verbose=0, callbacks=list(others), **options)
    return model


def test_validation_has_population_statistics():
    watching = Watching()
    model = fitted(compiled(), callbacks.Recalibrate(X), watching, epochs=3, validation_data=(X, Y))
    np.testing.assert_allclose(watching.at_validation, [[1, 0]] * 3, atol=1e-4)
    np.testing.assert_allclose(shift_of(model), [1, 0], atol=1e-4)


def test_without_validation_epochs_end_with_them():
    watching = Watching()
    fitted(compiled(), callbacks.Recalibrate(X, every=2), watching, epochs=4)
    for epoch, (ratio, _) in enumerate(watching.at_end, 1):
        assert (ratio < 1.001) == (epoch % 2 == 0)
    callback = callbacks.Recalibrate(X, every=3)
    np.testing.assert_allclose(shift_of(fitted(compiled(), callback, epochs=2)), [1, 0], atol=1e-4)  # At the end in any case.
    assert len(callback.changes) == 1


@pytest.mark.parametrize("on_epoch", [False, True])
def test_averaged_weights_get_statistics_of_their_own(on_epoch):
    watching = Watching()
    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=on_epoch)
    model = compiled(use_ema=True, ema_momentum=0.9)
    fitted(model, swap, callbacks.Recalibrate(X), watching, epochs=3, validation_data=(X, Y))
    np.testing.assert_allclose(watching.at_validation, [[1, 0]] * 3, atol=1e-4)
    np.testing.assert_allclose(shift_of(model), [1, 0], atol=1e-4)
    if on_epoch:
        np.testing.assert_allclose(watching.at_end, [[1, 0]] * 3, atol=1e-4)


def test_the_training_stays_the_same():
    plain = fitted(compiled(), epochs=3, validation_data=(X, Y))
    recalibrated = fitted(compiled(), callbacks.Recalibrate(X, dropout=True), epochs=3, validation_data=(X, Y))
    for one, other in zip(plain.trainable_variables, recalibrated.trainable_variables, strict=True):
        assert np.array_equal(one, other)


def test_evaluate_alone_changes_nothing():
    model = fitted(compiled(), epochs=1)
    before = model.get_weights()
    callback = callbacks.Recalibrate(X)
    model.evaluate(X, Y, verbose=0, callbacks=[callback])
    assert all(np.array_equal(one, other) for one, other in zip(before, model.get_weights()))
    assert callback.changes is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"data": X, "every": 0}, '`every` of Recalibrate is 0; expected "epoch" or a positive number of epochs: leave it out for each.'),
        ({"data": X, "method": "precise"}, "`method` is 'precise'; expected 'sequential' or 'batch': leave it out for the exact one."),
        ({"data": iter([X])}, "`data` of Recalibrate is a list_iterator, used up once it is read; expected what can be read again: a dataset."),
        ({"data": "logs"}, "`data` is 'logs'; expected inputs of the model, or batches of them: "),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        callbacks.Recalibrate(**arguments)
