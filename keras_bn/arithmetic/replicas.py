"""The moments of all replicas of a `tf.distribute` strategy, by one all-reduce of few replicas and two of many."""

import tensorflow as tf

from keras_bn.arithmetic.moments import Moments, merge_moments
from keras_bn.arithmetic.shifted import Centre

MOST_IN_A_TABLE = 8  # Replicas. A table grows with their number, and one message less is worth more than its size up to about here.
WEIGHT = 2.0**-20  # Of a value: products of counts and means stay finite, and nothing is rounded by it.


def over_replicas(centre: Centre) -> Centre:
    """Where the inputs of all replicas lie, from where this one's lie. Gradients flow back to every replica.

    Args:
        centre: of this replica; its statistics have the channels on one axis and size 1 elsewhere.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return centre
    return _by_table(centre, context) if context.num_replicas_in_sync <= MOST_IN_A_TABLE else _by_sums(centre, context)


def _by_table(centre, context):
    """One all-reduce of 3 numbers a channel and replica.

    Each replica puts its count, mean and variance into a row of its own of a table of zeros; the sum of the tables holds them all, exactly, and is merged
    without subtracting large numbers, as a sum of squares over replicas would have to.
    """
    shape = tf.shape(centre.variance)
    row = tf.concat([tf.reshape(tf.broadcast_to(value, shape), [-1]) for value in (centre.count, centre.mean, centre.variance)], 0)
    this_row = tf.one_hot(context.replica_id_in_sync_group, context.num_replicas_in_sync, on_value=True, off_value=False)
    # Not a product, as 0 times an infinite variance is NaN.
    table = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.where(this_row[:, tf.newaxis], row, 0.0))
    count, mean, variance = (tf.reshape(value, shape) for value in merge_moments(Moments(*tf.split(table, 3, axis=1))))
    return Centre(count, mean, tf.zeros_like(mean), variance)


def _by_sums(centre, context):
    """Two all-reduces, of 2 numbers a channel each, whatever the number of replicas; one in the backward pass.

        shift = sum(count * mean) / sum(count)                                       rounded, as a sum of large numbers is
        error = sum(count * (mean - shift)) / sum(count)                             what the rounding was off by
        variance = sum(count * (variance + (mean - shift)**2)) / sum(count) - error**2

    The mean is shift + error, as of `Centre`; gradients flow through the error alone, whose derivative is that of the mean.
    """
    shape = tf.shape(centre.variance)
    count = tf.broadcast_to(centre.count, shape)
    weight = WEIGHT * count
    # An empty replica's mean is 0 and its variance, too; it adds nothing.
    sums = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.stack([count, tf.stop_gradient(weight * centre.mean)]))
    total = sums[0]
    values = tf.maximum(WEIGHT * total, WEIGHT)
    shift = tf.stop_gradient(sums[1] / values)
    deviation = centre.deviation_from(shift)
    error, squares = tf.unstack(
        context.all_reduce(tf.distribute.ReduceOp.SUM, tf.stack([weight * deviation, weight * (centre.variance + tf.square(deviation))]) / values)
    )
    variance = tf.where(tf.math.is_inf(squares), squares, tf.maximum(squares - tf.square(error), 0))
    return Centre(total, shift, error, variance)
