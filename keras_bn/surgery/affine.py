"""Batch normalisation in inference as factors and shifts of channels, and linear layers that take them up. In float64.

C: channels of what is normalised; M: depth multiplier; F: filters, or units.
"""

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_bn import functional

DENSE = (keras.layers.Dense,)
CONVOLUTIONS = keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D
TRANSPOSED = keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose
DEPTHWISE = keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D
SEPARABLE = keras.layers.SeparableConv1D, keras.layers.SeparableConv2D
LINEAR = *DENSE, *CONVOLUTIONS, *TRANSPOSED, *DEPTHWISE, *SEPARABLE


class Affine(NamedTuple):
    """x * factor + shift, each (C,)."""

    factor: np.ndarray
    shift: np.ndarray


def affine_of(layer: keras.layers.BatchNormalization) -> Affine:
    """What a batch normalisation layer computes in inference."""
    mean, variance, gamma, beta = (
        None if variable is None else tf.cast(tf.convert_to_tensor(variable), tf.float64)
        for variable in (layer.moving_mean, layer.moving_variance, layer.gamma if layer.scale else None, layer.beta if layer.center else None)
    )
    factor, shift = functional.fold_batch_norm(tf.ones_like(mean)[tf.newaxis], None, gamma, beta, mean, variance, epsilon=layer.epsilon)
    return Affine(factor.numpy()[0], shift.numpy())


def values_of(layer: keras.Layer) -> dict[str, np.ndarray]:
    """The kernels and the bias of a linear layer by their names; a bias of zeros where it has none."""
    values = {variable.name: keras.ops.convert_to_numpy(variable).astype("float64") for variable in layer.weights}
    return {"bias": np.zeros(_number_of_outputs(layer, values)), **values}


def behind(layer: keras.Layer, values: dict[str, np.ndarray], affine: Affine) -> dict[str, np.ndarray]:
    """Values with which a linear layer returns what it does with these, times the factor plus the shift of each output channel."""
    name, factor = _kernel_of_outputs(layer), affine.factor
    if isinstance(layer, TRANSPOSED):
        factor = factor[:, np.newaxis]  # Its kernel is (..., F, channels of the inputs).
    elif isinstance(layer, DEPTHWISE):
        factor = factor.reshape(values[name].shape[-2:])
    return {**values, name: values[name] * factor, "bias": values["bias"] * affine.factor + affine.shift}


def in_front(layer: keras.Layer, values: dict[str, np.ndarray], affine: Affine) -> dict[str, np.ndarray]:
    """Values with which a linear layer, if it pads nothing and is not transposed, returns of x what it does with these of x * factor + shift."""
    if isinstance(layer, DEPTHWISE + SEPARABLE):
        name = "depthwise_kernel" if isinstance(layer, SEPARABLE) else "kernel"
        kernel = values[name]  # (..., C, M)
        shifts = (_over_positions(kernel) * affine.shift[:, np.newaxis]).reshape(-1)
        if isinstance(layer, SEPARABLE):
            shifts = shifts @ _over_positions(values["pointwise_kernel"])
        return {**values, name: kernel * affine.factor[:, np.newaxis], "bias": values["bias"] + shifts}
    kernel, groups = values["kernel"], getattr(layer, "groups", 1)
    by_group = kernel.reshape(*kernel.shape[:-1], groups, -1)  # (..., C / groups, groups, F / groups)
    factor, shift = (each.reshape(groups, -1).T[..., np.newaxis] for each in affine)
    shifts = (_over_positions(by_group, axes=3) * shift).sum(axis=0).reshape(-1)
    return {**values, "kernel": (by_group * factor).reshape(kernel.shape), "bias": values["bias"] + shifts}


def _over_positions(kernel, axes=2):
    """Its sum over all but the last axes."""
    return kernel.reshape(-1, *kernel.shape[-axes:]).sum(axis=0)


def _kernel_of_outputs(layer):
    return "pointwise_kernel" if isinstance(layer, SEPARABLE) else "kernel"


def _number_of_outputs(layer, values):
    kernel = values[_kernel_of_outputs(layer)]
    if isinstance(layer, DEPTHWISE):
        return kernel.shape[-2] * kernel.shape[-1]
    return kernel.shape[-2 if isinstance(layer, TRANSPOSED) else -1]
