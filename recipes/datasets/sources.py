"""Where images come from: scikit-learn, an .npz file, keras.datasets, or a folder of images or TFRecords; checked, and brought to one size."""

import re
import zipfile

import keras
import numpy as np
import tensorflow as tf

from recipes.datasets import images, records
from recipes.frame import files
from recipes.frame.flags import DATASETS
from recipes.frame.refusal import Refusal

TEST_SHARE = 0.2
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")  # Those that TensorFlow decodes.
RECORD_FILE = re.compile(r"\.tfrecords?\b|-\d{5}-of-\d{5}$")
KEYS = ("x_train", "y_train", "x_test", "y_test")


def load(settings):
    """The images that the settings name.

    Args:
        settings: with the attributes dataset ("digits", "mnist", "fashion_mnist", "cifar10", "cifar100", or a folder with one sub-folder of images a class,
            all images one split or below sub-folders `train` and `test`, or a folder of TFRecord files), data_dir (folder in which NAME.npz is looked for
            before keras.datasets downloads it, or None) and image_size, pixels.

    Returns:
        `images.Images`.

    Raises:
        Refusal: not found, not downloadable, or not of the form expected.
    """
    name, size = settings.dataset, (settings.image_size, settings.image_size)
    if name not in DATASETS:
        return _of_folder(name, files.local("dataset", name), size)
    if name == "digits":
        source, arrays = "scikit-learn's digits", _digits()
    else:
        folder = files.local("data_dir", settings.data_dir) if settings.data_dir else None
        if folder and not folder.is_dir():
            raise Refusal(f"--data_dir={settings.data_dir} does not exist; give the folder that contains {name}.npz.")
        if folder and (path := folder / f"{name}.npz").exists():
            source, arrays = str(path), _npz(path)
        else:
            source, arrays = f"keras.datasets.{name}", _download(name, settings.data_dir)
    x_train, y_train, x_test, y_test = _checked(source, arrays)
    x_train, x_test = _resized(x_train, size), _resized(x_test, size)
    return images.normalised(name, images.Arrays(x_train, y_train), images.Arrays(x_test, y_test), x_train.shape[1:])


def _digits():
    from sklearn.datasets import load_digits

    digits = load_digits()
    train, test = _split(digits.target)
    x = digits.images[..., np.newaxis]
    return dict(x_train=x[train], y_train=digits.target[train], x_test=x[test], y_test=digits.target[test])


def _split(labels):
    """Indices of a fixed stratified split: the same images are the test images in every training."""
    from sklearn.model_selection import train_test_split

    return train_test_split(np.arange(len(labels)), test_size=TEST_SHARE, stratify=labels, random_state=0)


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
        raise Refusal(f"{path} cannot be read as .npz of numbers ({why}); expected numpy.savez of {', '.join(KEYS)}: write it again.") from error


def _download(name, data_dir):
    try:
        (x_train, y_train), (x_test, y_test) = getattr(keras.datasets, name).load_data()
    except Exception as error:  # Whatever urllib, tarfile or the file system raised: the remedy is the same.
        looked_in = f"{data_dir} has no {name}.npz" if data_dir else "--data_dir is not given"
        keys = ", ".join(KEYS)
        raise Refusal(f"{looked_in}, and {name} could not be downloaded ({error}); put {name}.npz with {keys} into a folder for --data_dir.") from error
    return dict(x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)


def _of_folder(name, path, size):
    if not path.is_dir():
        raise Refusal(f"--dataset={name} is neither a known name nor a folder; expected {', '.join(DATASETS)} or an existing folder.")
    of_records = sorted(file for file in path.iterdir() if RECORD_FILE.search(file.name))
    try:
        training, test = _of_records(path, of_records, size) if of_records else _of_images(path, size)
        return images.normalised(name, training, test, (*size, 3))
    except tf.errors.OpError as error:
        damaged, kinds = next(training.unreadable(), path), "records of PNG, JPEG, BMP or GIF" if of_records else ".png, .jpg, .bmp or .gif files"
        raise Refusal(f"{path} cannot be read as images ({damaged} is no image); expected {kinds}: remove it.") from error


