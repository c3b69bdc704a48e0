"""Trainings of small nets on digits, of which it is known what is wrong with them."""

import keras
import numpy as np
from sklearn.datasets import load_digits

import keras_bn

X, Y = load_digits(return_X_y=True)
X = (X / 16).astype("float32")
BATCH = 64


def net(blocks=4, momentum=0.9, rate=0.0, dropout=keras.layers.Dropout):
    """Blocks of Dense, batch normalisation, ReLU and Dropout; a Dense behind."""
    keras.utils.set_random_seed(0)
    layers = []
    for _ in range(blocks):
        layers += [keras.layers.Dense(32), keras_bn.BatchNormalization(momentum=momentum), keras.layers.ReLU(), *([dropout(rate)] if rate else [])]
    return keras.Sequential([keras.Input((64,)), *layers, keras.layers.Dense(10)])


def compiled(model, optimizer):
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


def fitted(model, callbacks=(), epochs=1, x=X):
    model.fit(x, Y, batch_size=BATCH, epochs=epochs, verbose=0, callbacks=list(callbacks))
    return model


def in_hand(model, callback, steps):
    """Trains by hand on batches in random order, within the callback's contexts."""
    order = np.random.default_rng(0).permutation(len(X))
    for step in range(steps):
        chosen = order[(step * BATCH) % (len(X) - BATCH) :][:BATCH]
        with callback.watching(model, X[chosen], Y[chosen]):
            model.train_on_batch(X[chosen], Y[chosen])
