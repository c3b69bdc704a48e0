"""`ActivationStatistics`: the measure of that name at training steps."""

from collections.abc import Callable

import keras
import numpy as np

from keras_bn import summaries
from keras_bn.callbacks import instrument, train_batch
from keras_bn.callbacks.update_instrument import UpdateInstrument
from keras_bn.heatmap import Colours
from keras_bn.measures import activations, normalisers, probe


class ActivationStatistics(UpdateInstrument):
    """Logs `measures.activation_statistics` of the same batch over and over, and what one update changes of it.

    Tags, for each batch normalisation layer, such as `activation_statistics/input_mean/02_batch_normalization`: `input_mean`, `input_stddev`, `input_p15`,
    `input_p50`, `input_p85` and the same of `output_`, over all channels; `saturated` or `dead` of the activation behind it; `mean_change`, `variance_change`:
    of the inputs by the update of this step, as the mean over the channels of the absolute difference; `gradient_norm` and `gradient_ratio` where there are
    targets. A histogram of the inputs: `activation_statistics/inputs/02_batch_normalization`. The step is the number of updates before.

    Args:
        data: x, or (x, y) or (x, y, sample_weight): a batch.
        log_dir, strict: as of `InternalCovariateShift`.
        every: number of optimizer steps, "epoch" (the first update of each), or a function of the step that says whether it is due.

    Attributes:
        history: one dict a measurement: "step", and one float a tag.

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

    name = "activation_statistics"
    heatmap = Colours("input_stddev", logarithmic=True)

    def __init__(self, data, log_dir=None, every: int | str | Callable = 100, strict: bool = False):
        super().__init__(log_dir, every, strict)
        self.data = data

    def _prepare(self):
        self._compiled = activations.compiled(self.model)

    def _refuse(self):
        """By a first evaluation, as only that tells whether model and data go together; it is traced for all that follow."""
        super()._refuse()
        self._names = normalisers.found(self.model)
        with instrument.refusing(self, "data", f"a batch for {self.model.name}, such as `fit` takes"):
            self._batch = probe.tensors(keras.utils.unpack_x_y_sample_weight(self.data))
            self._compiled(*probe.snapshot(self.model), *self._batch, self._scale())

    def _measure(self, update: train_batch.Update):
        def told(weights, x, y, sample_weight):
            return activations.told(self.model, self._compiled(weights, update.state, x, y, sample_weight, self._scale()), self._compiled.layers)

        found = told(update.before, *self._batch)
        later = told(update.after, self._batch[0], None, None)  # Without targets, as nothing is asked of its gradients: a second trace, and half of the time.
        own_names = {name: layer.name for layer, name in self._names.items()}
        measured = summaries.Measured({}, {}, {})
        for now, then in zip(found, later):
            values = {
                "mean_change": np.abs(then.inputs.mean - now.inputs.mean).mean(),
                "variance_change": np.abs(then.inputs.variance - now.inputs.variance).mean(),
                **{name: getattr(now, name) for name in ("saturated", "dead", "gradient_norm", "gradient_ratio")},
            }
            for side, distribution in (("input", now.inputs), ("output", now.outputs)):
                values |= {f"{side}_mean": distribution.overall_mean, f"{side}_stddev": distribution.overall_stddev}
                values |= {f"{side}_p{which}": value for which, value in zip(activations.PERCENTILES, distribution.percentiles)}
            for name, value in values.items():
                if value is not None:
                    measured.scalars[f"{name}/{now.layer}"] = value
                    measured.descriptions[f"{name}/{now.layer}"] = own_names[now.layer]
            measured.histograms[f"inputs/{now.layer}"] = now.inputs.sample
        return measured
