"""The layers, one a file."""

from keras_bn.layers.batch_normalization import BatchNormalization

__all__ = ["BatchNormalization"]
