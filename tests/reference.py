"""The oracle: batch normalisation in NumPy float64, written from the papers, slow and plain. It imports nothing of ours.

Channels are on `axis`; all other axes are reduced. A mask has the shape of x without the channel axis.
"""

import numpy as np


def _columns(x, axis):
    """(N, C) float64: one column of values a channel."""
    x = np.moveaxis(np.asarray(x, np.float64), axis, -1)
    return x.reshape(-1, x.shape[-1])


def _restored(columns, x, axis):
    shape = np.moveaxis(np.asarray(x), axis, -1).shape
    return np.moveaxis(columns.reshape(shape), -1, axis)


def moments(x, axis=-1, mask=None):
    """(mean, variance), each (C,), divisor N. Ioffe & Szegedy 2015, Alg. 1."""
    columns = _columns(x, axis)
    if mask is not None:
        columns = columns[np.broadcast_to(mask, np.delete(np.shape(x), axis)).reshape(-1)]
    mean = columns.sum(axis=0) / len(columns)
    variance = ((columns - mean) ** 2).sum(axis=0) / len(columns)
    return mean, variance


def batch_norm_training(x, gamma, beta, axis, epsilon, mask=None):
    """y of the shape of x. Ioffe & Szegedy 2015, Alg. 1, lines 3 and 4."""
    mean, variance = moments(x, axis, mask)
    return batch_norm_inference(x, gamma, beta, mean, variance, axis, epsilon)


def batch_norm_inference(x, gamma, beta, mean, variance, axis, epsilon):
    """y of the shape of x. Ioffe & Szegedy 2015, Alg. 2, line 11."""
    normalised = (_columns(x, axis) - mean) / np.sqrt(np.asarray(variance, np.float64) + epsilon)
    return _restored(gamma * normalised + beta, x, axis)


def batch_norm_training_gradient(x, gamma, dy, axis, epsilon):
    """(dx, dgamma, dbeta) for the gradient dy of the loss with respect to y. Ioffe & Szegedy 2015, sec. 3, the six equations in their order."""
    columns, dy = _columns(x, axis), _columns(dy, axis)
    m = len(columns)
    mean, variance = moments(x, axis)
    centred = columns - mean
    normalised = centred / np.sqrt(variance + epsilon)
    d_normalised = dy * gamma
    d_variance = (d_normalised * centred * -0.5 * (variance + epsilon) ** -1.5).sum(axis=0)
    d_mean = (d_normalised * -1 / np.sqrt(variance + epsilon)).sum(axis=0) + d_variance * (-2 * centred).sum(axis=0) / m
    dx = d_normalised / np.sqrt(variance + epsilon) + d_variance * 2 * centred / m + d_mean / m
    return _restored(dx, x, axis), (dy * normalised).sum(axis=0), dy.sum(axis=0)


def moving_average(moving, value, momentum):
    """`momentum` is the share of the old value that is kept."""
    return momentum * np.asarray(moving, np.float64) + (1 - momentum) * np.asarray(value, np.float64)


def lp_measure(x, p, axis=-1, mask=None):
    """(C,): mean |d|, sqrt(mean d**2) or max |d| of the deviations d from the mean, for p = 1, 2, inf. Santurkar et al. 2018, sec. 3.3, read so."""
    columns = _columns(x, axis)
    if mask is not None:
        columns = columns[np.broadcast_to(mask, np.delete(np.shape(x), axis)).reshape(-1)]
    deviations = np.abs(columns - columns.sum(axis=0) / len(columns))
    return deviations.max(axis=0) if p == np.inf else (deviations**p).mean(axis=0) ** (1 / p)


def lp_norm_training(x, gamma, beta, p, axis, epsilon, mask=None):
    """y of the shape of x: as `batch_norm_training`, with the square of the measure in the variance's place."""
    mean, _ = moments(x, axis, mask)
    return batch_norm_inference(x, gamma, beta, mean, lp_measure(x, p, axis, mask) ** 2, axis, epsilon)


def numerical_gradient(loss, x, step=1e-5):
    """Of the shape of x: central differences of `loss`, a function of x that returns a number. Its error is of the order of step**2."""
    x = np.array(x, np.float64)
    gradient = np.empty_like(x)
    for index in np.ndindex(x.shape):
        value = x[index]
        ends = []
        for x[index] in (value + step, value - step):
            ends.append(loss(x))
        x[index] = value
        gradient[index] = (ends[0] - ends[1]) / (2 * step)
    return gradient
