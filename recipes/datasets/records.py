"""Images in TFRecord files, by number: where each record begins is found once, so that a training reads them in any order and no more of them than it uses."""

import os

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

FORMS = (("image/encoded", "image/class/label"), ("image", "label"))  # Keys of ImageNet's files, and of TensorFlow Datasets'.
HEADER, FOOTER = 12, 4  # Bytes around a record: its length with a checksum; its own checksum.
SCANNED = 256  # Records at once.


class Records:
    """Records of some TFRecord files that are not compressed, numbered from 0 in the order of the files.

    Args:
        paths: list of str.

    Attributes:
        labels: int64 (N,), as they are written.

    Raises:
        ValueError: a file cannot be read, or holds no records of one of the FORMS.
    """

    def __init__(self, paths):
        labels, files, beginnings, lengths = [], [], [], []
        for number, path in enumerate(paths):
            try:
                self._image, label = _form(path)
                of_file = list(tf.data.TFRecordDataset(path).batch(SCANNED).map(_labels_and_lengths(label)).as_numpy_iterator())
            except tf.errors.OpError as error:
                raise ValueError(f"{path} is damaged or compressed; expected whole TFRecords, not compressed, with one label each: write it again.") from error
            labels += [part[0] for part in of_file]
            length = np.concatenate([part[1] for part in of_file]).astype(np.int64)
            files.append(np.full(len(length), number))
            beginnings.append(HEADER + np.cumsum(length + HEADER + FOOTER) - (length + HEADER + FOOTER))
            lengths.append(length)
        self.labels = np.concatenate(labels)
        self._files, self._beginnings, self._lengths = (np.concatenate(parts) for parts in (files, beginnings, lengths))
        self._paths, self._descriptors = paths, [os.open(path, os.O_RDONLY) for path in paths]  # For the life of the process: reading by number opens nothing.

    def name(self, index):
        """Which file a record is of, and where in it."""
        return f"{self._paths[self._files[index]]}, byte {self._beginnings[index]}"

    def encoded(self, index):
        """Function of an int64 tensor (): the bytes of that record's image, as a tensor."""
        example = tf.numpy_function(self._read, [index], tf.string)
        return tf.io.parse_single_example(example, {self._image: tf.io.FixedLenFeature((), tf.string)})[self._image]

    def _read(self, index):
        return os.pread(self._descriptors[self._files[index]], int(self._lengths[index]), int(self._beginnings[index]))


def _form(path):
    """The keys of image and label in the records of a file."""
    first = next(iter(tf.data.TFRecordDataset(path).take(1)), None)
    try:
        found = [] if first is None else tf.train.Example.FromString(first.numpy()).features.feature
    except DecodeError:
        found = ["what is no tf.train.Example"]
    for form in FORMS:
        if set(form) <= set(found):
            return form
    forms = " or ".join(" and ".join(form) for form in FORMS)
    raise ValueError(f"{path} holds {', '.join(sorted(found)) or 'no records'}; expected records of {forms}.")


def _labels_and_lengths(label):
    def read(examples):
        return tf.io.parse_example(examples, {label: tf.io.FixedLenFeature((), tf.int64)})[label], tf.strings.length(examples)

    return read
