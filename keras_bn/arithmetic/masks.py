"""Masks: True where a position counts."""

from collections.abc import Sequence

import tensorflow as tf

from keras_bn.arithmetic.axes import all_but


def fits(mask_shape: Sequence[int | None], shape: Sequence[int | None]) -> bool:
    """Whether, as far as static sizes say, a mask of the one shape broadcasts to the other."""
    pairs = zip(reversed(list(mask_shape)), reversed(list(shape)))
    return len(mask_shape) <= len(shape) and all(None in (size, needed) or size in (1, needed) for size, needed in pairs)


def broadcast(mask: tf.Tensor | None, x: tf.Tensor, axis: int) -> tf.Tensor | None:
    """The mask at the size of `x`, with size 1 for the channels; None stays None.

    A mask that has the shape of `x` without its last axis, as Keras's layers pass it on, is read as that where it does not broadcast otherwise; for another
    channel axis it then counts the values of each channel apart, and keeps the channels' size.
    """
    if mask is None:
        return None
    mask = tf.convert_to_tensor(mask)
    axis, shape = range(x.shape.rank)[axis], tf.shape(x)
    if mask.shape.rank == x.shape.rank:
        return tf.broadcast_to(mask, tf.concat([shape[:axis], tf.shape(mask)[axis : axis + 1], shape[axis + 1 :]], 0))
    others = all_but([axis], x)
    if fits(mask.shape, [x.shape[other] for other in others]):
        return tf.expand_dims(tf.broadcast_to(mask, tf.gather(shape, others)), axis)
    return tf.broadcast_to(mask[..., tf.newaxis], shape)


def masked(x: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
    """`x` with 0 wherever the mask is False, whatever stood there."""
    return x if mask is None else tf.where(mask, x, tf.zeros([], x.dtype))


def without_nan(x: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
    """`x` with 0 for values that are not finite at positions that do not count.

    What stands there must not reach a gradient: 0 times NaN is NaN. Finite values stay, as the outputs at these positions are computed from them.
    """
    return x if mask is None else tf.where(mask | tf.math.is_finite(x), x, tf.zeros([], x.dtype))
