"""Which step a training is at, without reading a variable at each."""

import keras

from keras_bn import keras_internals


def innermost(optimizer: keras.Optimizer) -> keras.Optimizer:
    """The optimizer that updates, within those that are wrapped around it."""
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    return optimizer


def learning_rate(optimizer: keras.Optimizer | None) -> float | None:
    """Of the innermost; None if that is made of several, or there is none."""
    rate = None if optimizer is None else getattr(innermost(optimizer), "learning_rate", None)
    return None if rate is None else float(keras.ops.convert_to_numpy(rate))


class Clock:
    """Counts updates by an optimizer, or batches where there is no optimizer that updates.

    An optimizer that was given to `compile` and updates nothing, since a `train_step` has others of its own, is never built.
    """

    def __init__(self):
        self.optimizer = None
        self._calls, self._calls_a_batch = 0, 1  # An optimizer is called once a batch, unless it accumulates gradients or a training step calls it more often.

    def follow(self, optimizer: keras.Optimizer | None) -> bool:
        """Counts by that optimizer from now on. Returns whether it is another one than before, by which steps begin anew."""
        if optimizer is self.optimizer:
            return False
        self.optimizer, self._calls, self._calls_a_batch = optimizer, 0, 1
        self.read()
        return True

    @property
    def calls(self) -> int:
        """How often the optimizer was called, for a batch each or for a part of what it accumulates; or how many batches there were."""
        return self._calls

    @property
    def calls_a_step(self) -> int:
        """Of which gradient accumulation makes one update."""
        return 1 if self.optimizer is None else innermost(self.optimizer).gradient_accumulation_steps or 1

    @property
    def updates_nothing(self) -> bool:
        return self.optimizer is None or not innermost(self.optimizer).built

    def read(self) -> None:
        """Takes the number of calls from the optimizer."""
        if not self.updates_nothing:
            self._calls = keras_internals.batches_of(innermost(self.optimizer))

    def updates(self, batches: int = 0) -> int:
        """How many updates there are after so many more batches."""
        return (self._calls + batches * self._calls_a_batch) // self.calls_a_step

    def steps(self, batches: int = 1) -> range:
        """The updates of the next batches, as numbers of updates before."""
        return range(self.updates(), self.updates(batches))

    def passed(self, batches: int = 1) -> None:
        """So many batches have been trained on."""
        self._calls += batches * self._calls_a_batch

    def __enter__(self):
        """A context that holds one batch."""

    def __exit__(self, kind, error, traceback):
        if kind is None:
            self.passed()

    def passed_and_read(self) -> None:
        """One batch has been trained on; learns how often that called the optimizer."""
        before = self._calls
        if self.updates_nothing:
            self._calls += 1
        else:
            self.read()
            self._calls_a_batch = max(1, self._calls - before)
