"""What a recipe measures while it trains."""

import keras
import numpy as np

from keras_bn import callbacks

IMAGES = 1024  # Training images for the variance shift.
BATCH = 128  # Of those, for the activations.


def of(model, dataset, every, log_dir):
    """The callbacks that measure a training: covariate shift and landscape of any net; variance shift and activations of nets whose layers normalise by mean
    and variance, as `LpBatchNormalization` does with p = 2 only.

    Args:
        model: the one that is trained, with one or more outputs for the same labels.
        dataset: `data.Dataset`.
        every: optimizer steps between two measurements; 0 for no callbacks.
        log_dir: the TensorBoard run that they write.
    """
    if not every:
        return []
    instruments = [callbacks.InternalCovariateShift(log_dir, every), callbacks.LossLandscape(log_dir, every)]
    if any(isinstance(layer, keras.layers.BatchNormalization) and getattr(layer, "normalises_by_variance", True) for layer in model.layers):
        # Drawn, as some data sets are sorted by class; always the same, so that runs compare.
        chosen = np.random.default_rng(0).permutation(len(dataset.y_train))[:IMAGES]
        x, y = dataset.x_train[chosen], dataset.y_train[chosen]
        batch = x[:BATCH], (y[:BATCH],) * len(model.outputs)
        instruments += [callbacks.VarianceShift(x, log_dir, every), callbacks.ActivationStatistics(batch, log_dir, every)]
    return instruments
