"""A normalising layer as the tests take it: no weight has the value that it begins with."""

import keras_bn


def built(shape, axis=-1, rng=None, kind=keras_bn.BatchNormalization, **arguments):
    """A layer whose weights are all away from their initial values; and those, as a dict."""
    layer = kind(axis=axis, momentum=0.7, epsilon=0.1, **arguments)
    layer.build(shape)
    values = {"gamma": rng.normal(2, 1, shape[axis]), "beta": rng.normal(3, 1, shape[axis])}
    values |= {"moving_mean": rng.normal(2, 1, shape[axis]), "moving_variance": rng.uniform(0.5, 4, shape[axis])}
    for name in list(values):
        if getattr(layer, name) is None:
            values[name] = float(name == "gamma")
        else:
            getattr(layer, name).assign(values[name])
    return layer, values
