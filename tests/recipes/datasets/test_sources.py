"""The images: what is read is right, and what cannot be right is refused with the file's name, what was found and what is expected."""

import math
import pathlib
import types

import keras
import numpy as np
import pytest
import sklearn.datasets
import tensorflow as tf

from recipes.datasets import sources
from recipes.frame.refusal import Refusal


def load(name, data_dir=None, image_size=32):
    return sources.load(types.SimpleNamespace(dataset=name, data_dir=data_dir and str(data_dir), image_size=image_size))


def arrays(rng, **replaced):
    values = {
        "x_train": rng.integers(0, 256, (30, 40, 40, 3), dtype=np.uint8),
        "y_train": np.arange(30, dtype=np.uint8)[:, np.newaxis] % 3,
        "x_test": rng.integers(0, 256, (9, 40, 40, 3), dtype=np.uint8),
        "y_test": np.arange(9, dtype=np.uint8) % 3,
    }
    return {name: value for name, value in {**values, **replaced}.items() if value is not None}


def test_digits_are_scikit_learns_split_by_class():
    dataset = load("digits")
    x_train, _, x_test, _ = dataset.in_memory()
    assert x_train.shape == (1437, *dataset.image_shape) == (1437, 32, 32, 3)
    assert x_test.shape == (360, 32, 32, 3)
    assert dataset.classes == 10
    counts = np.bincount(sklearn.datasets.load_digits().target)
    np.testing.assert_allclose(np.bincount(dataset.test.labels), counts / 5, atol=1)
    np.testing.assert_array_equal(np.bincount(dataset.test.labels) + np.bincount(dataset.training.labels), counts)
    assert dataset.chance == 37 / 360
    right = round(dataset.chance_bound * 360)
    tails = [sum(math.comb(360, k) * (37 / 360) ** k * (323 / 360) ** (360 - k) for k in range(least + 1, 361)) for least in (right, right - 1)]
    assert tails[0] <= 1e-5 < tails[1]


def test_the_split_is_the_same_every_time():
    np.testing.assert_array_equal(load("digits").test.images, load("digits").test.images)


