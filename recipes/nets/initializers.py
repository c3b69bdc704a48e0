"""How kernels start."""

import keras


def named(name):
    """A new Keras initializer by its flag's name: "glorot_uniform", "he_normal", or "normal_S", a normal distribution of standard deviation S."""
    if name.startswith("normal_"):
        return keras.initializers.RandomNormal(stddev=float(name.removeprefix("normal_")))
    return keras.initializers.get(name)
