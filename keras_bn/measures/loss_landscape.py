"""`loss_landscape`: how the loss and its gradient change along the gradient."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_bn.inspection import building, evaluation
from keras_bn.inspection.evaluation import Batch, Snapshot
from keras_bn.inspection.objective import Objective
from keras_bn.inspection.prepared import prepared
from keras_bn.measures.quantities import Colours, Quantity

NAME = "loss_landscape"
_LOSS, _CHANGE, _SMOOTHNESS = "loss along the gradient", "change of the gradient along it", "effective smoothness, and the limit by the step sizes"
QUANTITIES = (
    Quantity("loss", "loss", "", _LOSS, by_layer=False, band="value"),
    Quantity("loss_min", "loss", "", _LOSS, by_layer=False, band="lower"),
    Quantity("loss_max", "loss", "", _LOSS, by_layer=False, band="upper"),
    Quantity("gradient_norm", "loss / weight", "a stationary point", None, by_layer=False),
    Quantity("gradient_change_min", "loss / weight", "the loss is linear along g", _CHANGE, by_layer=False, band="lower"),
    Quantity("gradient_change_median", "loss / weight", "the loss is linear along g", _CHANGE, by_layer=False, band="value"),
    Quantity("gradient_change_max", "loss / weight", "the loss is linear along g", _CHANGE, by_layer=False, band="upper"),
    Quantity("effective_smoothness", "loss / weight²", "the loss is linear along g", _SMOOTHNESS, by_layer=False, worst="smoothness"),
    Quantity("grid_limit", "1 / learning rate", "", _SMOOTHNESS, by_layer=False),
    Quantity("smoothness", "loss / weight²", "the loss is linear along g", "smoothness for each step size", colours=Colours(logarithmic=True)),
)


class LossLandscape(NamedTuple):
    """Along the gradient g of one batch. All arrays are (S,), float64, one value a step size.

    loss: at the weights as they are; gradient_norm: ||g||.
    step_sizes: eta; losses: L(w - eta g); gradient_changes: ||g - g(w - eta g)||; smoothness: gradient_changes / (eta ||g||).
    """

    loss: float
    gradient_norm: float
    step_sizes: np.ndarray
    losses: np.ndarray
    gradient_changes: np.ndarray
    smoothness: np.ndarray

    @property
    def scalars(self) -> dict[str, float]:
        """The quantities of the whole grid, by their names."""
        changes = self.gradient_changes
        return {
            "loss": self.loss,
            "loss_min": self.losses.min(),
            "loss_max": self.losses.max(),
            "gradient_norm": self.gradient_norm,
            "gradient_change_min": changes.min(),
            "gradient_change_median": np.median(changes),
            "gradient_change_max": changes.max(),
            "effective_smoothness": self.effective_smoothness,
            "grid_limit": self.grid_limit,
        }

    @property
    def effective_smoothness(self) -> float:
        """The largest `smoothness`, the paper's "effective" beta; NaN if one is."""
        return float(self.smoothness.max())

    @property
    def grid_limit(self) -> float:
        """1 / eta at the step size of the largest `smoothness`. Where the two are about equal the gradient has vanished or turned small there: `smoothness`
        tends to 1 / eta then, whatever the curvature, and says something about the grid only."""
        with np.errstate(divide="ignore"):
            return float(1 / self.step_sizes[self.smoothness.argmax()])


