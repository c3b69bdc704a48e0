"""A deep linear network: matrices behind each other, with a normalisation behind each but the last, or without."""

import keras


def deep_linear(features, depth, normalisation=None):
    """`depth` square matrices of Glorot's initializer, without biases.

    Args:
        features: of the inputs, the outputs and all between them.
        depth: matrices.
        normalisation: function of a name that returns a layer, behind each matrix but the last, since the paper does not say whether it has one; None: none.

    Returns:
        A model from (N, features) to (N, features), whose matrices are called matrix1, matrix2, ...

    Source: Santurkar et al. 2018, app. A: 25 matrices of 10x10.
    """
    x = inputs = keras.Input((features,), name="x")
    for number in range(1, depth + 1):
        x = keras.layers.Dense(features, use_bias=False, name=f"matrix{number}")(x)
        if normalisation is not None and number < depth:
            x = normalisation(name=f"normalisation{number}")(x)
    return keras.Model(inputs, x, name=f"linear{depth}")
