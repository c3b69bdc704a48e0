"""What there is to measure of a model: pure functions of it, weights and data, that return plain numbers and change nothing."""

from keras_bn.measures.covariate_shift import CovariateShift, internal_covariate_shift

__all__ = ["CovariateShift", "internal_covariate_shift"]
