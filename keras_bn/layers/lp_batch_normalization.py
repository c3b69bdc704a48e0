"""`LpBatchNormalization`: normalisation by the mean and an Lp measure of the deviations from it."""

import math

import keras

from keras_bn import functional
from keras_bn.layers.batch_normalization import BatchNormalization

# Arguments of BatchNormalization that are about its variance.
_OF_VARIANCE = ("unbiased", "virtual_batch_size", "synchronized", "renorm")


@keras.saving.register_keras_serializable(package="keras_bn")
class LpBatchNormalization(BatchNormalization):
    """Normalises each channel by its mean and an Lp measure of the deviations from it, in place of the standard deviation.

        d = x - mean
        measure = mean(|d|),  sqrt(mean(d**2))  or  max(|d|)                   for p = 1, 2, inf
        y = gamma * d / sqrt(measure**2 + epsilon) + beta

    `epsilon` stands beside the square for every p, so that it means the same as in batch normalisation, which is p = 2. Inference takes moving averages of the
    mean and of the measure's square; the latter's weight is called `moving_variance`, as in batch normalisation, whose inference form, and so whatever folds
    or freezes that, holds for this layer as it is. It is a variance only for p = 2.

    For p = 1 and inf the variance of y is not 1: for Gaussian x it is pi/2 with p = 1, and below 1 with p = inf.

    Args:
        p: 1, 2, math.inf or "inf".
        axis, momentum, epsilon: as of `keras_bn.BatchNormalization`; `epsilon` is added to the square of the measure.
        center: whether there is a beta.
        scale: whether there is a gamma.
        **kwargs: what else there is of `keras_bn.BatchNormalization`, except what is about a variance: unbiased, virtual_batch_size, synchronized, renorm.

    Call arguments:
        inputs, training, mask: as of `keras_bn.BatchNormalization`; False in the mask leaves a position out of the mean and the measure.

    Returns:
        The shape of `inputs`, in the layer's compute dtype. Under the policies mixed_float16 and mixed_bfloat16 the statistics are float32.

    Raises:
        ValueError: a `p` other than these, an argument that is about a variance; whatever `keras_bn.BatchNormalization` refuses.

    Source: Santurkar et al. 2018, "How Does Batch Normalization Help Optimization?", sec. 3.3, which fixes the first moment and then divides by the average
    Lp norm, for p = 1, 2 and inf, and gives no formula. Read here as the measure of the deviations, so that p = 2 is batch normalisation and adding a constant
    to x changes nothing. Its words are "before shifting the mean"; taken by the letter those are (mean(|x|**p))**(1/p) of x as it comes, which is not done.
    The average of p = inf is taken as the largest value. Neither epsilon nor inference is spoken of there.

    Example:
        >>> layer = LpBatchNormalization(p=1, momentum=0.5, epsilon=1e-6)
        >>> layer(np.array([[1.0], [3.0], [9.0], [11.0]], "float32"), training=True).numpy().round(3).tolist()
        [[-1.25], [-0.75], [0.75], [1.25]]
        >>> layer.moving_mean.numpy().tolist(), layer.moving_variance.numpy().tolist()
        ([3.0], [8.5])
    """

    def __init__(
        self,
        p: float | str = 1,
        axis: int = -1,
        momentum: float | None = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        **kwargs,
    ):
        if isinstance(p, bool) or p not in (1, 2, math.inf, "inf"):
            raise ValueError(f"`p` of {type(self).__name__} is {p!r}; expected 1, 2 or math.inf: one of the paper's.")
        for name in _OF_VARIANCE:
            if kwargs.get(name):
                raise ValueError(
                    f"`{name}` of {type(self).__name__} is {kwargs[name]!r}; expected none, since it is about a variance: leave it out, "
                    "or use keras_bn.BatchNormalization."
                )
        super().__init__(axis=axis, momentum=momentum, epsilon=epsilon, center=center, scale=scale, **kwargs)
        self.p = math.inf if p == "inf" else p

    @property
    def normalises_by_variance(self):
        return self.p == 2

    def _train(self, inputs, gamma, beta, mask):
        outputs, batch = functional.lp_norm_training(inputs, gamma, beta, mask, p=self.p, axis=self.axis, epsilon=self.epsilon, jit_compile=self.jit_compile)
        return outputs, self._followed(batch)

    def get_config(self):
        return {**super().get_config(), "p": "inf" if self.p == math.inf else int(self.p)}  # JSON has no infinity.
