"""What all the callbacks share: a history, a log, and that a failure of theirs does not end the training."""

import contextlib
import math
import re
import types
import weakref
from collections.abc import Callable, Iterable

import keras

from keras_bn import summaries
from keras_bn.callbacks import arguments, messages, schedule, train_batch
from keras_bn.callbacks.announcement import announced_if_slow
from keras_bn.callbacks.clock import Clock
from keras_bn.inspection import building, evaluation, workers
from keras_bn.inspection.errors import in_a_line
from keras_bn.inspection.evaluation import Batch
from keras_bn.inspection.prepared import Signature
from keras_bn.measures import quantities

_measuring = weakref.WeakKeyDictionary()  # Model that `fit` trains -> the instruments that measure it.


class Instrument(keras.callbacks.Callback):
    """A callback that measures.

    Subclasses have `name` and `quantities`, the measure's name and table, and implement `_refuse()`, which raises a ValueError for a net that cannot be
    measured, `_prepare()`, which evaluates once what can be evaluated before the training, `_watching(batch)`, a context that holds the training on one batch,
    and `_conclusion(records)`, which says what records mean. They call `_record` when something is due.

    Args:
        log_dir: TensorBoard's run to write into, or None.
        every: as of `schedule.Schedule`.
        strict: whether a measurement that fails ends the training, instead of being recorded and warned of, once.
        net: the one to measure, where it is a part of the model that trains; None: that model.
        optimizer: whose updates are the steps; None: the one that the model was compiled with, or batches where that updates nothing.
        report: whether to print `summary()` at the end of the training.

    Attributes:
        net: the one that is measured, once a training has begun.
    """

    name: str
    quantities: tuple[quantities.Quantity, ...]

    def __init__(self, log_dir, every, strict, net, optimizer, report):
        super().__init__()
        schedule.refuse(every)
        arguments.refuse(log_dir, net, optimizer)
        self.every = every
        self.history = []
        self.strict, self.report = strict, report
        self.net = net
        self._net_given, self._optimizer_given = net, optimizer
        self._fitted, self._has_begun = None, False
        self._log_dir, self._log, self._warned = log_dir, None, set()
        self._layer_names = {}  # A layer's name in tags to its own.
        self._prepared_for = None  # The net's `Signature` when it was last found to be measurable.
        self._is_traced = False  # Whether it has been measured since, so that all is traced.
        self._is_due, self._possible_steps = None, None  # A `Schedule` when a training has begun; the steps of a `fit` that can be due, if they are known.
        self._epoch_begins, self._is_seen = False, False  # The latter: whether what is due in this execution could see its batch.
        self._clock, self._of_this_training = Clock(), 0  # Records before that index are of other optimizers, whose steps were counted apart.

    def watching(self, model: keras.Model, x, y=None, sample_weight=None) -> contextlib.AbstractContextManager:
        """For a training by hand: a context that holds one training step.

        What is due is measured when the context ends. Where nothing is due it takes some microseconds. The steps are updates of `optimizer`, or of the one that
        the model was compiled with, or else contexts. Call `on_train_end()` behind the loop for the last picture, and `on_epoch_begin(epoch)` before each epoch
        if `every` is "epoch".

        Args:
            model: whose weights the step updates.
            x, y, sample_weight: the step's batch, as the loss takes it; under a `tf.distribute` strategy what its datasets hand out.

        Raises:
            ValueError: the model cannot be measured.

        Example:
            >>> from keras_bn.callbacks import LossLandscape
            >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3), keras.layers.Dense(1)])
            >>> optimizer = keras.optimizers.SGD(0.1)
            >>> def loss(model, x, y, sample_weight):
            ...     return tf.reduce_mean((model(x, training=True) - y) ** 2)
            >>> landscape = LossLandscape(loss=loss, optimizer=optimizer)
            >>> for x, y in 3 * [(tf.ones((4, 2)), tf.zeros((4, 1)))]:
            ...     with landscape.watching(model, x, y):
            ...         with tf.GradientTape() as tape:
            ...             value = loss(model, x, y, None)
            ...         optimizer.apply(tape.gradient(value, model.trainable_variables), model.trainable_variables)
            >>> [record["step"] for record in landscape.history]
            [0, 1, 2]
        """
        if model is not self.net or not self._has_begun:
            self._begin_by_hand(model, x)
        return self._watching(lambda: Batch(*train_batch.whole((x, y, sample_weight), model.distribute_strategy)))

    def summary(self) -> str:
        """What the measurements of this training say, in three lines: what is worst, or that nothing is amiss; what that means; what to do about it.

        What counts as a difference is more than the measurement's own error, or than rounding. A net whose loss has not fallen is said to have learned nothing.
        """
        records = self._measured()
        if not records:
            return self._nothing_measured()
        failed = sum("error" in record for record in self.history[self.history.index(records[-1]) :])
        later = f"\n({failed} later measurements failed, the last with {self.history[-1]['error']})" if failed else ""
        return "\n".join(self._with_own_names(self._conclusion(records))) + later

    def _nothing_measured(self):
        failed = next((record["error"] for record in reversed(self.history) if "error" in record), None)
        if self._is_due is None:
            why, remedy = "no training has begun that it is a callback of", "Hand it to fit(callbacks=[...]), or train within its `watching(model, x, y)`"
        elif failed is not None:
            why, remedy = f"all measurements failed, the last with {failed.removesuffix('.')}", "Mend that; with strict=True the training ends where it happens"
        else:
            why, remedy = f"no step of this training was due by every={self.every!r}", "Measure more often, such as by every=1"
        return f"{type(self).__name__} has measured nothing.\nThere is nothing to conclude: {why}.\n{remedy}."

    def _with_own_names(self, conclusion):
        """Says of each layer that the finding names what the model calls it, the first time."""
        finding = conclusion.finding
        for tag, name in self._layer_names.items():
            finding = re.sub(rf"(?<!\w){re.escape(tag)}(?!\w)", f'{tag} ("{name}")'.replace("\\", r"\\"), finding, count=1)
        return conclusion._replace(finding=finding)

    def on_train_begin(self, logs=None):
        train_batch.release(self.model)
        self._begin_training(self.model, self.model if self._net_given is None else self._net_given)

    def on_epoch_begin(self, epoch, logs=None):
        # Anew, as other callbacks may have restored an optimizer, and the last execution of an epoch may have been shorter.
        self._read_clock()
        if self._is_due is None and self._fitted is not None:
            self._possible_steps = self._steps(epoch)
            self.plan()
        self._epoch_begins = True

    def plan(self) -> None:
        """Chooses the steps of this `fit` that are due, of which there are fewer the more all of its instruments cost."""
        costs = [self._cost(), *(one._cost() for one in self._of_this_fit() if one is not self and one.every is None)]
        if self.every is None:  # Workers whose data differ in length would measure at other steps, and wait for each other.
            with workers.agreeing(self._trained().distribute_strategy, f"{type(self).__name__} with measurements that cost {costs[0]:.6g} train steps"):
                pass
        self._is_due = schedule.Schedule(self.every, self._possible_steps, costs)

    def on_train_batch_begin(self, batch, logs=None):
        if self._waits_for_first_batch:
            self._waits_for_first_batch = False
            train_batch.build_first(self.model, self.net, self._begin)

    def on_train_end(self, logs=None):
        if self._fitted is not None:
            _measuring[self._fitted].discard(self)
        self._draw()
        if self.report:
            print(f"\n{self.summary()}", flush=True)
        self._log, self._has_begun = None, False

    def _begin_by_hand(self, model, x):
        if self.every == schedule.EPOCH and not self._epoch_begins:
            raise ValueError(
                f'{type(self).__name__} measures every "epoch", and none has begun; expected a call of its `on_epoch_begin` before each epoch: add it, or give '
                "a number of steps."
            )
        building.build(model, evaluation.tensors(train_batch.whole(x, model.distribute_strategy)))
        self._begin_training(None, model)
        self._read_clock()

    def _begin_training(self, fitted, net):
        """Refuses or prepares, and opens the log, before the first step of a training.

        Args:
            fitted: the model that `fit` trains; None: the net is trained by hand.
            net: the one that is measured.
        """
        self._fitted, self.net, self._has_begun = fitted, net, True
        # In `fit` only when all that measure are known, which share what a default schedule may take.
        self._is_due = schedule.Schedule(self.every) if fitted is None else None
        if fitted is not None:
            _measuring.setdefault(fitted, weakref.WeakSet()).add(self)
        building.refuse_without_call(net)
        self._follow_optimizer()
        self._waits_for_first_batch = not building.is_built(net)
        if not self._waits_for_first_batch:
            self._begin()
        if self._log_dir is not None:
            self._refuse_twin()
            strategy = self._trained().distribute_strategy
            with workers.agreeing(strategy, f"{type(self).__name__} with a log_dir"):
                if workers.is_chief(strategy):  # The others compute the same numbers, and keep them in `history`.
                    self._log = summaries.Log.open(self._log_dir)
                    self._log.announce(self.name, self.quantities)

    def _refuse_twin(self):
        """Raises a ValueError where another of this kind writes into this folder in this training: each number has one place there."""
        twins = [one for one in self._of_this_fit() if one is not self and one.name == self.name and one._log_dir is not None]
        if any(summaries.Log.path_of(one._log_dir) == summaries.Log.path_of(self._log_dir) for one in twins):
            raise ValueError(f"`log_dir` is {self._log_dir!r} for two of {type(self).__name__}; expected one folder for each: give them others.")

    def _of_this_fit(self):
        """All instruments that measure in it; Keras hands them the same parameters. Others may be left from one that failed."""
        return [] if self._fitted is None else [one for one in _measuring[self._fitted] if one.params is self.params]

    def _begin(self):
        strategy = self._trained().distribute_strategy
        with workers.agreeing(strategy, f"{type(self).__name__} with every={self.every if not callable(self.every) else 'a function'!r}"):
            if callable(self.every) and workers.are_several(strategy):
                raise ValueError(
                    f"`every` of {type(self).__name__} is a function, of which several workers cannot tell whether it is the same on each; expected a number "
                    'of steps, "epoch" or None: give one of them.'
                )
            if self._prepared_for is None or not self._prepared_for.is_of(self.net):
                self._prepared_for, self._is_traced = None, False  # If preparation fails, the next `fit` checks again.
                self._refuse()
                with self._announced_if_slow():
                    self._prepare()
                self._prepared_for = Signature(self.net)

    def _steps(self, epoch):
        """Those that can be due in the whole training that begins with this epoch; None where its length is unknown."""
        epochs, batches = [self.params.get(name) for name in ("epochs", "steps")] if self.params else (None, None)
        return None if epochs is None or batches is None else self._steps_of(self._clock.updates((epochs - epoch) * batches))

    def _steps_of(self, updates):
        """Those that can be due in a training of so many updates."""
        return range(updates)

    def _cost(self) -> float:
        """Of one measurement, about, in train steps."""
        raise NotImplementedError

    def _refuse(self):
        raise NotImplementedError

    def _watching(self, batch):
        raise NotImplementedError

    def _prepare(self):
        """Evaluates once, where data are given, whether they go together with the net; the traces serve all measurements."""

    def _begin_anew(self):
        """Forgets what belongs to the steps of another optimizer."""

    def _read_clock(self):
        self._follow_optimizer()
        self._clock.read()
        # Only now, as other callbacks may have restored an optimizer when the training began.
        if self._log is not None and self._clock.updates() == 0:
            self._log.begin_anew()

    def _trained(self):
        """The model that trains."""
        return self.net if self._fitted is None else self._fitted

    def _follow_optimizer(self):
        """Notices an optimizer that is another one than before, with whose steps the charts begin anew."""
        if self._clock.follow(getattr(self._trained(), "optimizer", None) if self._optimizer_given is None else self._optimizer_given):
            self._of_this_training = len(self.history)
            self._begin_anew()
            if self._log is not None:  # Compiled anew within a training.
                self._log.begin_anew()

    def _record(self, step: int, measure: Callable[[], summaries.Measured]) -> None:
        """Takes a measurement, keeps it and logs it. `measure` returns tags and numbers."""
        with self._surviving("measure", step) as attempt:
            self._follow_optimizer()
            with contextlib.nullcontext() if self._is_traced else self._announced_if_slow():
                measured = measure()
            self._is_traced = True
            scalars = {f"{self.name}/{tag}": float(value) for tag, value in measured.scalars.items()}
            # JSON has no NaN and no infinity; TensorBoard has.
            self.history.append({"step": step, **{tag: value if math.isfinite(value) else None for tag, value in scalars.items()}})
        if attempt.error is not None:
            self.history.append({"step": step, "error": attempt.error})
        elif self._log is not None:
            with self._surviving("write", step):
                histograms = {f"{self.name}/{tag}": values for tag, values in measured.histograms.items()}
                descriptions = {f"{self.name}/{tag}": text for tag, text in measured.descriptions.items()}
                worst, worst_descriptions = quantities.worst(self.name, self.quantities, scalars)
                self._log.write(step, summaries.Measured(worst | scalars, worst_descriptions | descriptions, histograms), self)
            number = len(self.history)
            if number & (number - 1) == 0:  # After 1, 2, 4, 8, ... measurements, so that pictures cost less and less; TensorBoard keeps ten.
                self._draw()

    def _by_layer(self, rows: Iterable[tuple[str, dict[str, float | None]]], layer_names: dict[str, str]) -> summaries.Measured:
        """Scalars with tags such as ratio/02_batch_normalization.

        Args:
            rows: for each layer its name in tags, and its quantities; those that are None or in no table are left out.
            layer_names: dict, name in tags to the layer's own name, which the description holds.
        """
        self._layer_names = layer_names
        described = {quantity.name: quantity for quantity in self.quantities}
        scalars = {(name, layer): value for layer, values in rows for name, value in values.items() if value is not None and name in described}
        descriptions = {"/".join(tag): described[tag[0]].description(layer_names[tag[1]]) for tag in scalars}
        return summaries.Measured({"/".join(tag): value for tag, value in scalars.items()}, descriptions, {})

    def _announced_if_slow(self):
        return announced_if_slow(f"{type(self).__name__} prepares its measurements of {self.net.name}, which happens once.")

    def _measured(self):
        """The records of this training that are no errors."""
        return [record for record in self.history[self._of_this_training :] if "error" not in record]

    def _conclusion(self, records):
        raise NotImplementedError

    def _draw(self):
        records = self._measured()
        if self._log is not None and records:
            with self._surviving("draw", records[-1]["step"]):
                records = [self._to_draw(record) for record in records]
                for quantity in quantities.pictured(self.quantities):
                    self._log.draw(f"{self.name}/{quantity.name}", records, quantity.name, **quantity.colours._asdict())

    def _to_draw(self, record):
        """A record without the numbers that say nothing; their fields are grey."""
        return record

    @contextlib.contextmanager
    def _surviving(self, purpose, step):
        """Inside it, an error does not end the training, unless `strict`: it becomes the `error` of what this yields, and is warned of, once a purpose."""
        attempt = types.SimpleNamespace(error=None)
        try:
            yield attempt
        except Exception as error:
            if self.strict:
                raise
            attempt.error = f"{type(error).__name__}: {error}"
            if purpose not in self._warned:
                self._warned.add(purpose)
                messages.warn(f"{type(self).__name__} failed to {purpose} at step {step}, and the training goes on; strict=True would end it: {attempt.error}")


@contextlib.contextmanager
def refusing(callback: keras.callbacks.Callback, argument: str, expected: str):
    """Inside it, what a first evaluation raises because model and data do not go together becomes a ValueError that says so."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"{type(callback).__name__} cannot evaluate its `{argument}`; expected {expected}: {in_a_line(error)}.") from error
