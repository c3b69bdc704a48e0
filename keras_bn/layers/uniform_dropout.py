"""`UniformDropout`: noise in proportion to each value, which shifts variances less than Dropout does."""

import keras
import tensorflow as tf

from keras_bn.layers.arguments import is_integer, is_number


@keras.saving.register_keras_serializable(package="keras_bn")
class UniformDropout(keras.Layer):
    """Uout: in training, multiplies every value by a random number around 1; in inference, returns its inputs as they are.

        outputs = inputs * (1 + r),  r ~ U(-beta, beta)           once a value and call

    The mean stays; for inputs of mean c and variance v, that of the outputs in training is v + (v + c**2) * beta**2 / 3. The ratio of the variance in
    inference to that in training is 3 / (3 + beta**2) for c = 0, 300 / 301 for beta = 0.1, where Dropout has 1 - rate.

    As for Keras's Dropout, `trainable=False` changes nothing, since there is nothing to train.

    Args:
        beta: number from 0 to 1: the largest relative change. With 0 the layer does nothing.
        seed: int from 0, or None for one drawn at random. As of all layers of Keras, a layer that is loaded starts anew from it.
        **kwargs: name, dtype and all else of `keras.Layer`.

    Call arguments:
        inputs: floating, any shape; of ragged and sparse ones the values that are there are multiplied.
        training: bool, None or a boolean scalar tensor. A mask is passed on.

    Returns:
        The shape of `inputs`, in the layer's compute dtype. The noise is drawn and applied in float32 (float64 for float64).

    Raises:
        ValueError: an argument that is out of range, or inputs that are not floating point.

    Source: Li, Chen, Hu & Yang 2018, "Understanding the Disharmony between Dropout and Batch Normalization by Variance Shift", the section on Uout, which
    has beta up to 0.5. The variance for c other than 0 is worked out here.

    Example:
        >>> layer = UniformDropout(0.1, seed=1)
        >>> x = tf.fill([1000], 10.0)
        >>> y = layer(x, training=True)
        >>> bool(tf.reduce_all((9.0 <= y) & (y <= 11.0))), bool(tf.reduce_all(layer(x) == x))
        (True, True)
    """

    def __init__(self, beta: float, seed: int | None = None, **kwargs):
        def refuse(name, value, expected):
            raise ValueError(f"`{name}` of {type(self).__name__} is {value!r}; expected {expected}.")

        if not (is_number(beta) and 0 <= beta <= 1):
            refuse("beta", beta, "a number from 0 to 1, the largest relative change of a value: beyond 1 it would change signs")
        if seed is not None and not (is_integer(seed) and seed >= 0):
            refuse("seed", seed, "an integer from 0, or None for one drawn at random")
        super().__init__(**kwargs)
        self.beta = float(beta)
        self.seed = None if seed is None else int(seed)
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self.supports_masking = True

    @property
    def noise_variance(self) -> float:
        """The variance of 1 + r."""
        return self.beta**2 / 3

    def call(self, inputs, training=None):
        if isinstance(inputs, tf.RaggedTensor):
            return inputs.with_flat_values(self._dense(inputs.flat_values, training))
        if isinstance(inputs, tf.SparseTensor):
            return inputs.with_values(self._dense(inputs.values, training))
        return self._dense(tf.convert_to_tensor(inputs), training)

    def _dense(self, inputs, training):
        if not inputs.dtype.is_floating:
            raise ValueError(f"{self.name} received inputs of dtype {inputs.dtype.name}; expected floating point: cast them, for instance to float32.")
        if tf.is_tensor(training):
            return tf.cond(tf.cast(training, tf.bool), lambda: self._noisy(inputs), lambda: inputs)
        return self._noisy(inputs) if training else inputs

    def _noisy(self, inputs):
        dtype = "float64" if inputs.dtype == tf.float64 else "float32"
        r = keras.random.uniform(keras.ops.shape(inputs), -self.beta, self.beta, dtype, self.seed_generator)
        return tf.cast(tf.cast(inputs, dtype) * (1 + r), inputs.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "beta": self.beta, "seed": self.seed}
