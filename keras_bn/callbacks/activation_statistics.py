"""`ActivationStatistics`: the measure of that name at training steps."""

import os
from collections.abc import Callable, Iterator, Sequence

import keras
import tensorflow as tf

from keras_bn.callbacks import instrument
from keras_bn.callbacks.update_instrument import UpdateInstrument
from keras_bn.inspection import evaluation, normalization_layers
from keras_bn.inspection.objective import Objective
from keras_bn.inspection.prepared import prepared
from keras_bn.inspection.update import Update
from keras_bn.measures import activations
from keras_bn.measures.conclusions.activations import conclusion


class ActivationStatistics(UpdateInstrument):
    """Logs `measures.activation_statistics` of the same batch over and over, and what one update changes of it.

    Tags, for each batch normalisation layer, such as `activation_statistics/input_mean/02_batch_normalization`: `input_mean`, `input_stddev` over all channels;
    `saturated` or `dead` of the activation behind it; `mean_change`, `variance_change`: of the inputs by the update of this step, as the mean over the channels
    of the absolute difference; `gradient_ratio` where there are targets. By choice also `gradient_norm`, `input_p15`, `input_p50`, `input_p85`, and the same of
    `output_`. A histogram of the inputs: `activation_statistics/inputs/02_batch_normalization`. The step is the number of updates before.

    Args:
        data: x, or (x, y) or (x, y, sample_weight): a batch.
        log_dir, strict, loss, net, optimizer, report: as of `InternalCovariateShift`. With `loss`, data are what that takes.
        every: as of `InternalCovariateShift`.
        quantities: the names of those to keep; None: the seven above that are not by choice.

    Attributes:
        history: one dict a measurement: "step", and one float a tag; None where it is not finite.

    Raises:
        ValueError: at the start of `fit`, for a model that cannot be measured with these data.

    Source: as of the measure; the changes: Santurkar et al. 2018, fig. 8, which shows those of single channels.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3), keras.layers.BatchNormalization(), keras.layers.ReLU(), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> statistics = ActivationStatistics(np.random.rand(8, 2), every=2)
        >>> _ = model.fit(np.ones((12, 2)), np.ones((12, 1)), batch_size=4, callbacks=[statistics], verbose=0)
        >>> [record["step"] for record in statistics.history], 0 <= statistics.history[0]["activation_statistics/dead/01_batch_normalization"] <= 1
        ([0, 2], True)
    """

    name, quantities = activations.NAME, activations.QUANTITIES

    def __init__(
        self,
        data,
        log_dir=None,
        every: int | str | Callable | None = None,
        strict: bool = False,
        loss: Callable | None = None,
        net: keras.Model | None = None,
        optimizer: keras.Optimizer | None = None,
        report: bool = False,
        quantities: Sequence[str] | None = None,
    ):
        super().__init__(log_dir, every, strict, loss, net, optimizer, report)
        names = [row.name for row in activations.QUANTITIES]
        kept = activations.USUAL if quantities is None else quantities
        if isinstance(kept, str) or not set(kept) <= set(names) or not kept:
            raise ValueError(f"`quantities` is {quantities!r}; expected some of {', '.join(names)}: give a list of names, or None for the usual ones.")
        self.quantities = tuple(row for row in activations.QUANTITIES if row.name in kept)
        if isinstance(data, str | os.PathLike | tf.data.Dataset | keras.utils.PyDataset | Iterator):
            raise ValueError(
                f"`data` of ActivationStatistics is {data if isinstance(data, str) else f'a {type(data).__name__}'}; expected one batch, x, (x, y) or "
                "(x, y, sample_weight): give next(iter(dataset)), or arrays."
            )
        self.data = data

    def _cost(self):
        return 2  # One pass with gradients, one without, and what is summed up of both.

    def _refuse(self):
        super()._refuse()
        normalization_layers.names(self.net)

    def _prepare(self):
        with instrument.refusing(self, "data", f"a batch for {self.net.name}, such as `fit` takes"):
            batch = self._batch()
            snapshot = prepared(Objective, self.net, self.loss).snapshot(batch)
            self._prepared_measure()(snapshot, batch, self._has_gradients(batch), self._scale())

    def _measure(self, update: Update):
        measure, batch = self._prepared_measure(), self._batch()
        before = measure(update.before, batch, self._has_gradients(batch), self._scale())
        after = measure.inputs_after(update.before._replace(weights=update.after), batch)
        rows = [(now.layer, now.scalars | activations.changes(now.inputs, *later)) for now, later in zip(before, after)]
        histograms = {f"inputs/{now.layer}": now.inputs.sample for now in before}
        return self._by_layer(rows, measure.layer_names)._replace(histograms=histograms)

    def _batch(self):
        """Of a net with several inputs a list is these, as in `fit`; else what Keras takes a list for."""
        has_several = len(getattr(self.net, "inputs", None) or ()) > 1
        return evaluation.batch_of((self.data,) if has_several and isinstance(self.data, list) else self.data)

    def _prepared_measure(self):
        return prepared(activations.Measure, self.net, self.loss, any(row.name.startswith("output_") for row in self.quantities))

    def _has_gradients(self, batch):
        return batch.y is not None or self.loss is not None

    def _conclusion(self, records):
        return conclusion(records, tf.nest.flatten(self._batch().x)[0].shape[0])
