"""Batch normalisation for Keras 3 on TensorFlow: a layer, and what there is to measure about it."""

from keras_bn import tensorflow_backend

tensorflow_backend.require()

from keras_bn import callbacks, distribute, functional, layers, measures, summaries, surgery  # noqa: E402
from keras_bn.layers import BatchNormalization, LpBatchNormalization, NoisyBatchNormalization, UniformDropout  # noqa: E402
from keras_bn.version import __version__  # noqa: E402

__all__ = [
    "BatchNormalization",
    "LpBatchNormalization",
    "NoisyBatchNormalization",
    "UniformDropout",
    "__version__",
    "callbacks",
    "distribute",
    "functional",
    "layers",
    "measures",
    "summaries",
    "surgery",
]
