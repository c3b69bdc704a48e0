"""A small data set and small trainings of recipes.deep_vgg, that take a second."""

import types

import numpy as np
import pytest

from recipes import deep_vgg
from recipes.datasets import images


@pytest.fixture
def dataset(rng):
    def split(labels):
        return images.Arrays((rng.normal(size=(len(labels), 32, 32, 1)) + labels.reshape(-1, 1, 1, 1)).astype(np.float32), labels)

    training, test = split(np.arange(50, dtype=np.int32) % 2), split(np.arange(20, dtype=np.int32) % 2)
    return images.Images("blobs", training, test, (32, 32, 3), np.zeros(1, np.float32), np.ones(1, np.float32))


@pytest.fixture
def make(dataset):
    """A maker of a contestant's `Training`: 3 steps an epoch."""

    def make(contestant, depth=13, learning_rate=0.01, seed=3, start=None, initializer="he_normal", **differing):
        small = dict(width=1 / 32, weight_decay=1e-4, dropout=0.5, momentum=0.9, batch_size=16, epochs=3, steps=None, jit_compile=False, measure_every=0)
        settings = types.SimpleNamespace(**{**small, **differing})
        chosen = {"contestant": contestant, "depth": depth, "initializer": initializer, "learning_rate": learning_rate, "seed": seed}
        return deep_vgg.training(settings, dataset, chosen, start)

    return make
