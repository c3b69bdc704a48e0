"""`freeze` and `unfreeze`: batch normalisation layers that keep their statistics, whatever is done to the model around them."""

import warnings

import keras

from keras_bn import keras_internals
from keras_bn.inspection import building
from keras_bn.layers import BatchNormalization, LpBatchNormalization, NoisyBatchNormalization


class Frozen:
    """What a frozen layer does otherwise: it computes as in inference, and stays frozen when something around it is unfrozen.

    affine: whether gamma and beta may be trained.
    """

    def __init__(self, *args, affine: bool = False, **kwargs):
        super().__init__(*args, **kwargs)
        self.affine = affine
        self.trainable = affine and self.trainable

    @property
    def trainable(self):
        return keras.Layer.trainable.fget(self)

    @trainable.setter
    def trainable(self, value):
        keras.Layer.trainable.fset(self, bool(value) and getattr(self, "affine", False))

    def call(self, inputs, training=None, mask=None):
        return super().call(inputs, training=False, mask=mask)

    def get_config(self):
        return {**super().get_config(), "affine": self.affine}


@keras.saving.register_keras_serializable(package="keras_bn")
class FrozenKerasBatchNormalization(Frozen, keras.layers.BatchNormalization):
    """Keras's layer, frozen."""


@keras.saving.register_keras_serializable(package="keras_bn")
class FrozenBatchNormalization(Frozen, BatchNormalization):
    """`keras_bn.BatchNormalization`, frozen."""


@keras.saving.register_keras_serializable(package="keras_bn")
class FrozenNoisyBatchNormalization(Frozen, NoisyBatchNormalization):
    """`keras_bn.NoisyBatchNormalization`, frozen."""


@keras.saving.register_keras_serializable(package="keras_bn")
class FrozenLpBatchNormalization(Frozen, LpBatchNormalization):
    """`keras_bn.LpBatchNormalization`, frozen."""


_FROZEN = {
    keras.layers.BatchNormalization: FrozenKerasBatchNormalization,
    BatchNormalization: FrozenBatchNormalization,
    NoisyBatchNormalization: FrozenNoisyBatchNormalization,
    LpBatchNormalization: FrozenLpBatchNormalization,
}
_THAWED = {frozen: kind for kind, frozen in _FROZEN.items()}
KNOWN = *_FROZEN, *_THAWED  # Whose computation is known: in inference all compute alike.


def freeze(model: keras.Model, affine: bool = False) -> list[str]:
    """Freezes the batch normalisation layers of a model, and no others, in place; `unfreeze` takes it back.

    A frozen layer normalises by its moving statistics in training, too, and does not change them. It stays so when `model.trainable = True` is said, which is
    what undoes `layer.trainable = False`, and in the saved model, which loads where keras_bn is imported.

    Args:
        model: built or not, compiled or not. One that is compiled has to be compiled anew, as its training step goes on as it was made: a warning says so.
        affine: whether gamma and beta stay trainable.

    Returns:
        The names of the layers.

    Raises:
        ValueError: no such layer, or a subclass whose computation is its own; nothing is frozen then.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4), keras.layers.BatchNormalization(name="normalised")])
        >>> freeze(model)
        ['normalised']
        >>> model.trainable = False
        >>> model.trainable = True
        >>> [layer.trainable for layer in model.layers]
        [True, False]
    """
    layers = _normalization_layers(model)
    for layer in layers:
        if type(layer) not in KNOWN:
            raise ValueError(
                f"{layer.name} is of class {type(layer).__name__}, whose computation is its own; expected Keras's layer or one of ours: set its `trainable`."
            )
    for layer in layers:
        if not isinstance(layer, Frozen):
            layer.__class__ = _FROZEN[type(layer)]
        layer.affine = affine
        layer.trainable = affine
    _say_that_it_is_compiled(model)
    return [layer.name for layer in layers]


def unfreeze(model: keras.Model) -> list[str]:
    """Takes back what `freeze` did to a model, be it loaded or not: its layers are trainable, and their statistics move.

    Args:
        model: as of `freeze`.

    Returns:
        The names of the layers.

    Raises:
        ValueError: no layer is frozen.
    """
    layers = [layer for layer in _normalization_layers(model) if isinstance(layer, Frozen)]
    if not layers:
        raise ValueError(f"{model.name} has no layer that `freeze` has frozen; expected one at least: set `trainable`, if that is what was set before.")
    for layer in layers:
        layer.__class__ = _THAWED[type(layer)]
        del layer.affine
        layer.trainable = True
    _say_that_it_is_compiled(model)
    return [layer.name for layer in layers]


def _normalization_layers(model):
    building.refuse_no_model(model)
    layers = [layer for layer in keras_internals.layers_within(model) if isinstance(layer, keras.layers.BatchNormalization)]
    if not layers:
        raise ValueError(f"{model.name} has no batch normalisation layer; expected one at least: use `trainable` for other layers.")
    return layers


def _say_that_it_is_compiled(model):
    if model.compiled:
        warnings.warn(f"{model.name} is compiled, and trains as before until it is compiled anew: compile it.", stacklevel=3)
