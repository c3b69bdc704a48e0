"""The processes of a `tf.distribute` strategy: whether there are several, which of them writes, and what all of them hold together."""

import contextlib
import functools
import zlib

import tensorflow as tf


def are_several(strategy: tf.distribute.Strategy) -> bool:
    """Whether replicas are in other processes, too."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return False
    return strategy.num_replicas_in_sync > len(strategy.extended.worker_devices)


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the one that writes what all have computed: the chief, or worker 0 where none is called so."""
    if not are_several(strategy):
        return True
    resolver = strategy.cluster_resolver
    chiefs = resolver.cluster_spec().as_dict().get("chief")
    return resolver.task_type == ("chief" if chiefs else "worker") and resolver.task_id == 0


def joined(value, strategy: tf.distribute.Strategy) -> tf.Tensor:
    """What all replicas hold, one behind the other along the first axis. With several workers each has to call this, as they exchange it."""
    parts = strategy.experimental_local_results(value)
    if not are_several(strategy):
        return parts[0] if len(parts) == 1 else tf.concat(parts, 0)
    if len(parts) == 1 and isinstance(parts[0], tf.Tensor):
        return _gathering(strategy, tf.TensorSpec([None, *parts[0].shape[1:]], parts[0].dtype))(parts[0])
    return strategy.gather(value, axis=0)


@functools.cache
def _gathering(strategy, spec):
    """Of one tensor a worker. Without a function of our own TensorFlow traces one in each call: 0.2 s in place of 0.01.

    It is traced for any size of the workers' parts, which differ: collectives find each other by their number, and so workers must trace the same.
    """
    return tf.function(lambda value: strategy.gather(value, axis=0), input_signature=[spec])


@contextlib.contextmanager
def agreeing(strategy: tf.distribute.Strategy, doing: str):
    """Inside it, each worker does the same, or all of them raise an error behind it; without several workers it is no more than what is inside.

    Args:
        strategy: the model's.
        doing: what they do, in words that are the same for each.

    Raises:
        ValueError: another worker does something else, or failed.
    """
    if not are_several(strategy):
        yield
        return
    failure = None
    try:
        yield
    except Exception as error:
        failure = error
    try:
        said = joined(tf.constant([[zlib.crc32(doing.encode()), failure is not None]], tf.int64), strategy).numpy()
    except tf.errors.OpError as error:
        raise ValueError(f"another worker does not do the same as this one, {doing}; expected each to: give all of them the same callbacks.") from error
    if failure is not None:
        raise failure
    if len(set(said[:, 0])) > 1:
        raise ValueError(f"another worker does something else than this one, {doing}; expected each to do the same: give all of them the same callbacks.")
    if said[:, 1].any():
        raise ValueError(f"worker {said[:, 1].argmax()} failed at {doing}, and its own message says why; expected all of them to: see its output.")
