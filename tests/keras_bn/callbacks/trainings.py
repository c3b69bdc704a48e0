"""Trainings of one small net in every way that `fit` has."""

import keras
import numpy as np
import tensorflow as tf

import keras_bn
from keras_bn import callbacks
from keras_bn.callbacks import train_batch
from keras_bn.measures.activations import QUANTITIES

RNG = np.random.default_rng(3)
X, Y = RNG.normal(1, 2, (44, 5)).astype("float32"), RNG.integers(0, 3, 44)
WEIGHTS = RNG.uniform(0.5, 2, 44).astype("float32")
BATCH = 8  # The last one has 4.


def batches():
    for start in range(0, len(X), BATCH):
        yield X[start : start + BATCH], Y[start : start + BATCH]


class Batches(keras.utils.PyDataset):
    """The same as a PyDataset, with sample weights."""

    def __len__(self):
        return -(-len(X) // BATCH)

    def __getitem__(self, index):
        part = slice(index * BATCH, (index + 1) * BATCH)
        return X[part], Y[part], WEIGHTS[part]


class Snapshots(keras.callbacks.Callback):
    """before, after: the trainable weights of the model, or of a net in it, around each batch; everything: all variables of the model before it."""

    def __init__(self, net=None):
        super().__init__()
        self._net, self.before, self.after, self.everything = net, [], [], []

    def on_train_batch_begin(self, batch, logs=None):
        self.before.append([value.numpy() for value in (self._net or self.model).trainable_variables])
        self.everything.append([value.numpy() for value in self.model.variables])

    def on_train_batch_end(self, batch, logs=None):
        self.after.append([value.numpy() for value in (self._net or self.model).trainable_variables])

    def put_back(self, batch, after=()):
        """Assigns the values before that batch, and to the weights in `after` those behind it."""
        for variable, value in zip(self.model.variables, self.everything[batch]):
            variable.assign(value)
        for variable, value in zip((self._net or self.model).trainable_variables, self.after[batch]):
            if any(variable is one for one in after):
                variable.assign(value)


def network(dropout=0.3):
    def ready(units):
        return [keras.layers.Dense(units, kernel_regularizer="l2"), keras_bn.BatchNormalization(momentum=0.9), keras.layers.ReLU()]

    return keras.Sequential([keras.Input((5,)), *ready(6), keras.layers.Dropout(dropout), *ready(4), keras.layers.Dense(3)])


def sgd():
    return keras.optimizers.SGD(0.1, momentum=0.9)


# What is handed to compile, to fit, and to the net, for each.
MODES = {
    "numpy": {},
    "jit": {"compile": {"jit_compile": True}},
    "eagerly": {"compile": {"run_eagerly": True}},
    "several steps an execution": {"compile": {"steps_per_execution": 4}},
    "several compiled steps an execution": {"compile": {"steps_per_execution": 4, "jit_compile": True}},
    "tf.data": {"fit": lambda: {"x": tf.data.Dataset.from_tensor_slices((X, Y)).batch(BATCH).prefetch(2)}},
    "generator": {"fit": lambda: {"x": (batch for _ in range(2) for batch in batches()), "steps_per_epoch": 6}},
    "PyDataset": {"fit": lambda: {"x": Batches()}},
    "sample weights": {"fit": lambda: {"x": X, "y": Y, "sample_weight": WEIGHTS, "batch_size": BATCH}},
    "class weights": {"fit": lambda: {"x": X, "y": Y, "class_weight": {0: 1.0, 1: 0.5, 2: 3.0}, "batch_size": BATCH}},
    "half precision": {"policy": "mixed_float16", "optimizer": lambda: keras.optimizers.LossScaleOptimizer(sgd(), initial_scale=2.0**21)},
    "accumulation": {"optimizer": lambda: keras.optimizers.Adam(0.01, gradient_accumulation_steps=3)},
    "moving average of weights": {"optimizer": lambda: keras.optimizers.Adam(0.01, use_ema=True, ema_overwrite_frequency=4)},
    "replicas": {"replicas": True},
}


def instruments(log_dir=None, every=2):
    return [
        callbacks.InternalCovariateShift(log_dir, every=every, strict=True),
        callbacks.VarianceShift(tf.data.Dataset.from_tensor_slices(X).batch(20), log_dir, "epoch", strict=True),
        callbacks.LossLandscape(log_dir, every=every, strict=True),
        callbacks.ActivationStatistics((X[:10], Y[:10]), log_dir, every=every, strict=True, quantities=[row.name for row in QUANTITIES]),
    ]


_models = {}  # By mode (all that differ in their data only are "numpy") and dropout: (model, its first values). So each is traced once a process.


def trained(mode, with_callbacks, strategy=None, epochs=2, dropout=0.3, anew=False):
    """(model, history) after a training in that mode, from the same weights each time.

    Args:
        anew: whether with a model of its own; else with that of earlier trainings in the mode.
    """
    keras.utils.set_random_seed(1)
    settings = MODES[mode]
    keras.config.set_dtype_policy(settings.get("policy", "float32"))
    try:
        key = mode if settings.keys() - {"fit"} else "numpy", dropout
        model, start = _models.get(key, (None, None))
        if model is None or anew:
            model = _compiled(settings, strategy, dropout)
            start = everything(model)
            _models.setdefault(key, (model, start))
        train_batch.release(model)
        for variable, value in zip([*model.variables, *model.optimizer.variables], start, strict=True):
            variable.assign(value)
        data = settings.get("fit", lambda: {"x": X, "y": Y, "batch_size": BATCH})()
        history = model.fit(**data, epochs=epochs, shuffle=False, verbose=0, callbacks=with_callbacks)
    finally:
        keras.config.set_dtype_policy("float32")
    return model, history.history


def _compiled(settings, strategy, dropout):
    scope = strategy if settings.get("replicas") else tf.distribute.get_strategy()
    with scope.scope():
        model = network(dropout)
        model.compile(
            settings.get("optimizer", sgd)(),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            **{"jit_compile": False, **settings.get("compile", {})},
        )
        model.optimizer.build(model.trainable_variables)
    return model


def everything(model):
    return [keras.ops.convert_to_numpy(value) for value in [*model.variables, *model.optimizer.variables]]
