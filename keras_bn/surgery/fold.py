"""`fold`: batch normalisation becomes a part of the linear layers around it."""

import keras

from keras_bn.surgery import affine
from keras_bn.surgery.foldable import folds
from keras_bn.surgery.rebuilding import DROPPED, rebuilt


def fold(model: keras.Model) -> keras.Model:
    """A copy of a model for inference, in which linear layers do what the batch normalisation next to them did.

        behind a linear layer:    kernel * factor,  bias * factor + shift
        in front of one:          kernel * factor of each input channel,  bias + sum(kernel * shift)
        factor = gamma / sqrt(moving_variance + epsilon),  shift = beta - moving_mean * factor                  computed in float64

    All other layers keep their names, weights and `trainable`; a layer that took up another has a bias. A batch normalisation layer that a model returns the
    outputs of becomes an Identity of its name, so that outputs keep theirs. What it cannot fold stays as it is: `foldable` says what and why. The copy is
    compiled as the model, with an optimizer that begins anew; trained, it is a net without batch normalisation.

    Args:
        model: built, compiled or not.

    Raises:
        ValueError: a model that is not built, that has no batch normalisation, or none that can be folded, or a layer that cannot be copied.

    Source: Ioffe & Szegedy 2015, Alg. 2, line 11, put into W u + b.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4), keras.layers.BatchNormalization()])
        >>> [type(layer).__name__ for layer in fold(model).layers]
        ['Dense', 'Identity']
    """
    planned = folds(model)
    chosen = [each for each in planned if each.into is not None]
    if not chosen:
        raise ValueError(
            f"none of {len(planned)} batch normalisation layers of {model.name} can be folded; of the first, {planned[0].layer.name}, {planned[0].reason}."
        )
    values, substitutes = {}, {}
    for each in chosen:
        take_up = affine.behind if each.is_behind else affine.in_front
        values[each.into] = take_up(each.into, values.get(each.into) or affine.values_of(each.into), affine.affine_of(each.layer))
        substitutes[each.into] = {"use_bias": True}
        substitutes[each.layer] = keras.layers.Identity(name=each.layer.name, dtype=each.layer.dtype_policy) if each.is_output else DROPPED
    copy, pairs = rebuilt(model, substitutes.get)
    for layer, new in values.items():
        for variable in pairs[layer].weights:
            variable.assign(new[variable.name])
    return copy
