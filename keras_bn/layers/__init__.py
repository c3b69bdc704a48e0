"""The layers, one a file."""

from keras_bn.layers.batch_normalization import BatchNormalization
from keras_bn.layers.lp_batch_normalization import LpBatchNormalization
from keras_bn.layers.noisy_batch_normalization import NoisyBatchNormalization
from keras_bn.layers.uniform_dropout import UniformDropout

__all__ = ["BatchNormalization", "LpBatchNormalization", "NoisyBatchNormalization", "UniformDropout"]
