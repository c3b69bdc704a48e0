"""The batch normalisation layers of a model, and what one evaluation shows them."""

import keras

from keras_bn.measures import order, probe


def found(model: keras.Model) -> list[tuple[str, keras.Layer]]:
    """(name, layer) of each, in the order in which the model holds them: its place among its like from 1, and its kind.

    Layers that divide by something else than a standard deviation (LpBatchNormalization with p other than 2) are none.
    """
    layers = [layer for layer in probe.layers(model) if isinstance(layer, keras.layers.BatchNormalization) and getattr(layer, "p", 2) == 2]
    return [(f"{place:02d}_{order.kind(layer)}", layer) for place, layer in enumerate(layers, 1)]
