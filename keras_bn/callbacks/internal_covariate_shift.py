"""`InternalCovariateShift`: the measure of that name at training steps."""

from collections.abc import Callable, Iterable

import keras

from keras_bn import summaries
from keras_bn.callbacks import instrument, train_batch
from keras_bn.callbacks.update_instrument import UpdateInstrument
from keras_bn.heatmap import Colours
from keras_bn.measures import covariate_shift, order, probe

TRAIN = "train"


class InternalCovariateShift(UpdateInstrument):
    """Logs `measures.internal_covariate_shift`: how the gradient of each layer changes by the update of the layers before it.

    On a step that is due, the batch is that of the step and the update the one that the optimizer makes of it, as the definition has it. Tags, for each layer
    with a kernel: `internal_covariate_shift/l2/03_conv2d`, `.../relative/03_conv2d`, `.../cosine/03_conv2d`. The step is the number of updates before.

    With gradient accumulation the update is the one that is made in the end, and the batch the last of those that went into it. With several steps an
    execution, those executions are made step by step in which one is due. Under a `tf.distribute` strategy the batch is that of all replicas together, so that
    the batch statistics are, too. Dropout masks are those of the step; where it is compiled by XLA or computed by replicas, these draw others.

    A measurement takes one pass from each layer on, so its time and its graph grow with the square of the depth. Where a net is deeper than some 25 layers
    with a kernel, one gradient is traced instead, and computed once for each layer: a train step each. Choose `layers`, or measure more rarely.

    Args:
        log_dir: TensorBoard's run to write into, or None: numbers are kept in `history` only. Instruments may share one; Keras's own callback wants another.
        every: number of optimizer steps, "epoch" (the first update of each), or a function of the step that says whether it is due.
        layers: as of the measure.
        batch: "train", or (x, y) or (x, y, sample_weight): the same one at each measurement, so that numbers vary less and compare between runs.
        strict: whether a measurement that fails ends the training. Else it is warned of, once, and recorded in `history` with the key "error".

    Attributes:
        history: one dict a measurement: "step", and one float a tag.

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

    name = "internal_covariate_shift"
    heatmap = Colours("cosine", lowest=-1, highest=1)

    def __init__(
        self,
        log_dir=None,
        every: int | str | Callable = 100,
        layers: Iterable[str | int] | Callable | None = None,
        batch=TRAIN,
        strict: bool = False,
    ):
        super().__init__(log_dir, every, strict)
        if (isinstance(batch, str) and batch != TRAIN) or (not isinstance(batch, str) and not (isinstance(batch, tuple) and len(batch) in (2, 3))):
            raise ValueError(f'`batch` is {batch!r}; expected "train", (x, y) or (x, y, sample_weight): a tuple of a batch for the model.')
        self.layers, self.batch = layers if layers is None or callable(layers) else list(layers), batch

    def _prepare(self):
        self._compiled = None

    def _refuse(self):
        super()._refuse()
        order.refuse(self.model, self.layers)
        if not isinstance(self.batch, str):
            with instrument.refusing(self, "batch", "(x, y) or (x, y, sample_weight)"):
                batch = probe.tensors(keras.utils.unpack_x_y_sample_weight(self.batch))
                self._compile(batch[0])
                probe.loss(self.model, *probe.snapshot(self.model), *batch)

    def _compile(self, x):
        if self._compiled is None:
            self._stages = order.chosen(order.stages(self.model, x), self.layers)
            self._compiled = covariate_shift.compiled(self.model, self._stages)

    def _measure(self, update: train_batch.Update):
        batch = (update.x, update.y, update.sample_weight) if isinstance(self.batch, str) else probe.tensors(self.batch)
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        self._compile(x)
        rows = self._compiled(update.before, update.after, update.state, x, y, sample_weight, self._scale())
        scalars, descriptions = {}, {}
        for stage, shift in zip(self._stages, covariate_shift.told(self._stages, rows)):
            for quantity in ("l2", "relative", "cosine"):
                tag = f"{quantity}/{shift.layer}"
                scalars[tag], descriptions[tag] = getattr(shift, quantity), stage.layer.name
        return summaries.Measured(scalars, descriptions, {})
