"""Each message says how to mend what it refuses; here each remedy is tried."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import trainings

import keras_bn
from keras_bn import callbacks, measures

X, Y = trainings.X[:16], trainings.Y[:16]
SHIFT, LANDSCAPE, VARIANCES, ACTIVATIONS = (
    callbacks.InternalCovariateShift,
    callbacks.LossLandscape,
    callbacks.VarianceShift,
    callbacks.ActivationStatistics,
)
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def net(*layers, optimizer="sgd", kind=keras.Sequential, run_eagerly=False):
    layers = layers or (keras.layers.Dense(4, name="first"), keras_bn.BatchNormalization(), keras.layers.Dense(3, name="last"))
    model = kind([keras.Input((5,)), *layers])
    model.compile(optimizer, LOSS, run_eagerly=run_eagerly)
    return model


class OwnStep(keras.Sequential):
    def train_step(self, data):
        return super().train_step(data)


class OwnLoss(keras.Sequential):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return 2 * super().compute_loss(x, y, y_pred, sample_weight, training)


class NeedsNumbers(keras.Model):
    """Cannot be called without them, so that it cannot be built from a batch's shape."""

    def __init__(self):
        super().__init__()
        self.normalisation, self.last = keras_bn.BatchNormalization(), keras.layers.Dense(3)

    def call(self, x):
        if isinstance(x, keras.KerasTensor) or not tf.executing_eagerly():
            assert self.normalisation.built, "no numbers"
        return self.last(self.normalisation(x))


def needs_numbers(called):
    model = NeedsNumbers()
    model.compile("sgd", LOSS, run_eagerly=True)
    if called:
        model(X)
    return model


def frozen(*names):
    model = net()
    for name in names:
        model.get_layer(name).trainable = False
    model.compile("sgd", LOSS)
    return model


def several_optimizers():
    if not hasattr(keras.optimizers, "MultiOptimizer"):
        pytest.skip("Keras is older than that optimizer.")
    several = keras.optimizers.OptimizerMap(keras.optimizers.SGD(0.1), {"first.*": keras.optimizers.Adam(0.01)})
    return net(optimizer=keras.optimizers.MultiOptimizer(several))


def endless():
    return tf.data.Dataset.from_tensor_slices(X).repeat().batch(4)


def parts():
    yield from (X[:6], X[6:])


