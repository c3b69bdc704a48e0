"""`VarianceShift`: the measure of that name after epochs or steps."""

import contextlib
from collections.abc import Callable, Iterator

import keras
import numpy as np

from keras_bn.callbacks import instrument, schedule, train_batch
from keras_bn.inspection import batches, evaluation, normalization_layers
from keras_bn.inspection.prepared import prepared
from keras_bn.measures.conclusions.shifts import Normalization
from keras_bn.measures.conclusions.variance_shift import conclusion
from keras_bn.measures.variance_shift import NAME, QUANTITIES, Measure, errors, warm_up


class VarianceShift(instrument.Instrument):
    """Logs `measures.variance_shift`: how far the moving statistics are from those that the layers' inputs have in inference.

    Tags, for each batch normalisation layer: `variance_shift/ratio/02_batch_normalization`, `.../mean_shift/...`, `.../lag/...`, `.../mode/...`,
    `.../error/...`, `.../mean_lag/...`, `.../mean_mode/...`, `.../mean_error/...`, and where a Dropout stands in front of it `.../predicted_ratio/...`.
    Besides what is left of the moving statistics that the training began with: `.../warm_up/...`, by how much it makes the moving variance too large, relative
    to the variance in training, and `.../mean_warm_up/...`, in standard deviations, with `.../mean_besides/...`, what the moving mean is off by without that.
    The step is the number of updates so far.

    Args:
        data: as of the measure; arrays are cut into batches of the training's size. It is read at each measurement: a generator would be used up, and a dataset
            must end. It must not share a random state with the data of `fit`, such as one dataset that `fit` shuffles: reading it would change the batches of
            `fit`; build one for each.
        log_dir, strict, net, optimizer, report: as of `InternalCovariateShift`.
        every: a number of optimizer steps, "epoch" (after each), or a function that takes a step and returns whether it is due; None: as of
            `InternalCovariateShift`, and at the end. It measures after the update that reaches the step.

    Attributes:
        history: one dict a measurement: "step", and one float a tag; None where it is not finite.

    Raises:
        ValueError: at the start of `fit`, for a model that cannot be measured with these data.

    Source: Li, Chen, Hu & Yang 2018, sec. 4.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.BatchNormalization(momentum=0.0), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> x = np.random.rand(8, 2)
        >>> shift = VarianceShift(x)
        >>> _ = model.fit(x, np.ones((8, 1)), batch_size=8, epochs=2, callbacks=[shift], verbose=0)
        >>> [(record["step"], round(record["variance_shift/ratio/01_batch_normalization"], 3)) for record in shift.history]
        [(1, 1.0), (2, 1.0)]
    """

    name, quantities = NAME, QUANTITIES

    def __init__(
        self,
        data,
        log_dir=None,
        every: int | str | Callable | None = None,
        strict: bool = False,
        net: keras.Model | None = None,
        optimizer: keras.Optimizer | None = None,
        report: bool = False,
    ):
        super().__init__(log_dir, every, strict, net, optimizer, report)
        if isinstance(data, Iterator):
            raise ValueError(f"`data` of VarianceShift is a {type(data).__name__}, used up once it is read; expected what can be read again: a dataset.")
        batches.refuse(data)
        self.data = data
        self._batch_size = None
        # By a layer's name in tags: layer, moving mean and variance; when `_calls_before` calls of the optimizer had been made, and at the end of a training.
        self._statistics, self._at_end = None, {}

    def on_train_batch_begin(self, batch, logs=None):
        super().on_train_batch_begin(batch, logs)
        self._is_seen, self._before = False, self._updates()
        if self._batch_size is None and train_batch.can_follow(self.model):
            train_batch.follow(self.model, self._noticing)

    def on_train_batch_end(self, batch, logs=None):
        train_batch.release(self.model)  # In a loop around callbacks nobody has called the stand-in.
        if not self._is_seen:
            self._clock.passed(self.model.steps_per_execution)
            self._measure_what_was_reached()

    def on_epoch_end(self, epoch, logs=None):
        if self.every == schedule.EPOCH:
            self._clock.read()
            self._record(self._clock.updates(), self._measure)

    @contextlib.contextmanager
    def _watching(self, batch):
        self._is_seen, self._before = True, self._updates()
        if self._batch_size is None:
            self._notice(batch)
        yield
        self._clock.passed()
        self._measure_what_was_reached()

    @contextlib.contextmanager
    def _noticing(self, batch):
        """The first step of `fit`."""
        self._notice(batch)
        yield

    def _notice(self, batch):
        layers = normalization_layers.names(self.net)
        parts = 1 if all(getattr(layer, "synchronized", False) for layer in layers) else self._trained().distribute_strategy.num_replicas_in_sync
        self._batch_size = -(-(batches.size_of(batch().x) or batches.BATCH_SIZE) // parts)  # What a layer normalises together.
        for one in self._of_this_fit():
            one.plan()  # The cost of this one is known now.

    def _inputs(self):
        return batches.inputs(self.data, self._batch_size or batches.BATCH_SIZE)

    def _begin_training(self, fitted, net):
        super()._begin_training(fitted, net)
        self._batch_size = None  # Of the training, until it is seen.

    def _begin(self):
        super()._begin()
        # Else they may have been loaded since, or trained without this callback.
        if self._statistics is None or not _are_equal(self._at_end, self._moving_statistics()):
            self._keep_statistics()

    def on_train_end(self, logs=None):
        self._clock.read()
        step = self._clock.updates()
        if self.every is None and step > 0 and not (self.history and self.history[-1]["step"] == step):
            self._record(step, self._measure)
        self._at_end = self._moving_statistics()
        super().on_train_end(logs)

    def _begin_anew(self):
        self._statistics = None

    def _keep_statistics(self):
        self._clock.read()
        self._calls_before, self._statistics = self._clock.calls, self._moving_statistics()

    def _moving_statistics(self):
        return {
            name: (layer, *(keras.ops.convert_to_numpy(value).astype("float64") for value in (layer.moving_mean, layer.moving_variance)))
            for layer, name in normalization_layers.names(self.net).items()
            if layer.built  # One that no call uses need not be.
        }

    def _updates(self):
        self._follow_optimizer()
        if self._statistics is None and not self._waits_for_first_batch:  # Compiled anew within a training.
            self._keep_statistics()
        return self._clock.updates()

    def _measure_what_was_reached(self):
        if self._is_reached():
            self._clock.read()  # Updates may have been left out since, where gradients were not finite.
            if self._is_reached():
                self._record(self._clock.updates(), self._measure)

    def _is_reached(self):
        """Whether an update that is due has been made since `_before`."""
        if self.every == schedule.EPOCH:
            return False
        return any(self._is_due(step, False) for step in range(self._before + 1, self._clock.updates() + 1))

    def _steps_of(self, updates):
        return range(1, updates + 1)

    def _cost(self):
        number = batches.number(self.data, self._batch_size or batches.BATCH_SIZE)
        return 2.0 if number is None else max(1.0, number * 2 / 3)  # One pass in training mode and one in inference mode.

    def _refuse(self):
        normalization_layers.names(self.net)

    def _prepare(self):
        with instrument.refusing(self, "data", f"inputs for {self.net.name}, or batches of them"):
            snapshot = evaluation.snapshot(self.net)  # First, as workers take part in that together, whatever their data are.
            prepared(Measure, self.net).of_batch(next(self._inputs()), snapshot=snapshot)
        self._statistics = None

    def _measure(self):
        if self._statistics is None:  # Compiled anew between the last step and this.
            self._keep_statistics()
        measure = prepared(Measure, self.net)
        shifts = measure(self._inputs())
        # Kept beside the numbers, since the net may be another one when conclusions are drawn.
        self._layers = {shift.layer: self._normalization(shift, measure) for shift in shifts}
        rows = [(shift.layer, shift._asdict() | self._warm_up(shift)) for shift in shifts]
        return self._by_layer(rows, measure.layer_names)

    def _normalization(self, shift, measure):
        layer, mean, variance = self._statistics[shift.layer]
        return Normalization(
            momentum=layer.momentum if layer.trainable else 1.0,
            updates=max(0, self._clock.calls - self._calls_before),  # Less than 0 where an optimizer was loaded.
            calls_a_step=self._clock.calls_a_step,
            in_front=measure.in_front.get(shift.layer),
            errors=errors(measure.batches, layer.momentum),
            dropout=measure.dropouts.get(shift.layer),
            acting=measure.acting.get(shift.layer, ()),
            moved=not (np.array_equal(mean, shift.moving_mean) and np.array_equal(variance, shift.moving_variance)),
        )

    def _warm_up(self, shift):
        """What is left of the moving statistics that the training began with."""
        layer, mean, variance = self._statistics[shift.layer]
        return warm_up(shift, mean, variance, self._layers[shift.layer].left, layer.epsilon)

    def _conclusion(self, records):
        return conclusion(records, self._layers)


def _are_equal(some, others):
    """Whether these are the same layers with the same statistics."""
    return some.keys() == others.keys() and all(np.array_equal(one, other) for name in some for one, other in zip(some[name][1:], others[name][1:]))
