"""What there is to measure of a model: functions of it, weights and data, that return plain numbers and change nothing."""

from keras_bn.measures.activations import ActivationStatistics, Distribution, activation_statistics
from keras_bn.measures.covariate_shift import CovariateShift, internal_covariate_shift
from keras_bn.measures.loss_landscape import LossLandscape, loss_landscape
from keras_bn.measures.variance_shift import VarianceShift, variance_shift

__all__ = [
    "ActivationStatistics",
    "CovariateShift",
    "Distribution",
    "LossLandscape",
    "VarianceShift",
    "activation_statistics",
    "internal_covariate_shift",
    "loss_landscape",
    "variance_shift",
]
