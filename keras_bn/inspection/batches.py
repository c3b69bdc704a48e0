"""The inputs of a model, batch by batch, from whatever `fit` and `predict` take as data."""

import functools
import itertools
import numbers
from collections.abc import Iterable, Iterator

import keras
import numpy as np
import tensorflow as tf

BATCH_SIZE = 128  # Of arrays, which are not batched by themselves.


def inputs(data, size: int = BATCH_SIZE, number: int | None = None) -> Iterator:
    """What a model takes as `x`, for each batch of the data in turn.

    Args:
        data: an array, or for a model with several inputs a list or a dict of one each, which are cut into batches of `size`, in a random order that is
            always the same; a tuple of such inputs and targets, and sample weights; or batches, of inputs or such tuples: a tf.data.Dataset, a
            keras.utils.PyDataset or whatever else can be iterated over.
        size: of batches of arrays.
        number: so many batches at most, which may be of data without an end; None: all.

    Raises:
        ValueError: what is no data, no batch at all, batches without an end or of something else than arrays, or a list of arrays of unequal numbers of
            examples.
    """
    refuse(data, number)
    if isinstance(data, tuple):  # Targets may be anything.
        data = data[0]
    for x, _, _ in examples(data, size, number):
        yield x


def examples(data, size: int = BATCH_SIZE, number: int | None = None) -> Iterator[tuple]:
    """As `inputs`, but (x, y, sample_weight) for each batch; the latter two may be None."""
    refuse(data, number)
    inputs, *besides = keras.utils.unpack_x_y_sample_weight(data) if isinstance(data, tuple) else (data, None, None)
    refuse(inputs, number)
    if _holds_arrays(inputs):
        batches = _cut((inputs, *besides), size)
    else:
        parts = inputs  # What is given besides is not cut as they are.
        if isinstance(inputs, keras.utils.PyDataset):
            parts = (inputs[index] for index in (itertools.count() if inputs.num_batches is None else range(inputs.num_batches)))
        batches = map(keras.utils.unpack_x_y_sample_weight, parts)
    empty = True
    for x, y, sample_weight in itertools.islice(batches, number):
        empty = False
        for value in tf.nest.flatten(x):
            if not _is_array(value) and not isinstance(value, tf.SparseTensor):
                raise ValueError(f"`data` holds {value!r} in place of a batch; expected arrays or tensors: convert it by np.asarray.")
        yield x, y, sample_weight
    if empty:
        raise ValueError("`data` holds no batch; expected one at least: if it is a generator, it may have been used up, so give a dataset instead.")


def refuse(data, number: int | None = None) -> None:
    """Raises the ValueErrors of `inputs` that can be found without reading the data."""
    if (not isinstance(data, Iterable | keras.utils.PyDataset) and not _is_array(data)) or isinstance(data, str):
        raise ValueError(
            f"`data` is {data!r}; expected inputs of the model, or batches of them: an array, a tf.data.Dataset, a keras.utils.PyDataset or what else can be "
            "iterated over."
        )
    if number is not None:
        return
    endless = isinstance(data, tf.data.Dataset) and data.cardinality() == tf.data.INFINITE_CARDINALITY
    if endless or (isinstance(data, keras.utils.PyDataset) and data.num_batches is None):
        raise ValueError("`data` has no end; expected batches that do: for instance the first so many, by `take` of a tf.data.Dataset.")


def refuse_size(size: int) -> None:
    """Raises a ValueError for what is no size of batches."""
    if not isinstance(size, numbers.Integral) or isinstance(size, bool) or size < 1:
        raise ValueError(f"`batch_size` is {size!r}; expected a positive whole number: leave it out for 32.")


def number(data, size: int = BATCH_SIZE) -> int | None:
    """How many batches `inputs` makes of the data; None where only reading them would say."""
    if isinstance(data, tuple):
        data = keras.utils.unpack_x_y_sample_weight(data)[0]
    if _holds_arrays(data):
        return -(-tf.nest.flatten(data)[0].shape[0] // size)
    if isinstance(data, keras.utils.PyDataset):
        return data.num_batches
    size = int(data.cardinality()) if isinstance(data, tf.data.Dataset) else -1
    return size if size >= 0 else None


def size_of(x) -> int | None:
    """Of a batch; None where the first of its arrays has none."""
    shape = getattr(tf.nest.flatten(x)[0], "shape", ())
    return shape[0] if len(shape) else None


def _cut(data, size):
    """Arrays as batches, in an order drawn once for all, as `fit` does: by classes, such as files hold them, the statistics of a batch would say little."""
    arrays = [array for array in tf.nest.flatten(data) if array is not None]
    if others := [array for array in arrays if not _is_array(array)]:
        raise ValueError(f"`data` holds targets or weights that are no array ({others[0]}); expected arrays: convert them by np.asarray.")
    lengths = [array.shape[0] for array in arrays]
    if len(set(lengths)) > 1:
        raise ValueError(
            f"`data` holds arrays of {', '.join(map(str, lengths))} examples; expected equal numbers, as each is one of the model's inputs, or its targets: "
            "give batches as a generator or a tf.data.Dataset."
        )
    order = np.random.default_rng(0).permutation(lengths[0])
    for begin in range(0, lengths[0], size):
        chosen = order[begin : begin + size]
        yield tf.nest.map_structure(functools.partial(_taken, chosen), data)


def _taken(chosen, array):
    if array is None:
        return None
    return array[chosen] if isinstance(array, np.ndarray) else tf.gather(array, chosen)


def _holds_arrays(data):
    """Whether it is arrays, which are cut into batches, and not batches."""
    return _is_array(data) or (isinstance(data, dict) and bool(data)) or (isinstance(data, list) and bool(data) and all(map(_is_array, data)))


def _is_array(value):
    return isinstance(value, np.ndarray | tf.Tensor | tf.RaggedTensor)
