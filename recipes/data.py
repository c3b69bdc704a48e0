"""The images: read, checked, brought to 32x32 with three channels, split and normalised."""

import dataclasses
import functools
import zipfile
import zlib

import keras
import numpy as np
import scipy.stats
import tensorflow as tf

from recipes import files
from recipes.flags import DATASETS
from recipes.refusal import Refusal

IMAGE_SIZE = (32, 32)  # Five poolings need 32 pixels.
TEST_SHARE = 0.2
IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")  # Those that keras.utils.image_dataset_from_directory reads.
KEYS = ("x_train", "y_train", "x_test", "y_test")


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Images float32 (N, 32, 32, C), normalised by the training images' channel means and standard deviations; labels int32 (N,), 0 to classes-1."""

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray

    @property
    def classes(self):
        return int(self.y_train.max()) + 1

    @property
    def image_shape(self):
        return self.x_train.shape[1:]

    @property
    def chance(self):
        """The test accuracy of always answering the class that is most frequent there."""
        return float(np.bincount(self.y_test).max() / len(self.y_test))

    @property
    def chance_bound(self):
        """The largest test accuracy that a net may have and still be said to be at chance.

        Guessing with the success probability `chance` exceeds it less than once in 100,000 times (binomial).
        """
        return float(scipy.stats.binom.isf(1e-5, len(self.y_test), self.chance) / len(self.y_test))

    @functools.cached_property
    def training_tensors(self):
        """(x_train, y_train) as tensors, made once for all trainings: a copy of the images that a process holds."""
        return tf.constant(self.x_train), tf.constant(self.y_train)

    @property
    def described(self):
        """What tells this data from other data of the same name, JSON-able."""
        sums = [zlib.crc32(np.ascontiguousarray(array)) for array in (self.x_train, self.y_train, self.x_test, self.y_test)]
        return {"training images": len(self.y_train), "test images": len(self.y_test), "checksum": "".join(f"{value:08x}" for value in sums)}


def load(name, data_dir=None):
    """The data set of that name.

    Args:
        name: "digits", "mnist", "fashion_mnist", "cifar10", "cifar100", or a folder with one sub-folder of images a class (all images one split, or below
            sub-folders `train` and `test`).
        data_dir: folder in which NAME.npz is looked for before keras.datasets downloads it; None: none.

    Returns:
        `Dataset`.

    Raises:
        Refusal: not found, not downloadable, or not of the form expected.
    """
    if name == "digits":
        source, arrays = "scikit-learn's digits", _digits()
    elif name in DATASETS:
        folder = files.local("data_dir", data_dir) if data_dir else None
        if folder and not folder.is_dir():
            raise Refusal(f"--data_dir={data_dir} is no folder; expected the one that {name}.npz lies in, or is to be looked for before it is downloaded.")
        if folder and (path := folder / f"{name}.npz").exists():
            source, arrays = str(path), _npz(path)
        else:
            source, arrays = f"keras.datasets.{name}", _download(name, data_dir)
    elif (folder := files.local("dataset", name)).is_dir():
        source, arrays = str(folder), _folder(folder)
    else:
        raise Refusal(f"--dataset={name} is neither a known name nor a folder; expected {', '.join(DATASETS)} or an existing folder.")
    return _normalised(name, *_checked(source, arrays))


def _digits():
    from sklearn.datasets import load_digits

    digits = load_digits()
    return _split(digits.images[..., np.newaxis], digits.target)


def _split(x, y):
    """A fixed stratified split: the same images are the test images in every run."""
    from sklearn.model_selection import train_test_split

    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=TEST_SHARE, stratify=y, random_state=0)
    return dict(x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)


def _npz(path):
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [key for key in KEYS if key not in file.files]
            if missing:
                raise Refusal(f"{path} holds {', '.join(sorted(file.files)) or 'nothing'}; expected {', '.join(KEYS)}: add {', '.join(missing)}.")
            return {key: file[key] for key in KEYS}
    except Refusal:
        raise
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        # NumPy takes whatever it does not know for a pickle, and advises to trust it.
        why = "it holds Python objects, or is no .npz at all" if "allow_pickle" in str(error) else error
        raise Refusal(f"{path} cannot be read as .npz of numbers ({why}); expected numpy.savez of {', '.join(KEYS)}: write it anew.") from error


def _download(name, data_dir):
    try:
        (x_train, y_train), (x_test, y_test) = getattr(keras.datasets, name).load_data()
    except Exception as error:  # Whatever urllib, tarfile or the file system raised: the remedy is the same.
        looked_in = f"{data_dir} has no {name}.npz" if data_dir else "--data_dir is not given"
        keys = ", ".join(KEYS)
        raise Refusal(f"{looked_in}, and {name} could not be downloaded ({error}); put {name}.npz with {keys} into a folder for --data_dir.") from error
    return dict(x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)


