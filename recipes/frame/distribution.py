"""Where a recipe trains: on one device, on all local ones, or in several processes, of which one writes."""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zlib
from typing import NamedTuple

import keras
import tensorflow as tf

import keras_bn
from recipes.frame.flags import MIRRORED, MULTI_WORKER, NONE
from recipes.frame.refusal import Refusal

LONGEST_WAIT = 60  # Seconds until a worker that does not answer is an error.
ROOT = pathlib.Path(__file__).parents[2]


class Part(NamedTuple):
    """What one process reads of each batch: that of the replicas `first` to `first + number - 1`, of `of` in all."""

    of: int
    first: int
    number: int


class Distribution:
    """How nets are made, how batches are divided, and whether this process writes.

    Args:
        strategy: a `tf.distribute.Strategy`, or None.
        synchronized: whether batch normalisation takes its statistics from the whole batch.
        dtype_policy: of Keras, of all layers.
    """

    def __init__(self, strategy=None, synchronized=False, dtype_policy="float32"):
        self.strategy, self.synchronized, self.dtype_policy = strategy, synchronized, dtype_policy

    def of(self, training):
        """That of a training which says itself on how many replicas it is trained; this one else."""
        if training.replicas is None:
            return self
        strategy = None
        if training.replicas > 1:
            # Without collectives, of which several strategies of one process would mix up their numbers.
            strategy = tf.distribute.MirroredStrategy(_devices(training.replicas), tf.distribute.ReductionToOneDevice())
        return Distribution(strategy, training.synchronized, self.dtype_policy)

    @property
    def replicas(self):
        return 1 if self.strategy is None else self.strategy.num_replicas_in_sync

    @property
    def is_chief(self):
        """Whether this process writes: worker 0 or the chief, or the only one."""
        return self.strategy is None or keras_bn.distribute.is_chief(self.strategy)

    @contextlib.contextmanager
    def scope(self):
        """A context within which nets are made."""
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(self.dtype_policy)
        try:
            with contextlib.nullcontext() if self.strategy is None else self.strategy.scope():
                yield
        finally:
            keras.config.set_dtype_policy(before)

    def prepare(self, net):
        """Makes a net that was compiled in the scope trainable here."""
        if self.synchronized:
            for layer in net.layers:
                if isinstance(layer, keras_bn.BatchNormalization) and layer.virtual_batch_size is None and getattr(layer, "normalises_by_variance", True):
                    layer.synchronized = True
        return keras_bn.distribute.enable_fit(net)

    def batches(self, make):
        """What `fit` takes: `make(part)` returns a tf.data of this process's replicas' batches, one after the other."""
        if self.strategy is None:
            return make(Part(1, 0, 1))

        def of_process(context):
            number = self.replicas // context.num_input_pipelines
            return make(Part(self.replicas, context.input_pipeline_id * number, number))

        return self.strategy.distribute_datasets_from_function(of_process)

    def agree(self, on):
        """Returns when all processes hold the same; each has to call this.

        Args:
            on: function that returns a dict, from what it is, in words, to something JSON-able; called where there are several processes.

        Raises:
            Refusal: in each process, if they do not.
        """
        if not isinstance(self.strategy, tf.distribute.MultiWorkerMirroredStrategy):
            return
        held = on()
        numbers = [zlib.crc32(json.dumps(value, sort_keys=True).encode()) for value in held.values()]
        of_all = self.strategy.gather(tf.constant([numbers], tf.int64), axis=0).numpy()
        differing = [what for what, column in zip(held, of_all.T) if len(set(column)) > 1]
        if differing:
            raise Refusal(
                f"the processes differ in their {' and '.join(differing)}; give all the same flags and data, and a --workdir that each of them reads."
            )

    @contextlib.contextmanager
    def workdir(self, path):
        """The folder to write to: `path`, or for a process that does not write a copy of what it holds, which is deleted at the end."""
        if self.is_chief:
            yield path
            return
        with tempfile.TemporaryDirectory() as scratch:
            for name in ("config.json", "runs"):
                source = path / name
                if source.is_dir():
                    shutil.copytree(source, os.path.join(scratch, name), ignore=shutil.ignore_patterns(".*.tmp"))
                elif source.exists():
                    shutil.copy(source, scratch)
            yield type(path)(scratch)


def begin(settings):
    """The `Distribution` of these settings; called before TensorFlow computes anything.

    Raises:
        Refusal: what the flags say together cannot be done.
    """
    if settings.workers and settings.strategy == MIRRORED:
        raise Refusal(f"--workers={settings.workers} received with --strategy=mirrored; leave one of them out.")
    if settings.workers and settings.logical_cpus:
        raise Refusal(f"--workers={settings.workers} received with --logical_cpus={settings.logical_cpus}, for --strategy=mirrored; leave one of them out.")
    kind = MULTI_WORKER if settings.workers else settings.strategy
    if kind != NONE and getattr(settings, "jit_compile", False):
        raise Refusal(f"--jit_compile received with --strategy={kind}, and XLA cannot compile what replicas exchange; leave one of them out.")
    replicas = max(getattr(settings, "replicas", [1]))  # Of a recipe whose trainings differ in it.
    if replicas > 1 and (kind != NONE or settings.synchronized):
        raise Refusal("--strategy, --workers or --synchronized received, and --replicas and --contestants say that of each training; leave them out.")
    if logical := settings.logical_cpus or (replicas if replicas > len(tf.config.list_physical_devices("GPU")) else None):
        _divide_cpu(max(logical, replicas))
    strategy = None
    if kind == MIRRORED:
        strategy = tf.distribute.MirroredStrategy(_devices(settings.logical_cpus, ["CPU"]) if settings.logical_cpus else None)
    if kind == MULTI_WORKER:
        strategy = _among_workers()
    return Distribution(strategy, settings.synchronized, settings.dtype_policy)


def _divide_cpu(number):
    """Makes that many devices of the CPU, where they are not there already."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    if len(tf.config.get_logical_device_configuration(cpu) or [None]) < number:
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * number)


def _devices(number, kinds=("GPU", "CPU")):
    """Of the first of the kinds of which there are enough."""
    found = [[device.name.removeprefix("/device:") for device in tf.config.list_logical_devices(kind)] for kind in kinds]
    return next(devices[:number] for devices in found if len(devices) >= number)


def refuse_uneven(batch_size, replicas):
    """Raises a Refusal where a batch cannot be divided evenly."""
    if batch_size % replicas:
        raise Refusal(f"a batch of {batch_size} is not divisible by {replicas} replicas; choose a multiple of {replicas}, or another number of replicas.")


def _among_workers():
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    addresses = [address for tasks in resolver.cluster_spec().as_dict().values() for address in tasks]
    if not addresses:
        raise Refusal("--strategy=multi_worker without TF_CONFIG; set it for each process as TensorFlow describes, or start local ones by --workers=2.")
    watchdog = subprocess.Popen([sys.executable, "-m", "recipes.frame.watchdog", str(os.getpid()), str(LONGEST_WAIT), *addresses], cwd=ROOT)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    finally:
        watchdog.kill()
        watchdog.wait()
