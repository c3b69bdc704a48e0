"""A small data set and a small recipe's settings, for trainings that take a second."""

import numpy as np
import pytest

from recipes import data, deep_vgg, training

NET = {"width": 1 / 32, "weight_decay": 1e-4, "dropout": 0.5}


@pytest.fixture
def dataset(rng):
    def images(labels):
        return (rng.normal(size=(len(labels), 32, 32, 1)) + labels.reshape(-1, 1, 1, 1)).astype(np.float32)

    y_train, y_test = np.arange(50, dtype=np.int32) % 2, np.arange(20, dtype=np.int32) % 2
    return data.Dataset("blobs", images(y_train), y_train, images(y_test), y_test)


@pytest.fixture
def settings():
    return training.Settings(batch_size=16, epochs=3, steps=None, momentum=0.9, jit_compile=False, measure_every=0)


@pytest.fixture
def phases(dataset):
    """A maker of a contestant's phases, small."""

    def make(contestant, depth=13, **net):
        return deep_vgg.phases(contestant, depth, "he_normal", dataset, {**NET, **net})

    return make
