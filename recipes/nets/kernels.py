"""How kernels start, and what holds them small."""

import keras


def options(initializer, weight_decay=0.0):
    """Arguments of one layer, a new initializer among them: one that is shared would give all kernels of one shape the very same values.

    Args:
        initializer: its name, as of `initial`.
        weight_decay: the kernel's gradient gets this times the kernel: an L2 penalty of half of that.
    """
    return {"kernel_initializer": initial(initializer), "kernel_regularizer": keras.regularizers.L2(weight_decay / 2) if weight_decay else None}


def initial(name):
    """A new Keras initializer by its flag's name: "glorot_uniform", "he_normal", or "normal_S", a normal distribution of standard deviation S."""
    if name.startswith("normal_"):
        return keras.initializers.RandomNormal(stddev=float(name.removeprefix("normal_")))
    return keras.initializers.get(name)