def _of_images(path, size):
    """(training, test) of a folder with one sub-folder of images a class."""
    folders = {entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith(".")}
    if "train" in folders:
        if folders != {"train", "test"}:
            raise Refusal(f"{path} holds the folders {', '.join(sorted(folders))}; expected train and test alone, or one folder a class.")
        (train, train_labels, classes), (test, test_labels, test_classes) = _listed(path / "train"), _listed(path / "test")
        if classes != test_classes:
            raise Refusal(f"{path}/train has the classes {classes}, {path}/test {test_classes}; expected the same sub-folders in both.")
    else:
        paths, labels, classes = _listed(path)
        rarest = int(np.bincount(labels, minlength=len(classes)).min())
        if len(classes) < 2 or rarest < 2:
            raise Refusal(
                f"{path} has {len(classes)} sub-folders, the smallest with {rarest} images; expected two or more classes with two or more images each."
            )
        in_train, in_test = _split(labels)
        train, train_labels, test, test_labels = [paths[i] for i in in_train], labels[in_train], [paths[i] for i in in_test], labels[in_test]

    def files(paths, labels):
        of_all = tf.constant(paths)
        return images.Files(labels, lambda index: _decoded(tf.io.read_file(of_all[index]), size), paths.__getitem__)

    return files(train, train_labels), files(test, test_labels)


def _of_records(path, files, size):
    """(training, test) of a folder with TFRecord files, whose names say of which they are."""
    of_training, of_test = ([file for file in files if kind in file.name] for kind in ("train", "test"))
    of_test = of_test or [file for file in files if "val" in file.name]
    if not of_training or not of_test or set(of_training) & set(of_test):
        names = ", ".join(file.name for file in files[:3])
        raise Refusal(f"{path} holds the TFRecords {names}; expected train in the names of some, and test or val in those of others.")
    try:
        training, test = (records.Records([str(file) for file in part]) for part in (of_training, of_test))
    except ValueError as error:
        raise Refusal(str(error)) from error
    classes, labels = np.unique(training.labels, return_inverse=True)  # ImageNet's begin at 1.
    unknown = np.setdiff1d(test.labels, classes)
    if len(classes) < 2 or len(unknown):
        received = f"{len(classes)} classes in its training images" if len(classes) < 2 else f"test images of the class {unknown[0]}, which training has not"
        raise Refusal(f"{path} holds {received}; expected the same classes in both, two or more.")

    def of(part, labels):
        return images.Files(labels.astype(np.int32), lambda index: _decoded(part.encoded(index), size), part.name)

    return of(training, labels), of(test, np.searchsorted(classes, test.labels))


def _decoded(encoded, size):
    image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    image = tf.image.resize(image, size, method="area")
    return tf.ensure_shape(image, (*size, 3))


def _listed(path):
    """(paths, labels, classes) of a folder with one sub-folder a class."""
    classes = sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    pairs = [
        (str(file), label)
        for label, name in enumerate(classes)
        for file in sorted((path / name).rglob("*"))
        if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
    ]
    if not pairs:
        raise Refusal(f"{path} holds no images; expected one sub-folder of .png, .jpg, .bmp or .gif files a class.")
    return [file for file, _ in pairs], np.array([label for _, label in pairs], np.int32), classes


def _checked(source, arrays):
    """The four arrays as (N, H, W, C) and int32 (N,)."""

    def refuse(received, expected):
        raise Refusal(f"{source}: {received}; expected {expected}.")

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
                    f"every label from 0 to {max(classes - 1, 1)}: number the classes from 0",
                )
        elif y.min() < 0 or y.max() >= classes:
            refuse(f"y_test has labels from {y.min()} to {y.max()}", f"labels from 0 to {classes - 1}, those of y_train")
        checked += [x if x.ndim == 4 else x[..., np.newaxis], y.astype(np.int32)]
    if checked[0].shape[1:] != checked[2].shape[1:]:
        refuse(f"x_train holds images of {checked[0].shape[1:]}, x_test of {checked[2].shape[1:]}", "the same height, width and channels in both")
    return checked


def _resized(x, size):
    """The images, brought to that size by bilinear interpolation where they are not; bytes stay bytes where they are."""
    if x.shape[1:3] == size:
        return x if x.dtype == np.uint8 else x.astype(np.float32)
    parts = [tf.image.resize(x[start : start + 4096], size, antialias=True).numpy() for start in range(0, len(x), 4096)]
    return np.concatenate(parts)