def _folder(path):
    names = {entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith(".")}
    if "train" in names:
        if names != {"train", "test"}:
            raise Refusal(f"{path} holds the folders {', '.join(sorted(names))}; expected train and test alone, or one folder a class.")
        (x_train, y_train, classes), (x_test, y_test, test_classes) = _images(path / "train"), _images(path / "test")
        if classes != test_classes:
            raise Refusal(f"{path}/train has the classes {classes}, {path}/test {test_classes}; expected the same sub-folders in both.")
        return dict(x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    x, y, classes = _images(path)
    rarest = int(np.bincount(y, minlength=len(classes)).min())
    if len(classes) < 2 or rarest < 2:
        raise Refusal(f"{path} has {len(classes)} sub-folders, the smallest with {rarest} images; expected two or more classes with two or more images each.")
    return _split(x, y)


def _images(path):
    try:
        images = keras.utils.image_dataset_from_directory(path, image_size=IMAGE_SIZE, interpolation="area", batch_size=None, shuffle=False, verbose=False)
        pairs = list(images.as_numpy_iterator())
    except (ValueError, tf.errors.InvalidArgumentError) as error:
        why = next((f"{file} is no image" for file in sorted(path.rglob("*")) if file.suffix.lower() in IMAGE_SUFFIXES and not _is_image(file)), error)
        raise Refusal(f"{path} cannot be read as images ({why}); expected one sub-folder of .png, .jpg, .bmp or .gif files a class.") from error
    return np.stack([x for x, _ in pairs]), np.array([y for _, y in pairs]), images.class_names


def _is_image(path):
    try:
        tf.io.decode_image(path.read_bytes())
        return True
    except tf.errors.InvalidArgumentError:
        return False


def _checked(source, arrays):
    """The four arrays as float32 (N, H, W, C) and int32 (N,)."""

    def refuse(found, expected):
        raise Refusal(f"{source}: {found}; expected {expected}.")

    checked = []
    for split in ("train", "test"):
        x, y = arrays[f"x_{split}"], arrays[f"y_{split}"]
        if x.ndim not in (3, 4) or 0 in x.shape:
            refuse(f"x_{split} has the shape {x.shape}", "(N, H, W) or (N, H, W, C) with at least one image")
        if x.dtype.kind not in "uif":
            refuse(f"x_{split} has the dtype {x.dtype}", "integers or floats")
        if x.dtype.kind == "f" and not np.isfinite(x).all():
            refuse(f"x_{split} has {np.count_nonzero(~np.isfinite(x))} values that are not finite", "finite values")
        if y.ndim == 2 and y.shape[1] == 1:
            y = y[:, 0]
        if y.shape != x.shape[:1]:
            refuse(f"y_{split} has the shape {y.shape} for {len(x)} images", f"({len(x)},), one label an image")
        if y.dtype.kind not in "ui":
            refuse(f"y_{split} has the dtype {y.dtype}", "integer labels")
        if split == "train":
            present = np.unique(y)
            classes = len(present)
            if classes < 2 or present[0] != 0 or present[-1] != classes - 1:
                refuse(
                    f"y_train has {classes} different labels from {present[0]} to {present[-1]}",
                    f"every label from 0 to {max(classes - 1, 1)}: number the classes anew, from 0",
                )
        elif y.min() < 0 or y.max() >= classes:
            refuse(f"y_test has labels from {y.min()} to {y.max()}", f"labels from 0 to {classes - 1}, those of y_train")
        checked += [x if x.ndim == 4 else x[..., np.newaxis], y.astype(np.int32)]
    if checked[0].shape[1:] != checked[2].shape[1:]:
        refuse(f"x_train holds images of {checked[0].shape[1:]}, x_test of {checked[2].shape[1:]}", "the same height, width and channels in both")
    return checked


def _normalised(name, x_train, y_train, x_test, y_test):
    x_train, x_test = _coloured(_resized(x_train)), _coloured(_resized(x_test))
    mean = x_train.mean(axis=(0, 1, 2), dtype=np.float64)
    deviation = x_train.std(axis=(0, 1, 2), dtype=np.float64)
    deviation[deviation <= 1e-6 * abs(mean)] = 1.0  # A channel that is constant but for rounding carries nothing; it becomes 0.

    def normalise(x):
        x -= mean.astype(np.float32)
        x /= deviation.astype(np.float32)
        return x

    return Dataset(name, normalise(x_train), y_train, normalise(x_test), y_test)


def _resized(x):
    """float32 copies of the images, brought to 32x32 by bilinear interpolation where they are not."""
    if x.shape[1:3] == IMAGE_SIZE:
        return x.astype(np.float32)
    parts = [tf.image.resize(x[start : start + 4096], IMAGE_SIZE, antialias=True).numpy() for start in range(0, len(x), 4096)]
    return np.concatenate(parts)


def _coloured(x):
    """Grey images on three equal channels, since VGG takes colours; others as they are."""
    return np.repeat(x, 3, axis=-1) if x.shape[-1] == 1 else x


def training_batches(dataset, batch_size, seed, first_epoch):
    """Batches of the training images, endlessly, from the beginning of an epoch on.

    The order of an epoch is a function of (seed, epoch) alone, so that a training that goes on in its middle sees what it would have seen. What an epoch's
    last, incomplete batch would hold is left out; it is different images every epoch.

    Args:
        dataset: `Dataset`.
        batch_size: images a batch, at most as many as there are.
        seed: int.
        first_epoch: int, counted from 0.

    Returns:
        tf.data.Dataset of (x (batch_size, 32, 32, C), y (batch_size,)).
    """
    images, labels = dataset.training_tensors
    indices = tf.range(len(dataset.y_train))

    def batches_of(epoch):
        order = tf.random.experimental.stateless_shuffle(indices, seed=tf.stack([tf.constant(seed, tf.int64), epoch]))
        return tf.data.Dataset.from_tensor_slices(order).batch(batch_size, drop_remainder=True)

    epochs = tf.data.Dataset.range(first_epoch, np.iinfo(np.int64).max)
    return epochs.flat_map(batches_of).map(lambda chosen: (tf.gather(images, chosen), tf.gather(labels, chosen))).prefetch(2)
