"""When it is measured: callbacks for `fit` that hand the measures what they need and their numbers on, and leave the training as it is, to the bit."""

from keras_bn.callbacks.activation_statistics import ActivationStatistics
from keras_bn.callbacks.internal_covariate_shift import InternalCovariateShift
from keras_bn.callbacks.loss_landscape import LossLandscape
from keras_bn.callbacks.recalibrate import Recalibrate
from keras_bn.callbacks.variance_shift import VarianceShift

__all__ = ["ActivationStatistics", "InternalCovariateShift", "LossLandscape", "Recalibrate", "VarianceShift"]
