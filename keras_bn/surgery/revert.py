"""`revert`: our batch normalisation layers become Keras's."""

import keras

from keras_bn import keras_internals
from keras_bn.inspection import building
from keras_bn.layers import BatchNormalization
from keras_bn.surgery.rebuilding import rebuilt

_WITHOUT = {"momentum": 0.99, "virtual_batch_size": None, "unbiased": False, "jit_compile": None}  # What says nothing, of arguments that only ours have.


def revert(model: keras.Model) -> keras.Model:
    """A copy of a model with Keras's layer in the place of `keras_bn.BatchNormalization`, in all else as `convert` makes it: for who is to load it without us.

    Args:
        model: built, compiled or not.

    Raises:
        ValueError: nothing to revert, a layer of ours with an option that Keras's has not, a layer of ours that Keras has not, or what `convert` refuses.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), BatchNormalization(name="normalised")])
        >>> type(revert(model).get_layer("normalised"))
        <class 'keras.src.layers.normalization.batch_normalization.BatchNormalization'>
    """
    building.refuse_unbuilt(model)
    layers = [layer for layer in keras_internals.layers_within(model) if isinstance(layer, BatchNormalization)]
    if not layers:
        raise ValueError(f"{model.name} has no keras_bn.BatchNormalization; expected one at least: there is nothing to revert.")
    for layer in layers:
        _refuse(layer)

    def substitute(layer):
        return keras.layers.BatchNormalization.from_config(layer.get_config()) if type(layer) is BatchNormalization else None

    return rebuilt(model, substitute)[0]


def _refuse(layer):
    if type(layer) is not BatchNormalization:
        raise ValueError(f"{layer.name} is a {type(layer).__name__}, which Keras has not; expected keras_bn.BatchNormalization: keep this model with keras_bn.")
    for name, value in _WITHOUT.items():
        given = getattr(layer, name)
        if given is None if name == "momentum" else given:
            raise ValueError(
                f"{layer.name} has {name}={given}, which Keras's layer has not; expected {name}={value}: convert(model, {name}={value}) first, if the model is "
                "to do without."
            )
