"""The data of a deep linear network: inputs and a matrix, i.i.d. Gaussian, and what the matrix makes of them (Santurkar et al. 2018, app. A)."""

import dataclasses
import functools

import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class LinearMap:
    """x (size, features) ~ N(0, 1), and y = x A^T with A (features, features) ~ N(0, 1); all of them are one batch."""

    size: int = 1000
    features: int = 10
    seed: int = 0
    name = "linear map"

    @functools.cached_property
    def arrays(self):
        rng = np.random.default_rng(self.seed)
        x, matrix = rng.normal(size=(self.size, self.features)), rng.normal(size=(self.features, self.features))
        return x.astype(np.float32), (x @ matrix.T).astype(np.float32)

    @property
    def training_size(self):
        return self.size

    @functools.cached_property
    def loss_of_a_constant(self):
        """The least sum of squared errors of a net that does not look at its inputs."""
        _, y = self.arrays
        return float(((y - y.mean(0, dtype=np.float64)) ** 2).sum())

    @property
    def described(self):
        return {"examples": self.size, "features": self.features, "seed": self.seed}

    @property
    def in_words(self):
        return f"{self.size:,} examples of a random linear map of {self.features} features"

    def steps_per_epoch(self, batch_size):
        return self.size // batch_size

    def training_batches(self, batch_size, seed, first_step=0, part=(1, 0, 1)):
        """All of it, endlessly; or a replica's share after the other, as of `images.Images`."""
        replicas, first, number = part
        size = self.size // replicas
        shares = tf.data.Dataset.from_tensor_slices(self.arrays).batch(size)
        return shares.skip(first).take(number).repeat()

    def test_batches(self):
        return None

    def sample(self, size):
        x, y = self.arrays
        return x[:size], y[:size]