class Looping(keras.Layer):
    """Calls a layer in a loop of TensorFlow's."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        layer.build((None, 5))

    def call(self, x):
        return tf.squeeze(tf.map_fn(self.layer, x[:, tf.newaxis]), 1)


def fit(make_model, make_callback):
    """The history of a callback after a fit."""
    instrument = make_callback()
    make_model().fit(X, Y, batch_size=8, verbose=0, callbacks=[instrument])
    return instrument.history


def measured(measure, make_model, data):
    return measure(make_model(), data)


# Message: (its remedy's words, what is refused, the same with the remedy).
REMEDIES = {
    "own step": (
        "put it into compute_loss",
        lambda: fit(lambda: net(kind=OwnStep), SHIFT),
        lambda: fit(lambda: net(kind=OwnLoss), SHIFT),
    ),
    "own step, with its loss": (
        r"give `loss`, a function of \(model, x, y, sample_weight\)",
        lambda: fit(lambda: net(kind=OwnStep), SHIFT),
        lambda: fit(lambda: net(kind=OwnStep), lambda: SHIFT(loss=lambda model, x, y, sample_weight: LOSS(y, model(x, training=True)))),
    ),
    "no kernel": (
        "give it one that is trainable",
        lambda: fit(lambda: net(keras_bn.BatchNormalization()), SHIFT),
        lambda: fit(lambda: net(keras_bn.BatchNormalization(), keras.layers.Dense(3)), SHIFT),
    ),
    "no trainable kernel": ("give it one that is trainable", lambda: fit(lambda: frozen("first", "last"), SHIFT), lambda: fit(lambda: frozen("first"), SHIFT)),
    "no such layer": ("choose among these", lambda: fit(net, lambda: SHIFT(layers=["other"])), lambda: fit(net, lambda: SHIFT(layers=["last"]))),
    "no such place": ("which are 1: first, 2: last", lambda: fit(net, lambda: SHIFT(layers=[3])), lambda: fit(net, lambda: SHIFT(layers=[2]))),
    "layers that choose none": (
        "choose among these",
        lambda: fit(net, lambda: SHIFT(layers=lambda layer: False)),
        lambda: fit(net, lambda: SHIFT(layers=lambda layer: layer.name == "last")),
    ),
    "only frozen layers": (
        "set its `trainable`",
        lambda: fit(lambda: frozen("first"), lambda: SHIFT(layers=["first"])),
        lambda: fit(net, lambda: SHIFT(layers=["first"])),
    ),
    "no normalisation": (
        "leave it out for other models",
        lambda: fit(lambda: net(keras.layers.Dense(3)), lambda: VARIANCES(X)),
        lambda: fit(lambda: net(keras.layers.Dense(3)), SHIFT),
    ),
    "used up": (
        "what can be read again: a dataset",
        lambda: fit(net, lambda: VARIANCES(parts())),
        lambda: fit(net, lambda: VARIANCES(tf.data.Dataset.from_generator(parts, output_signature=tf.TensorSpec((None, 5))))),
    ),
    "no data": (
        "an array, a tf.data.Dataset",
        lambda: fit(net, lambda: VARIANCES(None)),
        lambda: fit(net, lambda: VARIANCES(tf.data.Dataset.from_tensor_slices(X).batch(5))),
    ),
    "a number for data": ("an array", lambda: fit(net, lambda: VARIANCES(3)), lambda: fit(net, lambda: VARIANCES(X))),
    "no end": ("by `take` of a tf.data.Dataset", lambda: fit(net, lambda: VARIANCES(endless())), lambda: fit(net, lambda: VARIANCES(endless().take(2)))),
    "data of other shape": ("expected inputs for ", lambda: fit(net, lambda: VARIANCES(X[:, :4])), lambda: fit(net, lambda: VARIANCES([X, X]))),
    "no batch": ("such as `fit` takes", lambda: fit(net, lambda: ACTIVATIONS(None)), lambda: fit(net, lambda: ACTIVATIONS((X, Y)))),
    "batch of other shape": (
        r"\(x, y\) or \(x, y, sample_weight\)",
        lambda: fit(net, lambda: SHIFT(batch=(X, Y[:3]))),
        lambda: fit(net, lambda: SHIFT(batch=(X, Y, np.ones(16)))),
    ),
    "batch that is none": ("a tuple of a batch", lambda: fit(net, lambda: SHIFT(batch="validation")), lambda: fit(net, lambda: SHIFT(batch=(X, Y)))),
    "several optimizers": (
        "give `step_sizes`",
        lambda: fit(several_optimizers, LANDSCAPE),
        lambda: fit(several_optimizers, lambda: LANDSCAPE(step_sizes=[0.1])),
    ),
    "no step sizes": ("positive numbers", lambda: fit(net, lambda: LANDSCAPE(step_sizes=[])), lambda: fit(net, lambda: LANDSCAPE(step_sizes=[0.1]))),
    "no schedule": ("a positive number of optimizer steps", lambda: fit(net, lambda: LANDSCAPE(every=0)), lambda: fit(net, lambda: LANDSCAPE(every=1))),
    "not built": (
        "call it on a batch before",
        lambda: fit(lambda: needs_numbers(called=False), lambda: VARIANCES(X)),
        lambda: fit(lambda: needs_numbers(called=True), lambda: VARIANCES(X)),
    ),
    "within a loop": (
        "leave out TimeDistributed",
        lambda: fit(lambda: net(Looping(keras_bn.BatchNormalization()), keras.layers.Dense(3)), lambda: VARIANCES(X)),
        lambda: fit(net, lambda: VARIANCES(X)),
    ),
    "data without a batch": (
        "give a dataset instead",
        lambda: measured(measures.variance_shift, net, iter([])),
        lambda: measured(measures.variance_shift, net, tf.data.Dataset.from_tensor_slices(X).batch(5)),
    ),
    "arrays of unequal length": (
        "give batches as a generator",
        lambda: measured(measures.variance_shift, net, [X, X[:3]]),
        lambda: measured(measures.variance_shift, net, iter([X, X[:3]])),
    ),
}


@pytest.mark.parametrize("message", REMEDIES)
def test_the_remedy_of_each_message_works(message):
    words, refused, mended = REMEDIES[message]
    with pytest.raises(ValueError, match=words):
        refused()
    results = mended()
    assert results
    assert not any("error" in result for result in results if isinstance(result, dict))


def test_a_model_built_in_a_strategy_s_scope_is_measured_outside_of_it(strategy):
    keras.backend.clear_session()  # A `tf.map_fn` that failed has left a setting behind, with which no scope can be entered.
    with strategy.scope():
        model = net()
    with strategy.scope(), pytest.raises(ValueError, match=r"expected one outside of it: only build and compile the model in the scope\.$"):
        fit(lambda: model, LANDSCAPE)
    assert fit(lambda: model, LANDSCAPE)
