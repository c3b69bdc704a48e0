"""One training, which can be killed at any moment and continues where it was."""

import gc
import json
import math
import time

import keras
import numpy as np

from keras_bn import summaries
from recipes.frame import checkpoint, files
from recipes.frame.distribution import Distribution
from recipes.frame.records import has_diverged

ONE_DEVICE = Distribution()


def train(training, folder, log_dir, progress, net_of_start, distribution=ONE_DEVICE):
    """Trains until `training.steps`, and measures at the end; continues from the checkpoint in `folder` if there is one.

    Args:
        training: `recipe.Training`.
        folder: its own, existing: gets checkpoint.npz and metrics.jsonl.
        log_dir: its TensorBoard run.
        progress: an object with the methods `step()`, called after each optimizer step, `record(record)`, after each record, and `skip(number)`, once, with
            the number of steps that an earlier call has made.
        net_of_start: function that returns the trained net that this one begins with, or None.
        distribution: `distribution.Distribution`.

    Returns:
        (records, net). records: dicts with "step" (optimizer updates so far) and a number a quantity: seconds, loss and the task's metrics at each record,
        where all of them are None if one was not finite, which ends the training; what instruments measured; what `at_end` returned. net: the trained one.
    """
    distribution = distribution.of(training)
    path = folder / "checkpoint.npz"
    records = checkpoint.read_records(path) if path.exists() else []
    if not _is_measured(records, training.steps):  # What was measured at the end of a shorter one is not of this one.
        records = [record for record in records if not record.get("is_end", False)]
    keras.backend.clear_session()
    gc.collect()
    net_to_start_from = None if records else net_of_start()  # In front of the seed, as building it draws random numbers, too.
    keras.utils.set_random_seed(int(np.random.SeedSequence(training.seed).generate_state(1)[0]))
    net = _built(training, net_to_start_from, distribution)
    if records:
        checkpoint.restore(path, net)
    step = _step(records)
    progress.skip(step)
    log = _Log(folder, log_dir, records)
    for first, last in _spans(step, training.steps, training.steps_a_record):
        if not has_diverged(log.records):
            _fit(net, training, first, last, log, path, progress, distribution)
    if not has_diverged(log.records) and training.at_end and not _is_measured(log.records, training.steps):
        quantities, began = {}, time.monotonic()
        for measure in training.at_end:
            quantities |= files.finite({name: float(value) for name, value in measure(net).items()})
        seconds = round(time.monotonic() - began, 2)
        log.add([{"step": training.steps, "is_end": True, "seconds": seconds, **quantities}], write=quantities)
        checkpoint.save(path, net, log.records)
    log.write()
    return log.records, net


def earlier_step(folder):
    """The optimizer steps that a training has made so far."""
    path = folder / "checkpoint.npz"
    return _step(checkpoint.read_records(path)) if path.exists() else 0


def _step(records):
    """Not the optimizer's count, which leaves out updates whose gradients overflowed in half precision."""
    return max((record["step"] for record in records if not record.get("is_end", False)), default=0)


def restored(training, folder, distribution=ONE_DEVICE):
    """The trained net of a finished training."""
    net = _built(training, None, distribution.of(training))
    checkpoint.restore(folder / "checkpoint.npz", net)
    return net


def _built(training, net_to_start_from, distribution):
    """The net, ready to be trained or restored."""
    with distribution.scope():
        net = training.build(net_to_start_from)
        training.task.compile(net, training.optimizer(), training.jit_compile)
        net.optimizer.build(net.trainable_variables)
    return distribution.prepare(net)


def read_records(folder):
    """The records of a training's metrics.jsonl."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def _is_measured(records, step):
    return bool(records) and records[-1]["step"] == step and records[-1].get("is_end", False)


def _spans(step, end, steps_a_record):
    """(first, last) step of each call of `fit`: where a shorter training ended between two records, the first goes to the next record only."""
    next_record = min(end, math.ceil(step / steps_a_record) * steps_a_record)
    return [(first, last) for first, last in ((step, next_record), (next_record, end)) if first < last]


def _fit(net, training, first, last, log, path, progress, distribution):
    steps = min(training.steps_a_record, last - first)
    instruments = training.instruments(net, log.run_folder)

    def with_targets(x, y):
        return x, training.task.targets(net, y)

    def batches(part):
        return training.data.training_batches(training.batch_size, training.hyperparameters["seed"], first, part).map(with_targets)

    validation = training.data.test_batches()
    net.fit(
        distribution.batches(batches),
        validation_data=None if validation is None else validation.map(with_targets),
        epochs=math.ceil((last - first) / steps),
        steps_per_epoch=steps,
        callbacks=[_Watch(training, first, last, instruments, log, path, progress), *instruments],
        shuffle=False,
        verbose=0,
    )


class _Watch(keras.callbacks.Callback):
    """Counts steps, ends the training at its last step or at a loss that is not finite, and after each pass records, checkpoints and logs."""

    def __init__(self, training, first_step, last_step, instruments, log, checkpoint_path, progress):
        super().__init__()
        self.training, self.step, self.last_step, self.instruments = training, first_step, last_step, instruments
        self.log, self.checkpoint_path, self.progress = log, checkpoint_path, progress
        self.taken = [0] * len(instruments)  # How many of each one's measurements are recorded.

    def on_epoch_begin(self, epoch, logs=None):
        self.began = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        self.progress.step()
        if self.step == self.last_step or not math.isfinite(logs["loss"]):
            self.model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        quantities = self.training.task.recorded(self.model, logs)
        if not all(math.isfinite(value) for value in quantities.values()):
            quantities = dict.fromkeys(quantities)
            self.model.stop_training = True
        record = {"step": self.step, "seconds": round(time.monotonic() - self.began, 2), **quantities}
        self.log.add([*self._measured(), record], write=quantities)
        checkpoint.save(self.checkpoint_path, self.model, self.log.records)
        self.log.write()
        self.progress.record(record)

    def _measured(self):
        """What the instruments have measured since the last record. They write it to TensorBoard themselves."""
        new = [record for instrument, taken in zip(self.instruments, self.taken) for record in instrument.history[taken:] if "error" not in record]
        self.taken = [len(instrument.history) for instrument in self.instruments]
        return new


class _Log:
    """What is recorded of one training: as records, in metrics.jsonl, and in its TensorBoard run."""

    def __init__(self, folder, log_dir, records):
        self.path, self.records = folder / "metrics.jsonl", records
        self.run, self.run_folder = summaries.Log.open(log_dir), log_dir
        if not records:
            self.run.begin_anew()

    def add(self, records, write):
        """Adds records; `write`: the quantities of the last one that go to TensorBoard."""
        self.records += records
        scalars = {name: value for name, value in write.items() if value is not None}
        if scalars:
            self.run.write(records[-1]["step"], summaries.Measured(scalars, {}, {}), self)

    def write(self):
        files.write(self.path, "".join(json.dumps(record, allow_nan=False) + "\n" for record in self.records))
