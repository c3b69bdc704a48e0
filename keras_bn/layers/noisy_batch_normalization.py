"""`NoisyBatchNormalization`: batch normalisation whose outputs are given means and scales that change at every step."""

import math

import keras
import tensorflow as tf

from keras_bn.layers.arguments import is_integer, is_number
from keras_bn.layers.batch_normalization import BatchNormalization

# Alg. 1's r_mu and r_sigma: how far the noise of one value is from its channel's, as half of a range and as a standard deviation.
OFFSET_RANGE = 0.1
SCALE_DEVIATION = 0.1


@keras.saving.register_keras_serializable(package="keras_bn")
class NoisyBatchNormalization(BatchNormalization):
    """Batch normalisation, then noise that undoes what it does to the distribution: another mean and scale for each channel at every step.

        y = batch_normalization(x)                    with gamma and beta

        m[c] ~ U(-mean_range, mean_range)             s[c] ~ U(1, variance_range)           once a step and channel
        offset[i, c] ~ U(m[c] - 0.1, m[c] + 0.1)      scale[i, c] ~ N(s[c], 0.1**2)         once a step and value
        outputs = scale * y + offset

    A channel's values are all those off its axis: for images i runs over N, H and W. With gamma = 1 and beta = 0, and epsilon small, the outputs of one step
    have mean m[c] and variance s[c]**2 + 0.1**2 + 0.1**2 / 3.

    There is noise where the batch's statistics are used: in training, unless `trainable=False`. The moving statistics are those of the inputs, without it.
    What is drawn depends on the seed and on how often it was drawn from before; XLA draws other numbers from the same seed.

    Args:
        mean_range: number from 0, the paper's n_mu.
        variance_range: number from 1, the paper's n_sigma: the upper end of the range of s, by which values are multiplied; variances go up to its square.
        seed: int from 0, or None for one drawn at random. As of all layers of Keras, a layer that is loaded starts anew from it.
        noise_in_inference: whether there is noise in inference, too.
        **kwargs: all of `keras_bn.BatchNormalization`, by name.

    Call arguments:
        inputs, training, mask: as of `keras_bn.BatchNormalization`. Masked positions do not count in the statistics; they get noise like all others.

    Returns:
        The shape of `inputs`, in the layer's compute dtype. The noise is drawn and applied in float32 (float64 for float64).

    Raises:
        ValueError: an argument that is out of range; whatever `keras_bn.BatchNormalization` refuses.

    Source: Santurkar et al. 2018, "How Does Batch Normalization Help Optimization?", Alg. 1 with its constants. Where it leaves open what is meant:
    r_sigma is taken as a standard deviation, the noise comes after gamma and beta (it is put on the "batch-normalized activation"), and there is none in
    inference (only training accuracies are shown).

    Example:
        >>> layer = NoisyBatchNormalization(seed=1)
        >>> x = np.random.default_rng(0).normal(3, 2, (1000, 1)).astype("float32")
        >>> means = [float(tf.reduce_mean(layer(x, training=True))) for _ in range(3)]
        >>> all(-0.52 < mean < 0.52 for mean in means), means[0] != means[1]
        (True, True)
    """

    def __init__(
        self,
        mean_range: float = 0.5,
        variance_range: float = 1.25,
        seed: int | None = None,
        noise_in_inference: bool = False,
        **kwargs,
    ):
        def refuse(name, value, expected):
            raise ValueError(f"`{name}` of {type(self).__name__} is {value!r}; expected {expected}.")

        if not (is_number(mean_range) and 0 <= mean_range < math.inf):
            refuse("mean_range", mean_range, "a number from 0, the largest mean of the noise: 0.5 in the paper")
        if not (is_number(variance_range) and 1 <= variance_range < math.inf):
            refuse("variance_range", variance_range, "a number from 1, the largest scale of the noise: 1.25 in the paper, 1 for none but the values' own")
        if seed is not None and not (is_integer(seed) and seed >= 0):
            refuse("seed", seed, "an integer from 0, or None for one drawn at random")
        super().__init__(**kwargs)
        self.mean_range = float(mean_range)
        self.variance_range = float(variance_range)
        self.seed = None if seed is None else int(seed)
        self.noise_in_inference = bool(noise_in_inference)
        self.seed_generator = keras.random.SeedGenerator(self.seed)

    def _finished(self, outputs, training):
        if self.noise_in_inference:
            return self._noisy(outputs)
        if not self.trainable:
            return outputs
        if tf.is_tensor(training):
            return tf.cond(tf.cast(training, tf.bool), lambda: self._noisy(outputs), lambda: outputs)
        return self._noisy(outputs) if training else outputs

    def _noisy(self, activations):
        dtype = "float64" if activations.dtype == tf.float64 else "float32"
        each_value = keras.ops.shape(activations)
        each_channel = [1] * len(each_value)
        each_channel[self.axis] = each_value[self.axis]

        def uniform(shape, low, high):
            return keras.random.uniform(shape, low, high, dtype, self.seed_generator)

        offset = uniform(each_channel, -self.mean_range, self.mean_range) + uniform(each_value, -OFFSET_RANGE, OFFSET_RANGE)
        scale = uniform(each_channel, 1.0, self.variance_range) + keras.random.normal(each_value, 0.0, SCALE_DEVIATION, dtype, self.seed_generator)
        return tf.cast(scale * tf.cast(activations, dtype) + offset, activations.dtype)

    def get_config(self):
        additions = {name: getattr(self, name) for name in ("mean_range", "variance_range", "seed", "noise_in_inference")}
        return {**super().get_config(), **additions}
