"""One training, which can be killed at any moment and continues where it was."""

import dataclasses
import json
import math
import shutil
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_bn import summaries
from recipes import checkpoint, data, files, instruments

EVALUATION_BATCH_SIZE = 500
AUXILIARY_LOSS_WEIGHT = 0.3  # Szegedy et al. 2015, sec. 5.


@dataclasses.dataclass(frozen=True)
class Phase:
    """A part of a training, with a network and an optimizer of its own.

    name: what the records call it.
    build: function of the previous phase's model, returns (model, training_model) as `models.vgg` does. Its argument is None in the first phase, and in a
        phase that is resumed, whose weights come from the checkpoint.
    """

    name: str
    build: Callable


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to train.

    steps: optimizer steps of each phase, or None for `epochs` passes over the training images; measure_every: steps between two measurements, 0 for none.
    """

    batch_size: int
    epochs: int
    steps: int | None
    momentum: float
    jit_compile: bool
    measure_every: int

    def steps_per_epoch(self, dataset):
        return len(dataset.y_train) // self.batch_size

    def steps_per_phase(self, dataset):
        return self.steps or self.epochs * self.steps_per_epoch(dataset)

    def epochs_per_phase(self, dataset):
        """The last one is cut short where `steps` end within it."""
        return math.ceil(self.steps_per_phase(dataset) / self.steps_per_epoch(dataset))


def train(phases, dataset, settings, *, seed, learning_rate, folder, log_dir, progress):
    """Trains all phases in turn with SGD; continues from the checkpoint in `folder` if there is one.

    Args:
        phases: list of `Phase`.
        dataset: `data.Dataset`; its test images are the validation images.
        settings: `Settings`.
        seed: int, of weights, data order and dropout.
        learning_rate: of SGD.
        folder: the run's, existing: gets checkpoint.npz and metrics.jsonl.
        log_dir: gets the TensorBoard runs `train` and `validation`, and `measures-PHASE` of what is measured, whose steps are those of the phase.
        progress: an object with the methods `step()`, called after each optimizer step, `epoch(record)`, after each epoch, and `skip(number)`, once, with the
            number of steps that an earlier call has made.

    Returns:
        (records, model). records: one dict an epoch with the keys phase, epoch (from 1), step (optimizer steps so far, of all phases), seconds, loss (with
        penalties), cross_entropy, accuracy, test_cross_entropy, test_accuracy. The last five are None in an epoch that met a loss that is not finite, which
        is the last then. model: the trained one.
    """
    path = folder / "checkpoint.npz"
    records = checkpoint.read_progress(path) if path.exists() else []
    reached = records[-1]["phase"] if records else phases[0].name
    begun = [phase.name for phase in phases].index(reached)
    model = None
    with _Log(folder, log_dir, records) as log:
        for index in range(begun, len(phases)):
            phase = phases[index]
            keras.utils.set_random_seed(int(np.random.SeedSequence([seed, index]).generate_state(1)[0]))
            model, training_model = phase.build(model)
            _compile(training_model, learning_rate, settings)
            if records and phase.name == reached:
                checkpoint.restore(path, training_model)
                progress.skip(records[-1]["step"])
            if not diverged(records):
                watch = _Watch(phase.name, settings.steps_per_phase(dataset), log, path, progress)
                measuring = instruments.of(training_model, dataset, settings.measure_every, log_dir / f"measures-{phase.name}")
                _fit(training_model, dataset, settings, seed, [watch, *measuring])
    return records, model


def diverged(records):
    """Whether the training that left these records met a loss that is not finite."""
    return bool(records) and records[-1]["loss"] is None


def _compile(model, learning_rate, settings):
    auxiliary = len(model.outputs) - 1
    metrics = [
        keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
        keras.metrics.SparseCategoricalCrossentropy(name="cross_entropy", from_logits=True),
    ]
    model.compile(
        optimizer=keras.optimizers.SGD(learning_rate, momentum=settings.momentum),
        loss=[keras.losses.SparseCategoricalCrossentropy(from_logits=True) for _ in model.outputs],
        loss_weights=[1.0] + [AUXILIARY_LOSS_WEIGHT] * auxiliary,
        metrics=[metrics] + [[]] * auxiliary if auxiliary else metrics,  # Keras 3.10 takes a list of lists for several outputs only.
        jit_compile=settings.jit_compile,
    )
    model.optimizer.build(model.trainable_variables)


def _fit(model, dataset, settings, seed, callbacks):
    steps_per_epoch = settings.steps_per_epoch(dataset)
    first_epoch = math.ceil(int(model.optimizer.iterations.numpy()) / steps_per_epoch)

    def labelled(x, y):
        return x, (y,) * len(model.outputs)

    test = tf.data.Dataset.from_tensor_slices((dataset.x_test, dataset.y_test)).batch(EVALUATION_BATCH_SIZE)
    model.fit(
        data.training_batches(dataset, settings.batch_size, seed, first_epoch).map(labelled),
        validation_data=test.map(labelled),
        initial_epoch=first_epoch,
        epochs=settings.epochs_per_phase(dataset),
        steps_per_epoch=steps_per_epoch,
        callbacks=callbacks,
        shuffle=False,
        verbose=0,
    )


class _Watch(keras.callbacks.Callback):
    """Counts steps, ends the phase at its last step or at a loss that is not finite, and after each epoch checkpoints and logs."""

    def __init__(self, phase, last_step, log, checkpoint_path, progress):
        super().__init__()
        self.phase, self.last_step, self.log, self.checkpoint_path, self.progress = phase, last_step, log, checkpoint_path, progress

    def on_train_begin(self, logs=None):
        self.step = int(self.model.optimizer.iterations.numpy())
        records = self.log.records
        self.earlier_steps = records[-1]["step"] - self.step if records else 0

    def on_epoch_begin(self, epoch, logs=None):
        self.began = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        self.progress.step()
        if self.step == self.last_step or not math.isfinite(logs["loss"]):
            self.model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        main = f"{self.model.output_names[0]}_" if len(self.model.outputs) > 1 else ""
        measured = {
            "loss": logs["loss"],
            "cross_entropy": logs[f"{main}cross_entropy"],
            "accuracy": logs[f"{main}accuracy"],
            "test_cross_entropy": logs[f"val_{main}cross_entropy"],
            "test_accuracy": logs[f"val_{main}accuracy"],
        }
        if not all(math.isfinite(value) for value in measured.values()):
            measured = dict.fromkeys(measured)
            self.model.stop_training = True
        record = {
            "phase": self.phase,
            "epoch": epoch + 1,
            "step": self.earlier_steps + self.step,
            "seconds": round(time.monotonic() - self.began, 2),
            **measured,
        }
        checkpoint.save(self.checkpoint_path, self.model, [*self.log.records, record])
        self.log.add(record)
        self.progress.epoch(record)


class _Log:
    """metrics.jsonl and the TensorBoard runs of one training, rewritten from the records at the start, so that nothing of an interrupted epoch stays."""

    def __init__(self, folder, log_dir, records):
        self.path, self.log_dir, self.records = folder / "metrics.jsonl", log_dir, records

    def __enter__(self):
        splits = [self.log_dir / split for split in ("train", "validation")]
        for folder in splits:
            shutil.rmtree(folder, ignore_errors=True)
        self.writers = {folder.name: summaries.writer(folder) for folder in splits}
        self._write()
        for record in self.records:
            self._draw(record)
        return self

    def __exit__(self, *_):
        for writer in self.writers.values():
            writer.close()

    def add(self, record):
        self.records.append(record)
        self._write()
        self._draw(record)

    def _write(self):
        files.write(self.path, "".join(json.dumps(record, allow_nan=False) + "\n" for record in self.records))

    def _draw(self, record):
        if record["loss"] is None:
            return
        for split, prefix in (("train", ""), ("validation", "test_")):
            values = {tag: record[prefix + tag] for tag in ("accuracy", "cross_entropy")}
            summaries.write_scalars(self.writers[split], record["step"], values)
        summaries.write_scalars(self.writers["train"], record["step"], {"loss": record["loss"]})