def test_training_images_are_normalised_by_their_own_channels_and_test_images_by_the_same(tmp_path, rng):
    given = arrays(rng)
    given["x_train"] = (given["x_train"] // [1, 2, 4]).astype(np.uint8)
    np.savez(tmp_path / "cifar10.npz", **{name: value[:, :32, :32] if name.startswith("x") else value for name, value in given.items()})
    dataset = load("cifar10", tmp_path)
    x_train, y_train, x_test, _ = dataset.in_memory()
    np.testing.assert_allclose(x_train.mean(axis=(0, 1, 2), dtype=float), 0, atol=1e-5)
    np.testing.assert_allclose(x_train.std(axis=(0, 1, 2), dtype=float), 1, atol=1e-5)
    train, test = (given[name][:, :32, :32].astype(float) for name in ("x_train", "x_test"))
    expected = (test - train.mean(axis=(0, 1, 2))) / train.std(axis=(0, 1, 2))
    np.testing.assert_allclose(x_test, expected, atol=1e-5)
    assert y_train.tolist() == given["y_train"][:, 0].tolist()


def test_grey_images_of_another_size_become_32_by_32_with_3_channels(tmp_path, rng):
    np.savez(tmp_path / "mnist.npz", **arrays(rng, x_train=rng.random((30, 28, 28)), x_test=rng.random((9, 28, 28))))
    dataset = load("mnist", tmp_path)
    assert dataset.image_shape == (32, 32, 3)
    x_test = dataset.in_memory()[2]
    assert x_test.shape == (9, 32, 32, 3)
    np.testing.assert_array_equal(x_test[..., 0], x_test[..., 2])


def test_a_constant_channel_becomes_0(tmp_path, rng):
    np.savez(tmp_path / "mnist.npz", **arrays(rng, x_train=np.full((30, 28, 28), 254), x_test=np.full((9, 28, 28), 254)))
    np.testing.assert_allclose(load("mnist", tmp_path).in_memory()[0], 0, atol=1e-4)  # Resized, 254 is 254 to float32's seven digits.


def save_images(folder, classes, number, rng):
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for index in range(number):
            keras.utils.save_img(folder / name / f"{index}.png", np.clip(rng.normal(40 + 60 * label, 9, (20, 24, 3)), 0, 255), scale=False)


def test_a_folder_of_images_a_class(tmp_path, rng):
    save_images(tmp_path, ["cat", "dog", "emu"], 10, rng)
    dataset = load(str(tmp_path))
    x_train, y_train, _, _ = dataset.in_memory()
    assert (x_train.shape, dataset.test_size, dataset.image_shape) == ((24, 32, 32, 3), 6, (32, 32, 3))
    assert np.bincount(dataset.test.labels).tolist() == [2, 2, 2]
    brightness = [x_train[y_train == label].mean() for label in range(3)]
    assert brightness == sorted(brightness)


def test_a_folder_that_is_split_already(tmp_path, rng):
    save_images(tmp_path / "train", ["cat", "dog"], 6, rng)
    save_images(tmp_path / "test", ["cat", "dog"], 2, rng)
    dataset = load(str(tmp_path))
    assert (len(dataset.training.labels), len(dataset.test.labels), dataset.classes) == (12, 4, 2)


def refusal(name, data_dir=None):
    with pytest.raises(Refusal) as caught:
        load(name, data_dir)
    return str(caught.value)


NAN = np.full((30, 32, 32), np.nan)


@pytest.mark.parametrize(
    ("replaced", "complaint"),
    [
        (dict(x_train=NAN), "x_train has 30720 values that are not finite; expected finite values."),
        (dict(x_test=np.zeros((9, 5))), "x_test has the shape (9, 5); expected (N, H, W) or (N, H, W, C) with at least one image."),
        (dict(x_train=np.zeros((0, 32, 32))), "x_train has the shape (0, 32, 32); expected (N, H, W) or (N, H, W, C) with at least one image."),
        (dict(x_train=np.full((30, 32, 32), "a")), "x_train has the dtype <U1; expected integers or floats."),
        (
            dict(x_test=np.zeros((9, 28, 28, 3))),
            "x_train holds images of (40, 40, 3), x_test of (28, 28, 3); expected the same height, width and channels in both.",
        ),
        (dict(y_train=np.zeros((30, 3), int)), "y_train has the shape (30, 3) for 30 images; expected (30,), one label an image."),
        (dict(y_test=np.zeros(8, int)), "y_test has the shape (8,) for 9 images; expected (9,), one label an image."),
        (dict(y_train=np.arange(30) % 3 / 2), "y_train has the dtype float64; expected integer labels."),
        (dict(y_train=np.arange(30) % 3 + 1), "y_train has 3 different labels from 1 to 3; expected every label from 0 to 2: number the classes from 0."),
        (dict(y_train=np.arange(30) % 3 * 2), "y_train has 3 different labels from 0 to 4; expected every label from 0 to 2: number the classes from 0."),
        (dict(y_train=np.zeros(30, int)), "y_train has 1 different labels from 0 to 0; expected every label from 0 to 1: number the classes from 0."),
        (dict(y_test=np.arange(9) % 4), "y_test has labels from 0 to 3; expected labels from 0 to 2, those of y_train."),
    ],
)
def test_arrays_that_cannot_be_right_are_refused(replaced, complaint, tmp_path, rng):
    np.savez(tmp_path / "mnist.npz", **arrays(rng, **replaced))
    assert refusal("mnist", tmp_path) == f"{tmp_path}/mnist.npz: {complaint}"


def test_a_file_without_the_keys_is_refused(tmp_path, rng):
    np.savez(tmp_path / "mnist.npz", **arrays(rng, y_train=None), extra=0)
    expected = "expected x_train, y_train, x_test, y_test: add y_train."
    assert refusal("mnist", tmp_path) == f"{tmp_path}/mnist.npz holds extra, x_test, x_train, y_test; {expected}"


def test_pickled_arrays_are_not_unpickled(tmp_path, rng):
    np.savez(tmp_path / "mnist.npz", **arrays(rng, y_test=np.array([{}] * 9)))
    assert refusal("mnist", tmp_path).startswith(f"{tmp_path}/mnist.npz cannot be read as .npz of numbers (")


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\3\4broken"])
def test_a_file_that_is_no_npz_is_refused(content, tmp_path):
    (tmp_path / "mnist.npz").write_bytes(content)
    assert refusal("mnist", tmp_path).startswith(f"{tmp_path}/mnist.npz cannot be read as .npz of numbers (")


def test_what_is_not_in_the_folder_is_downloaded(tmp_path, rng, monkeypatch):
    given = arrays(rng)
    monkeypatch.setattr(keras.datasets.cifar10, "load_data", lambda: ((given["x_train"], given["y_train"]), (given["x_test"], given["y_test"])))
    assert load("cifar10", tmp_path).test.labels.tolist() == given["y_test"].tolist()


@pytest.mark.parametrize("data_dir", [None, "somewhere"])
def test_a_download_that_fails_is_refused(data_dir, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "somewhere").mkdir()

    def fail():
        raise OSError("no network")

    monkeypatch.setattr(keras.datasets.mnist, "load_data", fail)
    looked_in = "somewhere has no mnist.npz" if data_dir else "--data_dir is not given"
    expected = "put mnist.npz with x_train, y_train, x_test, y_test into a folder for --data_dir."
    assert refusal("mnist", data_dir) == f"{looked_in}, and mnist could not be downloaded (no network); {expected}"


def test_a_name_goes_before_a_folder_of_that_name(tmp_path, rng, monkeypatch):
    (tmp_path / "mnist").mkdir()
    np.savez(tmp_path / "mnist.npz", **arrays(rng))
    monkeypatch.chdir(tmp_path)
    assert load("mnist", ".").classes == 3


def test_other_images_are_described_otherwise(tmp_path, rng):
    np.savez(tmp_path / "mnist.npz", **arrays(rng))
    before = load("mnist", tmp_path).described
    assert load("mnist", tmp_path).described == before
    np.savez(tmp_path / "mnist.npz", **arrays(rng))
    assert load("mnist", tmp_path).described != before


@pytest.mark.parametrize(("name", "data_dir", "flag"), [("gs://bucket/images", None, "dataset"), ("mnist", "gs://bucket/images", "data_dir")])
def test_a_folder_on_another_machine_is_refused(name, data_dir, flag):
    expected = "is not on this machine; expected a local path: mount that storage, or copy what is written afterwards."
    assert refusal(name, data_dir) == f"--{flag}=gs://bucket/images {expected}"


def test_a_data_dir_that_is_not_there_is_refused(tmp_path):
    assert refusal("mnist", tmp_path / "typo") == f"--data_dir={tmp_path}/typo does not exist; give the folder that contains mnist.npz."


def test_an_unknown_name_is_refused():
    expected = "--dataset=cats is neither a known name nor a folder; expected digits, mnist, fashion_mnist, cifar10, cifar100 or an existing folder."
    assert refusal("cats") == expected


def test_folders_that_cannot_be_right_are_refused(tmp_path, rng):
    assert refusal(str(tmp_path)) == f"{tmp_path} holds no images; expected one sub-folder of .png, .jpg, .bmp or .gif files a class."
    save_images(tmp_path / "one", ["cat"], 3, rng)
    expected = "has 1 sub-folders, the smallest with 3 images; expected two or more classes with two or more images each."
    assert refusal(str(tmp_path / "one")) == f"{tmp_path}/one {expected}"
    save_images(tmp_path / "three", ["train", "val", "test"], 2, rng)
    expected = "holds the folders test, train, val; expected train and test alone, or one folder a class."
    assert refusal(str(tmp_path / "three")) == f"{tmp_path}/three {expected}"
    save_images(tmp_path / "two/train", ["cat", "dog"], 2, rng)
    save_images(tmp_path / "two/test", ["cat", "emu"], 2, rng)
    expected = f"{tmp_path}/two/train has the classes ['cat', 'dog'], {tmp_path}/two/test ['cat', 'emu']; expected the same sub-folders in both."
    assert refusal(str(tmp_path / "two")) == expected


def test_a_folder_of_files_that_are_no_images_is_refused(tmp_path, rng):
    save_images(tmp_path, ["cat", "dog"], 3, rng)
    for path in tmp_path.rglob("*.png"):
        path.write_bytes(b"no image")
    message = refusal(str(tmp_path))
    assert message.startswith(f"{tmp_path} cannot be read as images ({tmp_path}/")
    assert message.endswith(".png is no image); expected .png, .jpg, .bmp or .gif files: remove it.")


def test_images_of_a_folder_are_read_while_they_are_used(tmp_path, rng):
    save_images(tmp_path, ["cat", "dog"], 5, rng)
    dataset = load(str(tmp_path), image_size=16)
    assert dataset.image_shape == (16, 16, 3)
    x, _, _, _ = dataset.in_memory()
    np.testing.assert_allclose(x.mean(axis=(0, 1, 2), dtype=float), 0, atol=1e-5)
    for path in tmp_path.rglob("*.png"):
        path.unlink()
    with pytest.raises(tf.errors.NotFoundError):
        dataset.in_memory()


def test_an_image_that_is_damaged_later_is_found(tmp_path, rng):
    save_images(tmp_path, ["cat", "dog"], 5, rng)
    dataset = load(str(tmp_path), image_size=16)
    assert dataset.first_unreadable() is None
    damaged = dataset.test.name(1)
    pathlib.Path(damaged).write_bytes(b"no image")
    assert dataset.first_unreadable() == damaged


def test_bytes_of_the_right_size_stay_bytes(tmp_path, rng):
    np.savez(tmp_path / "cifar10.npz", **arrays(rng))
    assert load("cifar10", tmp_path, image_size=40).training.images.dtype == np.uint8


def save_records(path, images, labels, keys=("image/encoded", "image/class/label"), options=None):
    """A TFRecord file with these images as PNG; larger labels are in front, as a file is in no order of its own."""
    with tf.io.TFRecordWriter(str(path), options) as writer:
        for image, label in zip(images, labels):
            encoded, number = tf.train.BytesList(value=[tf.io.encode_png(image).numpy()]), tf.train.Int64List(value=[label])
            features = {keys[0]: tf.train.Feature(bytes_list=encoded), keys[1]: tf.train.Feature(int64_list=number)}
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())


