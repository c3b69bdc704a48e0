"""Keras's `fit` with several workers: what keeps it from running there is replaced, in one model."""

import keras
import tensorflow as tf

from keras_bn import keras_internals
from keras_bn.inspection import workers


def enable_fit(model: keras.Model) -> keras.Model:
    """Lets `fit`, `evaluate` and `predict` run under `tf.distribute.MultiWorkerMirroredStrategy`, where Keras 3 raises an error at the first batch.

    Under any other strategy, or none, it changes nothing. Two things are replaced in this model: it is built for the shapes of this worker's part of the first
    batch, and the metrics of a step get an axis before the workers average them. A model that is cloned or loaded needs it again.

    Args:
        model: made within the strategy's scope; compiled or not.

    Returns:
        The same model.

    Raises:
        ValueError: the model runs several steps an execution (`steps_per_execution`), whose all-reduces TensorFlow cannot repeat in a loop; at `fit`.

    Source: keras#20585.

    Example:
        >>> model = enable_fit(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]))
        >>> model.compile("sgd", "mse")
        >>> history = model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
    """
    strategy = model.distribute_strategy
    if workers.are_several(strategy) and not getattr(model, "_fits_on_workers", False):
        keras_internals.build_for(model, lambda batch: _local_part(model, strategy, batch))
        model.train_step, model.test_step = _with_an_axis(model.train_step), _with_an_axis(model.test_step)
        model._fits_on_workers = True
    return model


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the one that should write files: the chief, or worker 0 where none is called so, or the only process.

    Example:
        >>> is_chief(tf.distribute.get_strategy())
        True
    """
    return workers.is_chief(strategy)


def _local_part(model, strategy, batch):
    if model.steps_per_execution != 1:
        raise ValueError(
            f"{model.name} was compiled with steps_per_execution={model.steps_per_execution}; expected 1 with several workers, as TensorFlow cannot repeat "
            "their all-reduces in a loop: compile it with steps_per_execution=1."
        )
    return tf.nest.map_structure(lambda value: strategy.experimental_local_results(value)[0], batch)


def _with_an_axis(step):
    """The step whose metrics have the shape (1,): Keras averages them along the first axis, which scalars lack."""

    def step_with_an_axis(data):
        return tf.nest.map_structure(lambda value: tf.convert_to_tensor(value)[tf.newaxis], step(data))

    return step_with_an_axis
