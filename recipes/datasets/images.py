"""Images with a label each: normalised, in batches whose order is a function of the seed, from memory or from files that are read while a net trains."""

import dataclasses
import functools
import zlib

import numpy as np
import scipy.stats
import tensorflow as tf

SAMPLE_SEED = 0
STATISTICS_IMAGES = 1000  # Those that the channels' means are of, where images are in files: seconds, of large ones, too.
REFERENCE_IMAGES = 10_000  # Of each split, for the reference.
REFERENCE_PIXELS = 32


class Arrays:
    """Images (N, H, W, C) in memory, as they were read."""

    def __init__(self, images, labels):
        self.images, self.labels = images, labels

    @functools.cached_property
    def _tensors(self):
        """Made once for all trainings: a copy of the images that a process holds."""
        return tf.constant(self.images), tf.constant(self.labels)

    def batches(self, order, batch_size, drop_remainder):
        """tf.data of (images, labels): those that a tf.data of indices names, in batches."""
        images, labels = self._tensors
        return order.batch(batch_size, drop_remainder=drop_remainder).map(lambda chosen: (tf.gather(images, chosen), tf.gather(labels, chosen)))

    def unreadable(self):
        return iter(())

    def checksum(self):
        return f"{zlib.crc32(np.ascontiguousarray(self.images)):08x}{zlib.crc32(np.ascontiguousarray(self.labels)):08x}"


class Files:
    """Images in files, read and decoded while they are used.

    Args:
        labels: int32 (N,).
        read: function of an int64 tensor (), the number of an image, that returns it (H, W, C).
        name: function of an int that says where that image is.
    """

    def __init__(self, labels, read, name):
        self.labels, self.read, self.name = labels, read, name

    def batches(self, order, batch_size, drop_remainder):
        """As of `Arrays`."""
        labels = tf.constant(self.labels)
        images = order.map(lambda index: (self.read(tf.cast(index, tf.int64)), labels[index]), num_parallel_calls=tf.data.AUTOTUNE)
        return images.batch(batch_size, drop_remainder=drop_remainder)

    def unreadable(self):
        """Where, one after the other, the images are that cannot be read."""
        for index in range(len(self.labels)):
            try:
                self.read(tf.constant(index, tf.int64))
            except tf.errors.OpError:
                yield self.name(index)

    def checksum(self):
        """Of names and labels: contents are not read for it."""
        names = zlib.crc32(chr(0).join(map(self.name, range(len(self.labels)))).encode())
        return f"{names:08x}{zlib.crc32(self.labels.tobytes()):08x}"