def some_images(rng, number):
    return rng.integers(0, 255, (number, 20, 24, 3), "uint8")


@pytest.mark.parametrize(
    ("names", "keys", "first_label"),
    [
        (("train-00000-of-00002", "train-00001-of-00002", "validation-00000-of-00001"), ("image/encoded", "image/class/label"), 1),
        (("a-train.tfrecord-00000-of-00002", "a-train.tfrecord-00001-of-00002", "a-test.tfrecord-00000-of-00001"), ("image", "label"), 0),
    ],
)
def test_tfrecords_hold_what_a_folder_of_their_images_does(names, keys, first_label, tmp_path, rng):
    parts = [some_images(rng, number) for number in (300, 7, 5)]  # More in the first than are scanned at once.
    labels = [np.arange(len(part)) % 3 for part in parts]
    (tmp_path / "records").mkdir()
    for name, images, numbers in zip(names, parts, labels):
        save_records(tmp_path / "records" / name, images, numbers + first_label, keys)
    for split, images, numbers in (("train", np.concatenate(parts[:2]), np.concatenate(labels[:2])), ("test", parts[2], labels[2])):
        for index, (image, label) in enumerate(zip(images, numbers)):
            (tmp_path / "folder" / split / str(label)).mkdir(parents=True, exist_ok=True)
            keras.utils.save_img(tmp_path / "folder" / split / str(label) / f"{index:03}.png", image, scale=False)
    of_records, of_folder = load(str(tmp_path / "records"), image_size=16), load(str(tmp_path / "folder"), image_size=16)
    order = [np.argsort(np.concatenate(numbers), kind="stable") for numbers in (labels[:2], labels[2:])]  # A folder's classes are one behind the other.
    x_train, y_train, x_test, y_test = of_records.in_memory()
    expected = of_folder.in_memory()
    statistics = of_folder.deviation / of_records.deviation, (of_folder.mean - of_records.mean) / of_records.deviation
    np.testing.assert_allclose(x_train[order[0]], expected[0] * statistics[0] + statistics[1], atol=1e-5)
    np.testing.assert_allclose(x_test[order[1]], expected[2] * statistics[0] + statistics[1], atol=1e-5)
    np.testing.assert_array_equal(y_train[order[0]], expected[1])
    np.testing.assert_array_equal(y_test[order[1]], expected[3])
    assert of_records.first_unreadable() is None
    [(x, y)] = of_records.training_batches(20, seed=1, first_step=17).take(1).as_numpy_iterator()  # In the second epoch.
    positions = [np.abs(x_train - image).sum((1, 2, 3)).argmin() for image in x]
    np.testing.assert_array_equal(x_train[positions], x)
    np.testing.assert_array_equal(y_train[positions], y)


