"""`LossLandscape`: the measure of that name at training steps."""

from collections.abc import Callable, Sequence

import keras
import numpy as np

from keras_bn import summaries
from keras_bn.callbacks import messages
from keras_bn.callbacks.clock import innermost, learning_rate
from keras_bn.callbacks.update_instrument import UpdateInstrument
from keras_bn.inspection.prepared import prepared
from keras_bn.inspection.update import Update
from keras_bn.measures.conclusions.loss_landscape import conclusion
from keras_bn.measures.loss_landscape import NAME, QUANTITIES, Measure, checked

MULTIPLES = (0.5, 1.0, 2.0, 4.0)  # Of the learning rate: Santurkar et al. 2018, sec. 3.2, for its VGG.


class LossLandscape(UpdateInstrument):
    """Logs `measures.loss_landscape`: loss and gradient along the gradient of the step's batch, from the weights before the step.

    Tags: `loss_landscape/loss`, `.../loss_min`, `.../loss_max`: at the weights, and over the step sizes; `.../gradient_change_min`, `..._median`, `..._max`;
    `.../effective_smoothness`, and `.../grid_limit`, which it approaches where it says something about the step sizes only; `.../gradient_norm`; and
    `.../smoothness/02_1lr` for each step size: the second, once the learning rate (`02_0.1` where step sizes are given).

    Args:
        log_dir, strict, loss, net, optimizer, report: as of `InternalCovariateShift`; and so are its batches, updates and dropout masks.
        every: as of `InternalCovariateShift`.
        step_sizes: positive; or None: 0.5, 1, 2 and 4 times the learning rate of the step. Optimizers other than plain SGD do not step along the gradient, and
            their learning rate says little about the size of a step: give step sizes. At a learning rate of 0 the quantities that are divided by it are not
            finite.

    Attributes:
        history: one dict a measurement: "step", and one float a tag; None where it is not finite.

    Raises:
        ValueError: step sizes that are none; at the start of `fit`, a model that cannot be measured.

    Source: Santurkar et al. 2018, sec. 3.2 and fig. 4.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> landscape = LossLandscape(every=2)
        >>> _ = model.fit(np.ones((12, 2)), np.zeros((12, 1)), batch_size=4, callbacks=[landscape], verbose=0)
        >>> [round(record["loss_landscape/effective_smoothness"], 3) for record in landscape.history]
        [6.0, 6.0]
    """

    name, quantities = NAME, QUANTITIES

    def __init__(
        self,
        log_dir=None,
        every: int | str | Callable | None = None,
        step_sizes: Sequence[float] | None = None,
        strict: bool = False,
        loss: Callable | None = None,
        net: keras.Model | None = None,
        optimizer: keras.Optimizer | None = None,
        report: bool = False,
    ):
        super().__init__(log_dir, every, strict, loss, net, optimizer, report)
        self.step_sizes = None if step_sizes is None else checked(step_sizes)

    def _cost(self):
        return 1 + len(MULTIPLES if self.step_sizes is None else self.step_sizes)

    def _refuse(self):
        super()._refuse()
        optimizer = self._clock.optimizer
        if self.step_sizes is None and learning_rate(optimizer) is None:
            self._refuse_without_step_sizes(
                "there is no optimizer to take them from" if optimizer is None else f"{type(optimizer).__name__} no one learning rate to take them from"
            )

        if self.step_sizes is None and not isinstance(innermost(optimizer), keras.optimizers.SGD):
            messages.warn(
                f"LossLandscape takes its step sizes from the learning rate of {type(innermost(optimizer)).__name__}, which says little about how far its "
                "steps go: give `step_sizes`."
            )

    def _refuse_without_step_sizes(self, why):
        raise ValueError(
            f"LossLandscape has no `step_sizes`, and {why}; expected them, or an optimizer of one learning rate that updates the net: give `step_sizes`, or "
            "that as `optimizer`."
        )

    def _measure(self, update: Update):
        if self.step_sizes is None and update.learning_rate is None:
            self._refuse_without_step_sizes(f"the {type(self._clock.optimizer).__name__} that the model was compiled with updates nothing")
        if self.step_sizes is None:
            sizes, names = update.learning_rate * np.asarray(MULTIPLES), [f"{multiple:g}lr" for multiple in MULTIPLES]
        else:
            sizes, names = self.step_sizes, [f"{size:g}" for size in self.step_sizes]
        landscape = prepared(Measure, self.net, self.loss)(update.before, update.batch, sizes, self._scale())
        tags = [f"smoothness/{number:02d}_{name}" for number, name in enumerate(names, 1)]
        descriptions = {tag: f"step size {size:g}" for tag, size in zip(tags, sizes)}
        return summaries.Measured(landscape.scalars | dict(zip(tags, landscape.smoothness)), descriptions, {})

    def _conclusion(self, records):
        optimizer = innermost(self._clock.optimizer)
        momentum = (getattr(optimizer, "momentum", None) or 0.0) if self.step_sizes is None and isinstance(optimizer, keras.optimizers.SGD) else 0.0
        along = self.step_sizes is None and type(optimizer) is keras.optimizers.SGD and not momentum
        return conclusion(records, self._constant_learning_rate() if along else None, 1 / (1 - momentum))
