"""`BatchNormalization`: the state of batch normalisation, and the choice between its training and its inference form."""

import keras
import tensorflow as tf

from keras_bn import functional


@keras.saving.register_keras_serializable(package="keras_bn")
class BatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation: `keras.layers.BatchNormalization` with a compiled split into training and inference.

    In training, each channel is normalised by the mean and the variance of the batch, and the moving statistics follow them:

        y = gamma * (x - mean) / sqrt(variance + epsilon) + beta
        moving_mean     = momentum * moving_mean     + (1 - momentum) * mean
        moving_variance = momentum * moving_variance + (1 - momentum) * variance      (divisor N)

    In inference, or with `trainable=False`, the moving statistics take the place of the batch's, and nothing is updated. The two forms are
    `functional.batch_norm_training` and `functional.batch_norm_inference`, each compiled by `tf.function`; `call` only decides which.

    Args:
        *args, **kwargs: all of `keras.layers.BatchNormalization`: axis, momentum, epsilon, center, scale, the initializers, regularizers and
            constraints of gamma and beta, synchronized, name, dtype, trainable and, where Keras has it, renorm.
        jit_compile: None: compiled as the function around it is; True: both forms are compiled by XLA wherever the layer is called.

    Call arguments:
        inputs: floating, rank 2 or more, channels on `axis`.
        training: bool, None or a boolean scalar tensor.
        mask: bool, the shape of `inputs` without the channel axis; False leaves a position out of the statistics. A batch that is masked
            throughout, or empty, leaves the moving statistics as they are.

    Returns:
        The shape of `inputs`, in the layer's compute dtype. Under the policies mixed_float16 and mixed_bfloat16
        the statistics are float32.

    Source: Ioffe & Szegedy 2015, Alg. 1; the moving averages are the option that its section 3.1 names, with the biased variance, as in Keras.

    Example:
        >>> layer = BatchNormalization(momentum=0.5, epsilon=0.0)
        >>> layer(np.array([[1.0, 10.0], [3.0, 50.0]], "float32"), training=True).numpy().tolist()
        [[-1.0, -1.0], [1.0, 1.0]]
        >>> layer.moving_mean.numpy().tolist()
        [1.0, 15.0]
    """

    def __init__(self, *args, jit_compile: bool | None = None, **kwargs):
        super().__init__(*args, **kwargs)
        if jit_compile not in (None, True):
            raise ValueError(
                f"`jit_compile` of BatchNormalization is {jit_compile!r}; expected None (as the function around the layer is compiled) "
                "or True (always by XLA): leave it out to have it follow `Model.compile(jit_compile=...)`."
            )
        self.jit_compile = jit_compile
        self._training_function = tf.function(functional.batch_norm_training, jit_compile=jit_compile, autograph=False)
        self._inference_function = tf.function(functional.batch_norm_inference, jit_compile=jit_compile, autograph=False)

    def call(self, inputs, training=None, mask=None):
        if self.synchronized or getattr(self, "renorm", False):
            return super().call(inputs, training=training, mask=mask)
        inputs = tf.convert_to_tensor(inputs)
        mask = None if mask is None else tf.cast(mask, tf.bool)
        statistics = [tf.convert_to_tensor(self.moving_mean), tf.convert_to_tensor(self.moving_variance)]
        gamma = tf.convert_to_tensor(self.gamma) if self.scale else None
        beta = tf.convert_to_tensor(self.beta) if self.center else None

        def train():
            outputs, batch = self._training_function(inputs, gamma, beta, mask, axis=self.axis, epsilon=self.epsilon)
            mean, variance = (
                functional.moving_average(moving, value, self.momentum, batch.count) for moving, value in zip(statistics, (batch.mean, batch.variance))
            )
            return outputs, mean, variance

        def infer():
            outputs = self._inference_function(inputs, gamma, beta, *statistics, axis=self.axis, epsilon=self.epsilon)
            return outputs, *statistics

        decided_by_tensor = tf.is_tensor(training)
        if not self.trainable or not (decided_by_tensor or training):
            outputs, *_ = infer()
        else:
            # Both forms return the statistics, so that a tensor can decide between them; the assignment stands outside of the branches.
            outputs, *statistics = tf.cond(tf.cast(training, tf.bool), train, infer) if decided_by_tensor else train()
            self.moving_mean.assign(statistics[0])
            self.moving_variance.assign(statistics[1])
        return tf.cast(outputs, self.compute_dtype)

    def get_config(self):
        config = super().get_config()
        if self.jit_compile:  # Else left out, so that Keras's layer, too, takes the config.
            config["jit_compile"] = True
        return config