def loss_landscape(model: keras.Model, x, y, step_sizes: Sequence[float], sample_weight=None, loss: Callable | None = None) -> LossLandscape:
    """The loss, the change of its gradient and the effective beta-smoothness along the gradient of one batch, for each of the step sizes.

        g = gradient of L at w                    w: all trainable weights
        L(w - eta g)        ||g - grad L(w - eta g)||        ||g - grad L(w - eta g)|| / (eta ||g||)

    With batch statistics, the same dropout masks everywhere, and regularisers as in training. Nothing of the model changes. What is traced is kept for
    the next call, until the model is compiled anew.

    Args:
        model: compiled with a loss, unless `loss` is given; built.
        x, y, sample_weight: a batch, as `fit` hands it to the model.
        step_sizes: positive, (S,). The paper's grid lies between 1/2 and 4 times the learning rate for a VGG, 1/100 and 30 times for a deep linear net.
        loss: as of `internal_covariate_shift`.

    Returns:
        `LossLandscape`. losses: in units of the loss; smoothness: of the loss by squared weights; what it means at the grid's small end: `grid_limit`.

    Raises:
        ValueError: no step sizes, or one that is not positive; `loss` is no scalar.

    Source: Santurkar et al. 2018, sec. 3.2 and fig. 4. It does not say how many step sizes there are, how they are spaced, nor that batch statistics are meant.

    Example:
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")])
        >>> model.compile("sgd", "mse")
        >>> landscape = loss_landscape(model, np.array([[2.0]]), np.array([[0.0]]), [0.1, 0.2])      # L = 4 w**2 at w = 1, so that its curvature is 8
        >>> landscape.loss, landscape.gradient_norm, landscape.losses.round(3).tolist(), landscape.smoothness.round(3).tolist()
        (4.0, 8.0, [0.16, 1.44], [8.0, 8.0])
    """
    step_sizes = checked(step_sizes)
    batch = evaluation.batch_of((x, y, sample_weight))
    building.build(model, batch.x)
    return prepared(Measure, model, loss)(prepared(Objective, model, loss).snapshot(batch), batch, step_sizes)


def checked(step_sizes: Sequence[float]) -> np.ndarray:
    """The step sizes as float64.

    Raises:
        ValueError: there are none, or one is not positive.
    """
    try:
        values = np.asarray(step_sizes, "float64")
    except (ValueError, TypeError):
        values = np.zeros(0)
    if values.ndim != 1 or not values.size or not (np.isfinite(values).all() and (values > 0).all()):
        raise ValueError(f"`step_sizes` is {step_sizes!r}; expected positive numbers, one at least: for instance 0.5 to 4 times the learning rate.")
    return values


class Measure:
    """`Measure(model, loss)(snapshot, batch, step_sizes)`: the landscape from the weights of the snapshot."""

    def __init__(self, model: keras.Model, loss: Callable | None = None):
        self._objective, self._indices = prepared(Objective, model, loss), range(len(model.trainable_variables))
        self.function = evaluation.traced(self._along)

    def __call__(self, snapshot: Snapshot, batch: Batch, step_sizes: np.ndarray, scale=1.0) -> LossLandscape:
        """step_sizes: float64; scale: as of `Objective.gradients`."""

        def at(gradients, step_size):
            return self.function(snapshot, gradients, tf.constant(step_size, tf.float64), batch, tf.convert_to_tensor(scale, tf.float32))

        # At gradients of 0 the weights stay, and the change of the gradient is the gradient itself: the same trace serves.
        loss, gradients, norm = at([tf.zeros_like(weight) for weight in snapshot.weights], 0.0)
        losses, changes = np.transpose([(moved_loss.numpy(), change.numpy()) for moved_loss, _, change in (at(gradients, size) for size in step_sizes)])
        norm, changes = np.sqrt(norm), np.sqrt(changes)
        with np.errstate(divide="ignore", invalid="ignore"):
            return LossLandscape(float(loss), float(norm), step_sizes, losses, changes, changes / (step_sizes * norm))

    def _along(self, snapshot, gradients, step_size, batch, scale):
        """At weights - step_size * gradients: the loss, its gradients, and the square of their distance from `gradients`."""
        moved = [weight - tf.cast(step_size, weight.dtype) * gradient for weight, gradient in zip(snapshot.weights, gradients)]
        loss, moved_gradients = self._objective.gradients(snapshot._replace(weights=moved), batch, self._indices, scale)
        changes = [tf.reduce_sum(tf.square(tf.cast(one - other, tf.float64))) for one, other in zip(gradients, moved_gradients)]
        return tf.cast(loss, tf.float64), moved_gradients, tf.add_n(changes)
