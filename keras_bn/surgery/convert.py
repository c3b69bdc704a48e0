"""`convert`: Keras's batch normalisation layers become ours."""

import warnings

import keras

from keras_bn import keras_internals
from keras_bn.inspection import building
from keras_bn.layers import BatchNormalization
from keras_bn.surgery.freeze import FrozenBatchNormalization, FrozenKerasBatchNormalization
from keras_bn.surgery.rebuilding import rebuilt

OPTIONS = ("momentum", "synchronized", "virtual_batch_size", "unbiased", "jit_compile", "renorm", "renorm_clipping", "renorm_momentum")


def convert(model: keras.Model, **options) -> keras.Model:
    """A copy of a model with `keras_bn.BatchNormalization` in the place of Keras's layer.

    Weights and their order, names, `trainable` of each layer, dtype policies, and what the model was compiled with are those of the model, which stays as it
    is; the optimizer goes on where it is. It finds layers in nested models, towers, wrappers such as TimeDistributed, and in layers and models of one's own
    that hold some as attributes or in lists. Layers that `freeze` has frozen stay frozen. A subclass of Keras's layer stays what it is, and a warning names it.

    Args:
        model: built, compiled or not.
        options: arguments of `keras_bn.BatchNormalization` for the new layers: momentum, synchronized, virtual_batch_size, unbiased, jit_compile, renorm,
            renorm_clipping, renorm_momentum. With some, layers that are ours already get them, too: `convert(model, synchronized=True)` makes all of a model's
            layers normalise by the whole batch of a strategy. With `momentum=None` the moving statistics stay what they are until the next training step.

    Raises:
        ValueError: nothing to convert, an option that is none of these, a model that is not built, or a layer that cannot be copied, as its configuration does
            not say how to make it.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4), keras.layers.BatchNormalization(name="normalised")])
        >>> type(convert(model, virtual_batch_size=16).get_layer("normalised"))
        <class 'keras_bn.layers.batch_normalization.BatchNormalization'>
    """
    building.refuse_unbuilt(model)
    unknown = [name for name in options if name not in OPTIONS]
    if unknown:
        raise ValueError(f"`convert` received `{unknown[0]}`; expected options among {', '.join(OPTIONS)}: all else comes from the layers that are replaced.")
    BatchNormalization(**options)  # Refuses values.
    layers = [layer for layer in keras_internals.layers_within(model) if isinstance(layer, keras.layers.BatchNormalization)]
    kinds = {keras.layers.BatchNormalization: BatchNormalization, FrozenKerasBatchNormalization: FrozenBatchNormalization}
    if options:
        kinds |= {kind: kind for kind in kinds.values()}
    if not any(type(layer) in kinds for layer in layers):
        others = ", ".join(sorted({f"{type(layer).__module__.split('.')[0]}'s {type(layer).__name__}" for layer in layers}))
        raise ValueError(f"{model.name} has {others or 'no batch normalisation'}; expected a keras.layers.BatchNormalization: there is nothing to convert.")

    def substitute(layer):
        return kinds[type(layer)].from_config({**layer.get_config(), **options}) if type(layer) in kinds else None

    copy, _ = rebuilt(model, substitute)
    left = [layer for layer in layers if type(layer) not in (*kinds, *kinds.values())]
    if left:
        warnings.warn(
            f"`convert` left {', '.join(f'{layer.name} ({type(layer).__name__})' for layer in left)}: what a subclass computes is its own.", stacklevel=2
        )
    return copy
