"""Axes: which ones are reduced, and how a vector of channels broadcasts along one."""

from collections.abc import Iterable

import tensorflow as tf


def all_but(excluded: Iterable[int], x: tf.Tensor) -> list[int]:
    """The axes of `x` without `excluded`, ascending; negative ones count from the end."""
    excluded = {range(x.shape.rank)[axis] for axis in excluded}
    return [axis for axis in range(x.shape.rank) if axis not in excluded]


def along(vector: tf.Tensor, x: tf.Tensor, axis: int) -> tf.Tensor:
    """(C,), in a shape that broadcasts along `axis` of `x`: on the last axis its own, else with size 1 for the others."""
    if range(x.shape.rank)[axis] == x.shape.rank - 1:
        return vector
    shape = [1] * x.shape.rank
    shape[axis] = -1
    return tf.reshape(vector, shape)


def flat(statistic: tf.Tensor) -> tf.Tensor:
    """What `along` made of a vector, as a vector."""
    return statistic if statistic.shape.rank == 1 else tf.reshape(statistic, [-1])


def are_kept(axes: list[int], x: tf.Tensor) -> bool:
    """Whether reduced axes have to stay, with size 1, for a sum over them to broadcast against `x`. Where the last axis alone is left, it need not."""
    return axes != list(range(x.shape.rank - 1))


def size(x: tf.Tensor, axes: list[int], dtype: tf.DType) -> tf.Tensor:
    """How many values of `x` lie along `axes`: scalar. A constant where the shape is known."""
    static = [x.shape[axis] for axis in axes]
    if None not in static:
        number = 1
        for each in static:
            number *= each
        return tf.constant(number, dtype)
    return tf.cast(tf.reduce_prod(tf.gather(tf.shape(x), axes)), dtype)