@dataclasses.dataclass(frozen=True)
class Images:
    """Training and test images of one size.

    name: of the data set.
    training, test: `Arrays` or `Files`.
    image_shape: (H, W, C) of what a net gets: grey images are on three equal channels.
    mean, deviation: float32 (C,), of the training images, by which all are normalised.
    """

    name: str
    training: Arrays | Files
    test: Arrays | Files
    image_shape: tuple[int, int, int]
    mean: np.ndarray
    deviation: np.ndarray

    @property
    def classes(self):
        return int(self.training.labels.max()) + 1

    @property
    def training_size(self):
        return len(self.training.labels)

    @property
    def test_size(self):
        return len(self.test.labels)

    @property
    def chance(self):
        """The test accuracy of always answering the class that is most frequent there."""
        return float(np.bincount(self.test.labels).max() / self.test_size)

    @property
    def chance_bound(self):
        """The largest test accuracy that a net may have and still be said to be at chance.

        Guessing with the success probability `chance` exceeds it less than once in 100,000 times (binomial).
        """
        return float(scipy.stats.binom.isf(1e-5, self.test_size, self.chance) / self.test_size)

    @functools.cached_property
    def reference(self):
        """The test accuracy of naming the class whose mean training image is the nearest, of images of at most 32x32 pixels."""
        count = np.zeros(self.classes)
        sums = 0.0
        for x, y in self._small(self.training):
            one_hot = np.eye(self.classes)[y]
            sums, count = sums + one_hot.T @ x, count + one_hot.sum(0)
        means = sums / count[:, np.newaxis]
        offsets = (means**2).sum(1)
        right = sum(int((np.argmin(offsets - 2 * x @ means.T, axis=1) == y).sum()) for x, y in self._small(self.test))
        return right / self.test_size

    @property
    def described(self):
        """What tells this data from other data of the same name, JSON-able."""
        return {
            "training images": self.training_size,
            "test images": self.test_size,
            "shape": list(self.image_shape),
            "classes": self.classes,
            "checksum": self.training.checksum() + self.test.checksum(),
        }

    @property
    def in_words(self):
        shape = "x".join(map(str, self.image_shape))
        return f"{self.name}, {self.training_size:,} training and {self.test_size:,} test images of {shape}, {self.classes} classes"

    def steps_per_epoch(self, batch_size):
        return self.training_size // batch_size

    def training_batches(self, batch_size, seed, first_step=0, part=(1, 0, 1)):
        """Batches of the training images, endlessly, from an optimizer step on.

        The order of an epoch is a function of (seed, epoch) alone, so that a training that goes on in its middle gets what it would have got. What an epoch's
        last, incomplete batch would hold is left out; it is different images every epoch.

        Args:
            batch_size: images a batch, at most as many as there are.
            seed: int.
            first_step: int, how many batches have been used.
            part: (replicas in all, the first of this process, how many it has): what it reads of each batch, evenly divided and in order.

        Returns:
            tf.data.Dataset of (x (n, H, W, C) float32, y (n,) int32), n = batch_size / replicas in all: one batch a replica of this process after the other.
        """
        indices = tf.range(self.training_size)
        first_epoch, used = divmod(first_step, self.steps_per_epoch(batch_size))

        def order_of(epoch):
            order = tf.random.experimental.stateless_shuffle(indices, seed=tf.stack([tf.constant(seed, tf.int64), epoch]))
            order = tf.reshape(order[: self.steps_per_epoch(batch_size) * batch_size], [-1, replicas, of_replica])
            return tf.data.Dataset.from_tensor_slices(tf.reshape(order[:, first : first + number], [-1]))

        replicas, first, number = part
        of_replica = batch_size // replicas
        epochs = tf.data.Dataset.range(first_epoch, np.iinfo(np.int64).max)
        order = epochs.flat_map(order_of).skip(used * number * of_replica)
        return self._normalised(self.training.batches(order, of_replica, True)).prefetch(2)

    def test_batches(self, batch_size=500):
        """tf.data of all test images."""
        return self._normalised(self.test.batches(tf.data.Dataset.range(self.test_size), batch_size, False)).prefetch(2)

    def drawn(self, size, batch_size, split=None):
        """As `sample`, in batches: tf.data of (x, y), read while it is used."""
        split = split or self.training
        order = tf.data.Dataset.from_tensor_slices(_drawn(split, size))
        return self._normalised(split.batches(order, batch_size, False)).prefetch(2)

    def drawn_in_whole_batches(self, size, batch_size):
        """As `drawn`, of the training images, without what fills no batch."""
        size = min(size, self.training_size)
        batch_size = min(batch_size, size)
        return self.drawn(size // batch_size * batch_size, batch_size)

    def sample(self, size, split=None):
        """Images of `split`, or of the training, drawn, as some data sets are sorted by class; always the same, so that trainings compare.

        Returns:
            (x (n, H, W, C) float32, y (n,) int32) with n = size, or as many as there are.
        """
        [(x, y)] = self.drawn(size, size, split).as_numpy_iterator()
        return x, y

    def first_unreadable(self):
        """Where the first image is that cannot be read, or None."""
        return next((path for split in (self.training, self.test) for path in split.unreadable()), None)

    def in_memory(self):
        """All images as arrays: (x_train, y_train, x_test, y_test), in their own order."""
        return *self.whole(self.training), *self.whole(self.test)

    def whole(self, split):
        """All images of `training` or `test` as arrays: (x, y), in their own order."""
        order = tf.data.Dataset.range(len(split.labels))
        parts = list(self._normalised(split.batches(order, 500, False)).as_numpy_iterator())
        return np.concatenate([x for x, _ in parts]), split.labels

    def _normalised(self, batches):
        def normalise(x, y):
            x = tf.cast(x, tf.float32)
            x = tf.repeat(x, 3, axis=-1) if x.shape[-1] == 1 else x
            return (x - self.mean) / self.deviation, y

        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA  # Several workers divide what each of them reads.
        options.autotune.enabled = False  # An idle iterator with a tuner waits for it when it is deleted, up to 60 s: in the middle of another training.
        return batches.map(normalise).with_options(options)

    def _small(self, split):
        """Batches of (N, features) float32 and labels, of at most REFERENCE_PIXELS in height and width."""
        pixels = [min(size, REFERENCE_PIXELS) for size in self.image_shape[:2]]
        for x, y in self.drawn(REFERENCE_IMAGES, 500, split):
            x = x if x.shape[1:3] == pixels else tf.image.resize(x, pixels, antialias=True)
            yield x.numpy().reshape(len(x), -1), y.numpy()


def normalised(name, training, test, image_shape):
    """`Images` with the channels' means and standard deviations of the training images (of 1,000 of them, drawn, where they are in files)."""
    if isinstance(training, Arrays):
        mean = training.images.mean(axis=(0, 1, 2), dtype=np.float64)
        deviation = training.images.std(axis=(0, 1, 2), dtype=np.float64)
    else:
        mean, deviation = _moments(training)
    deviation = np.where(deviation <= 1e-6 * abs(mean), 1.0, deviation)  # A channel that is constant but for rounding carries nothing; it becomes 0.
    return Images(name, training, test, (*image_shape[:2], max(3, image_shape[2])), mean.astype(np.float32), deviation.astype(np.float32))


def _drawn(split, size):
    """Indices, always the same."""
    return np.random.default_rng(SAMPLE_SEED).permutation(len(split.labels))[:size]


def _moments(training):
    count = total = squares = 0
    for x, _ in training.batches(tf.data.Dataset.from_tensor_slices(_drawn(training, STATISTICS_IMAGES)), 100, False):
        x = x.numpy().astype(np.float64)
        count, total, squares = count + x[..., 0].size, total + x.sum((0, 1, 2)), squares + (x**2).sum((0, 1, 2))
    mean = total / count
    return mean, np.sqrt(np.maximum(squares / count - mean**2, 0))