def test_tfrecords_that_cannot_be_right_are_refused(tmp_path, rng):
    def saved(name, labels, **keys):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        save_records(folder / f"{keys.pop('split', 'train')}.tfrecord", some_images(rng, len(labels)), labels, **keys)
        return folder

    alone = saved("alone", [0, 1])
    assert refusal(str(alone)) == f"{alone} holds the TFRecords train.tfrecord; expected train in the names of some, and test or val in those of others."
    saved("alone", [0, 1, 2], split="test")
    assert refusal(str(alone)) == f"{alone} holds test images of the class 2, which training has not; expected the same classes in both, two or more."
    other = saved("other", [0, 1], split="test", keys=("picture", "label"))
    saved("other", [0, 1])
    received = f"{other}/test.tfrecord holds label, picture; expected records of image/encoded and image/class/label or image and label."
    assert refusal(str(other)) == received
    (other / "test.tfrecord").write_bytes(b"")
    assert refusal(str(other)) == received.replace("label, picture", "no records", 1)
    packed = saved("packed", [0, 1], options="GZIP")
    saved("packed", [0, 1], split="test")
    received = "is damaged or compressed; expected whole TFRecords, not compressed, with one label each: write it again."
    assert refusal(str(packed)) == f"{packed}/train.tfrecord {received}"
    cut = saved("cut", [0, 1])
    saved("cut", [0, 1], split="test")
    content = (cut / "train.tfrecord").read_bytes()
    (cut / "train.tfrecord").write_bytes(content[:-9])
    assert refusal(str(cut)) == f"{cut}/train.tfrecord {received}"
    (cut / "train.tfrecord").write_bytes(content.replace(b"PNG", b"GNP"))
    assert refusal(str(cut)) == f"{cut}/train.tfrecord {received}"  # By its checksum.


def test_a_record_that_is_damaged_later_is_found(tmp_path, rng):
    for split in ("train", "test"):
        save_records(tmp_path / f"{split}.tfrecord", some_images(rng, 4), [0, 1, 0, 1])
    dataset = load(str(tmp_path), image_size=16)
    content = bytearray((tmp_path / "test.tfrecord").read_bytes())
    content[content.index(b"PNG")] = 0
    (tmp_path / "test.tfrecord").write_bytes(content)
    assert dataset.first_unreadable() == f"{tmp_path}/test.tfrecord, byte 12"
