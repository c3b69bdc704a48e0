"""`InternalCovariateShift`: the measure of that name at training steps."""

from collections.abc import Callable, Iterable

import keras

from keras_bn import keras_internals
from keras_bn.callbacks import instrument
from keras_bn.callbacks.update_instrument import UpdateInstrument
from keras_bn.inspection import evaluation, layer_order
from keras_bn.inspection.objective import Objective
from keras_bn.inspection.prepared import prepared
from keras_bn.inspection.update import Update
from keras_bn.measures import covariate_shift
from keras_bn.measures.conclusions.covariate_shift import conclusion, unshifted
from keras_bn.measures.quantities import pictured

TRAIN = "train"


class InternalCovariateShift(UpdateInstrument):
    """Logs `measures.internal_covariate_shift`: how the gradient of each layer changes by the update of the layers before it.

    It measures the step's own batch and the update that the optimizer makes of it, as the definition says. Tags, for each layer with a trainable kernel:
    `internal_covariate_shift/l2/03_conv2d`, `.../relative/...`, `.../cosine/...`, `.../update_size/...`; and `internal_covariate_shift/loss`. The step is the
    number of updates before. A frozen layer has no number until it is trainable; the other layers keep their names.

    With gradient accumulation it measures the last batch that went into the update. With several steps an execution, an execution in which a step is due runs
    step by step. Under a `tf.distribute` strategy the batch, and so its statistics, are those of all replicas together. Dropout masks are those of the step;
    a step that is compiled by XLA or computed by replicas draws others.

    A measurement takes one pass from each layer on, a third of a train step a layer or somewhat more. Where a net of more than some 25 layers with a kernel is
    subclassed, or has a `loss` of its own, it takes the time of a whole train step for each: choose `layers`, or measure more rarely.

    Args:
        log_dir: TensorBoard's run to write into, or None: numbers are kept in `history` only. Instruments may share one, with Keras's own
            callback, too, which writes into sub-folders of it.
        every: a number of optimizer steps, "epoch" (the first update of each), or a function that takes a step and returns whether it is due; None: nine times
            in the first 20 steps, fifteen times in the first 1,000, and then at every 512th; of those steps so many that all instruments take 7 % of a
            training of 1,000 steps or more, about.
        layers: as of the measure; of those chosen, the trainable ones are measured.
        batch: "train", or (x, y) or (x, y, sample_weight): the same one at each measurement, so that numbers vary less and compare between runs.
        strict: whether a measurement that fails ends the training. Else it is warned of, once, and recorded in `history` with the key "error".
        loss: as of the measure: what a `train_step` or a loop of one's own minimises; None: the compiled loss.
        net: the net to measure, where it is one of several in the model that `fit` trains; None: that model.
        optimizer: whose updates are the steps; None: the one that the model was compiled with, or batches where that updates nothing.
        report: whether to print `summary()` at the end of the training.

    Attributes:
        history: one dict a measurement: "step", and one float a tag; None where it is not finite.

    Raises:
        ValueError: at the start of `fit`, for a model that cannot be measured.

    Source: Santurkar et al. 2018, Definition 2.1.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> shift = InternalCovariateShift(every=2)
        >>> _ = model.fit(np.ones((12, 2)), np.ones((12, 1)), batch_size=4, callbacks=[shift], verbose=0)
        >>> [record["step"] for record in shift.history], shift.history[0]["internal_covariate_shift/l2/01_dense"]
        ([0, 2], 0.0)
    """

    name, quantities = covariate_shift.NAME, covariate_shift.QUANTITIES

    def __init__(
        self,
        log_dir=None,
        every: int | str | Callable | None = None,
        layers: Iterable[str | int] | Callable | None = None,
        batch=TRAIN,
        strict: bool = False,
        loss: Callable | None = None,
        net: keras.Model | None = None,
        optimizer: keras.Optimizer | None = None,
        report: bool = False,
    ):
        super().__init__(log_dir, every, strict, loss, net, optimizer, report)
        if isinstance(layers, str):
            raise ValueError(f"`layers` is {layers!r}; expected names in a list, or numbers, or a function of a layer: give [{layers!r}].")
        if layers is not None and not callable(layers) and not isinstance(layers, Iterable):
            raise ValueError(f"`layers` is {layers!r}; expected names or numbers in a list, or a function of a layer: give [{layers!r}].")
        if (isinstance(batch, str) and batch != TRAIN) or (not isinstance(batch, str) and not (isinstance(batch, tuple) and len(batch) in (2, 3))):
            what = f"a {type(batch).__name__} of {len(batch)}" if isinstance(batch, tuple | list) else repr(batch)
            raise ValueError(f'`batch` is {what}; expected "train", (x, y) or (x, y, sample_weight): a tuple of a batch for the model.')
        self._layers_measured = 10  # Until it is known.
        self.layers, self.batch = layers if layers is None or callable(layers) else list(layers), batch

    def _refuse(self):
        super()._refuse()
        self._layers_measured = layer_order.refuse(self.net, self.layers)

    def _cost(self):
        # The pass of a layer begins and ends there, where it can: half of a step forward and half of one back, without the gradients to weights.
        return 1 + self._layers_measured * (0.4 if self.loss is None and keras_internals.functional_graph(self.net) else 1)

    def _prepare(self):
        if not isinstance(self.batch, str):
            with instrument.refusing(self, "batch", "(x, y) or (x, y, sample_weight)"):
                batch, objective = evaluation.batch_of(self.batch), prepared(Objective, self.net, self.loss)
                covariate_shift.measure_of(self.net, batch, self.layers, self.loss)
                objective.loss(objective.snapshot(batch), batch)

    def _measure(self, update: Update):
        if not isinstance(self.batch, str):
            update = update._replace(batch=evaluation.batch_of(self.batch))
        measure = covariate_shift.measure_of(self.net, update.batch, self.layers, self.loss)
        loss, shifts = measure.with_loss(update, self._scale())
        measured = self._by_layer(((shift.layer, shift._asdict()) for shift in shifts), measure.layer_names)
        return measured._replace(scalars=measured.scalars | {"loss": loss})

    def _to_draw(self, record):
        return record | {f"{self.name}/{quantity.name}/{layer}": None for layer in unshifted(record) for quantity in pictured(self.quantities)}

    def _conclusion(self, records):
        return conclusion(records, self._constant_learning_rate())
