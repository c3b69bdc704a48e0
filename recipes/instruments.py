"""What a recipe measures while it trains."""

import keras
import numpy as np

from keras_bn import callbacks

IMAGES = 1024  # As many of the training images are looked at for the variance shift,
BATCH = 128  # and as many for the activations.


def of(model, dataset, every, log_dir):
    """The callbacks that measure a training, each of what the net has: covariate shift and landscape of all, variance shift and activations of those with
    layers that normalise by mean and variance, which `LpBatchNormalization` with p other than 2 does not.

    Args:
        model: the one that is trained, with one or more outputs for the same labels.
        dataset: `data.Dataset`.
        every: optimizer steps between two measurements; 0 for no callbacks.
        log_dir: the TensorBoard run that they write.
    """
    if not every:
        return []
    instruments = [callbacks.InternalCovariateShift(log_dir, every), callbacks.LossLandscape(log_dir, every)]
    if any(isinstance(layer, keras.layers.BatchNormalization) and getattr(layer, "p", 2) == 2 for layer in model.layers):
        # Drawn, as some data sets are sorted by class; always the same, so that runs compare.
        chosen = np.random.default_rng(0).permutation(len(dataset.y_train))[:IMAGES]
        x, y = dataset.x_train[chosen], dataset.y_train[chosen]
        batch = x[:BATCH], (y[:BATCH],) * len(model.outputs)
        instruments += [callbacks.VarianceShift(x, log_dir, every), callbacks.ActivationStatistics(batch, log_dir, every)]
    return instruments
