"""`Update`: one update of a model's weights, with what it was made from."""

from typing import NamedTuple

import tensorflow as tf

from keras_bn.inspection.evaluation import Batch, Snapshot


class Update(NamedTuple):
    """One update of the weights by the optimizer.

    before: weights and state before it; after: the weights after it, like `model.trainable_variables`.
    batch: whose gradients were the last that went into the update; under a `tf.distribute` strategy that of all replicas.
    step: number of updates before it; learning_rate: before it, None where the optimizer has several. Both None outside of a training.
    """

    before: Snapshot
    after: list[tf.Tensor]
    batch: Batch
    step: int | None = None
    learning_rate: float | None = None
