"""`VarianceShift`: the measure of that name after epochs or steps."""

import contextlib
from collections.abc import Callable, Iterator

import keras

from keras_bn.callbacks import instrument, schedule
from keras_bn.inspection import batches, normalization_layers
from keras_bn.inspection.prepared import prepared
from keras_bn.measures.conclusions.variance_shift import conclusion
from keras_bn.measures.variance_shift import NAME, QUANTITIES, Measure


class VarianceShift(instrument.Instrument):
    """Logs `measures.variance_shift`: how far the moving statistics are from those that the layers' inputs have in inference.

    Tags, for each batch normalisation layer: `variance_shift/ratio/02_batch_normalization`, `.../mean_shift/...`, `.../lag/...`, `.../mode/...`,
    `.../error/...`, and where a Dropout stands in front of it `.../predicted_ratio/...`. The step is the number of updates so far.

    Args:
        data: as of the measure. It is read at each measurement: a generator would be used up, and a dataset must end. It must not share a random state with the
            data of `fit`, such as one dataset that `fit` shuffles: reading it would change the batches of `fit`; build one for each.
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

    def on_train_batch_begin(self, batch, logs=None):
        super().on_train_batch_begin(batch, logs)
        self._is_seen, self._before = False, self._updates()

    def on_train_batch_end(self, batch, logs=None):
        if not self._is_seen:
            self._clock.passed(self.model.steps_per_execution)
            self._measure_what_was_reached()

    def on_epoch_end(self, epoch, logs=None):
        if self.every == schedule.EPOCH:
            self._clock.read()
            self._record(self._clock.updates(), self._measure)

    def on_train_end(self, logs=None):
        self._clock.read()
        step = self._clock.updates()
        if self.every is None and step > 0 and not (self.history and self.history[-1]["step"] == step):
            self._record(step, self._measure)
        super().on_train_end(logs)

    @contextlib.contextmanager
    def _watching(self, batch):
        self._is_seen, self._before = True, self._updates()
        yield
        self._clock.passed()
        self._measure_what_was_reached()

    def _updates(self):
        self._follow_optimizer()
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

    def _cost(self):
        size = batches.number(self.data)
        return 2.0 if size is None else size * 2 / 3  # One pass in training mode and one in inference mode.

    def _refuse(self):
        normalization_layers.names(self.net)

    def _prepare(self):
        with instrument.refusing(self, "data", f"inputs for {self.net.name}, or batches of them"):
            prepared(Measure, self.net).of_batch(next(batches.inputs(self.data)))

    def _measure(self):
        measure = prepared(Measure, self.net)
        # Kept beside the numbers, since the net may be another one when conclusions are drawn.
        layers = normalization_layers.names(self.net).items()
        self._momenta = {name: layer.momentum if layer.trainable else 1.0 for layer, name in layers}
        rows = [(shift.layer, shift._asdict()) for shift in measure(batches.inputs(self.data))]
        self._dropouts = measure.dropouts
        return instrument.by_layer(self.quantities, rows, measure.layer_names)

    def _conclusion(self, records):
        return conclusion(records, self._momenta, self._dropouts)
