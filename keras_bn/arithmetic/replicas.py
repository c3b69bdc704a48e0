"""The moments of all replicas of a `tf.distribute` strategy, by one all-reduce."""

import tensorflow as tf

from keras_bn.arithmetic.moments import Moments, merge_moments
from keras_bn.arithmetic.shifted import Centre


def over_replicas(centre: Centre) -> Centre:
    """Where the inputs of all replicas lie, from where this one's lie.

    Each replica puts its count, mean and variance into a row of its own of a table of zeros; the sum of the tables holds them all, exactly, and is merged
    without subtracting large numbers, as a sum of squares over replicas would have to. Gradients flow back to every replica.

    Args:
        centre: of this replica; its statistics have the channels on one axis and size 1 elsewhere.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return centre
    shape = tf.shape(centre.variance)
    row = tf.concat([tf.reshape(tf.broadcast_to(value, shape), [-1]) for value in (centre.count, centre.mean, centre.variance)], 0)
    this_row = tf.one_hot(context.replica_id_in_sync_group, context.num_replicas_in_sync, on_value=True, off_value=False)
    # Not a product, as 0 times an infinite variance is NaN.
    table = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.where(this_row[:, tf.newaxis], row, 0.0))
    count, mean, variance = (tf.reshape(value, shape) for value in merge_moments(Moments(*tf.split(table, 3, axis=1))))
    return Centre(count, mean, tf.zeros_like(mean), variance)
