"""`BatchNormalization`: the state of batch normalisation, and the choice between its training and its inference form."""

import inspect
import math

import keras
import tensorflow as tf

from keras_bn import functional
from keras_bn.layers.arguments import is_integer, is_number

_NO_LONGER = ("fused", "adjustment")  # Arguments of Keras 2's layer that changed how it computed, not what.
_RENORM = ("renorm", "renorm_clipping", "renorm_momentum")  # Arguments that Keras 3 has since 3.14 only.


@keras.saving.register_keras_serializable(package="keras_bn")
class BatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation: `keras.layers.BatchNormalization` with a compiled split into training and inference.

    In training, each channel is normalised by the mean and the variance of the batch, and the moving statistics follow them:

        y = gamma * (x - mean) / sqrt(variance + epsilon) + beta
        moving_mean     = momentum * moving_mean     + (1 - momentum) * mean
        moving_variance = momentum * moving_variance + (1 - momentum) * variance      (divisor N)

    In inference, or with `trainable=False`, the moving statistics take the place of the batch's, and nothing is updated. The two forms are
    `functional.batch_norm_training` and `functional.batch_norm_inference`, compiled by `tf.function`: by the one around the layer, and in eager mode by one
    that all layers share, traced once for all shapes of a rank. `call` only decides which form.

    Under a `tf.distribute` strategy each replica normalises by its own batch, unless `synchronized`, and keeps moving statistics of its own, also for its
    share of an inference; whoever reads or saves them gets their mean. Under `tf.recompute_grad` the call is made twice a step, and the moving statistics
    follow the batch twice, as those of Keras's layer; the gradients are the same.

    Args:
        axis: int, the channel axis.
        momentum: float from 0 to 1, the share of the moving statistics that is kept; or None: their value is the plain average over all batches since
            they were last reset, and the layer has one more weight, `batches`, which counts those.
        epsilon: positive float, added to the variance.
        *args, **kwargs: all else of `keras.layers.BatchNormalization`: center, scale, the initializers, regularizers and constraints of gamma and beta,
            synchronized, name, dtype, trainable and, from Keras 3.14 on, renorm, renorm_clipping, renorm_momentum.
        jit_compile: None: compiled as the function around it is; True: both forms are compiled by XLA wherever the layer is called, anew for each shape. Leave
            it None for models that are to be exported to ONNX, whose converter leaves such functions as they are.
        unbiased: whether `moving_variance` follows the variance with divisor N - 1.
        virtual_batch_size: positive int: in training, so many neighbouring examples at a time are normalised by their own statistics, and those that are left
            over, too (Keras 2 made a group of every G-th example, for G groups). The moving statistics follow the mean of the groups' means and variances,
            weighted by their sizes. None: the whole batch at a time.

    Call arguments:
        inputs: rank 2 or more, channels on `axis`. Integers are cast to the compute dtype. Of ragged inputs, with the channels on an axis behind the ragged
            ones, the values that are there are normalised, and the outputs are ragged, too.
        training: bool, None or a boolean scalar tensor.
        mask: bool, broadcastable to the shape of `inputs` without the channel axis (or, where that does not fit, without the last axis, as Keras's layers
            pass masks on); False leaves a position out of the statistics. A batch that is masked throughout, or empty, leaves the moving statistics alone.

    Returns:
        The shape of `inputs`, in the layer's compute dtype. Under the policies mixed_float16 and mixed_bfloat16 the statistics are float32.

    Raises:
        ValueError: an argument that is out of range, two that exclude each other, sparse inputs, inputs or a mask of a shape that does not fit.

    Source: Ioffe & Szegedy 2015, Alg. 1; the moving averages are the option that its section 3.1 names, with the biased variance, as in Keras; `unbiased`
    with `momentum=None` is its Alg. 2. Virtual batches: Hoffer et al. 2017. Renormalisation: Ioffe 2017.

    Example:
        >>> layer = BatchNormalization(momentum=0.5, epsilon=1e-6)
        >>> layer(np.array([[1.0, 10.0], [3.0, 50.0]], "float32"), training=True).numpy().round(3).tolist()
        [[-1.0, -1.0], [1.0, 1.0]]
        >>> layer.moving_mean.numpy().tolist()
        [1.0, 15.0]
    """

    normalises_by_variance = True  # Whether `moving_variance` is one.

    def __init__(
        self,
        axis: int = -1,
        momentum: float | None = 0.99,
        epsilon: float = 1e-3,
        *args,
        jit_compile: bool | None = None,
        unbiased: bool = False,
        virtual_batch_size: int | None = None,
        **kwargs,
    ):
        self._refuse_values(axis=axis, momentum=momentum, epsilon=epsilon, jit_compile=jit_compile, unbiased=unbiased, virtual_batch_size=virtual_batch_size)
        super().__init__(axis, 0.0 if momentum is None else momentum, epsilon, *args, **kwargs)
        self.momentum = None if momentum is None else float(momentum)
        self.jit_compile = jit_compile
        self.unbiased = unbiased
        self.virtual_batch_size = None if virtual_batch_size is None else int(virtual_batch_size)
        self.renorm = getattr(self, "renorm", False)
        self.batches = None
        self._refuse_combinations()
        self._adds_statistics = False

    @classmethod
    def _refuse_values(cls, axis, momentum, epsilon, jit_compile, unbiased, virtual_batch_size):
        def refuse(name, value, expected):
            raise ValueError(f"`{name}` of {cls.__name__} is {value!r}; expected {expected}.")

        if not is_integer(axis):
            refuse("axis", axis, "an integer, the channel axis: -1 for the last")
        if momentum is not None and not (is_number(momentum) and 0 <= momentum <= 1):
            refuse("momentum", momentum, "a number from 0 to 1, the share of the old value that is kept (1 minus PyTorch's), or None for the plain average")
        if not (is_number(epsilon) and 0 < epsilon < math.inf):
            refuse("epsilon", epsilon, "a positive number, such as 0.001: a channel whose variance is 0 is divided by its square root")
        if jit_compile not in (None, True):
            refuse(
                "jit_compile", jit_compile, "None (as the function around the layer is compiled) or True (always by XLA): leave it out to follow the model's"
            )
        if unbiased not in (True, False):
            refuse("unbiased", unbiased, "True or False, whether the moving variance has divisor N - 1")
        if virtual_batch_size is not None and not (is_integer(virtual_batch_size) and virtual_batch_size >= 1):
            refuse("virtual_batch_size", virtual_batch_size, "a positive integer, the number of examples to normalise together, or None for all")

    def _exclude(self, one, other, why):
        raise ValueError(f"`{one}` and `{other}` of {type(self).__name__} exclude each other, since {why}; leave one of them out.")

    def _refuse_channels_first_of_all(self):
        if self.virtual_batch_size is not None:
            self._exclude("virtual_batch_size", f"axis={self.axis}", "both are about the first axis, which cannot hold examples and channels")

    def _refuse_combinations(self):
        size = self.virtual_batch_size
        if self.axis == 0:
            self._refuse_channels_first_of_all()
        if size is not None and self.synchronized:
            self._exclude("virtual_batch_size", "synchronized", "one makes the groups smaller than a replica's batch and the other larger")
        if size is not None and self.renorm:
            self._exclude("virtual_batch_size", "renorm", "renormalisation corrects one set of batch statistics and there are several")
        if self.unbiased and self.renorm:
            self._exclude("unbiased", "renorm", "renormalisation keeps moving standard deviations of the batch as it is normalised")
        if self.jit_compile and self.synchronized:
            self._exclude("jit_compile", "synchronized", "XLA cannot compile the exchange between replicas")

    def build(self, input_shape):
        self._refuse_shape(input_shape)
        if range(len(input_shape))[self.axis] == 0:
            self._refuse_channels_first_of_all()
        self._adds_statistics = True
        try:
            super().build(input_shape)
            if self.momentum is None:
                self.batches = self.add_weight(shape=(), name="batches", initializer="zeros", trainable=False, autocast=False)
        finally:
            self._adds_statistics = False
        self.input_spec = None  # `call` says in more words what is wrong.

    def add_weight(self, *args, trainable=True, **kwargs):
        """As of `keras.Layer`. The moving statistics that `build` adds are float32 at least, kept by each replica, and averaged where they are read."""
        if trainable or not self._adds_statistics:
            return super().add_weight(*args, trainable=trainable, **kwargs)
        return self._statistic(*args, **kwargs)

    def _statistic(self, shape, name, initializer, autocast, **_):
        with keras.name_scope(self.name, caller=self):
            variable = keras.Variable(
                initializer=keras.initializers.get(initializer),
                shape=shape,
                dtype="float64" if self.variable_dtype == "float64" else "float32",
                trainable=False,
                autocast=autocast,
                aggregation="mean",
                synchronization="on_read",  # `add_weight` of Keras has no such argument.
                name=name,
            )
        variable.regularizer = variable.constraint = None
        variable.overwrite_with_gradient = False
        return variable  # Keras tracks it when it becomes an attribute.

    def compute_output_spec(self, inputs, *args, **kwargs):
        self._refuse(inputs, kwargs.get("mask"))
        return super().compute_output_spec(inputs, *args, **kwargs)

    def call(self, inputs, training=None, mask=None):
        if isinstance(inputs, tf.RaggedTensor):
            return self._ragged(inputs, training, mask)
        return self._dense(inputs, training, mask)

    def _dense(self, inputs, training, mask):
        outputs, statistics = self._normalised(inputs, training, mask)
        outputs = self._finished(outputs, training)
        self._assign(statistics)  # Last, so that nothing has changed where something fails.
        return outputs

    def _finished(self, outputs, training):
        """What subclasses make of normalised outputs."""
        return outputs

    def _ragged(self, inputs, training, mask):
        """Normalises the values that are there, as one long example."""
        rank, ragged_rank = inputs.shape.rank, inputs.ragged_rank
        if mask is not None or range(rank)[self.axis] <= ragged_rank:
            raise ValueError(
                f"{self.name} received ragged inputs of shape {tuple(inputs.shape)}{'' if mask is None else ' with a mask'}; expected no mask and channels on "
                "an axis behind the ragged ones: convert the inputs by `to_tensor`."
            )
        if self.virtual_batch_size is not None:
            raise ValueError(f"{self.name} received ragged inputs and has `virtual_batch_size`; expected dense ones, whose examples form groups: leave it out.")
        values = inputs.flat_values
        for _ in range(ragged_rank):
            values = values[tf.newaxis]  # The rank of the inputs, so that `axis` means the same.
        outputs = self._dense(values, training, None)
        return inputs.with_flat_values(tf.reshape(outputs, tf.shape(inputs.flat_values)))

    def _normalised(self, inputs, training, mask):
        """(outputs, what `_statistics` become, nothing where they stay)."""
        inputs = self._as_tensor(inputs)
        if mask is not None:
            mask = tf.cast(mask, tf.bool)
        self._refuse(inputs, mask)
        if inputs.shape[self.axis] is None:
            inputs = self._with_channels_checked(inputs)
        mask = self._of_every_axis(mask, inputs)
        gamma = tf.convert_to_tensor(self.gamma) if self.scale else None
        beta = tf.convert_to_tensor(self.beta) if self.center else None
        decided_by_tensor, statistics = tf.is_tensor(training), []
        if not self.trainable or not (decided_by_tensor or training):
            outputs = self._infer(inputs, gamma, beta, mask)
        elif not decided_by_tensor:
            outputs, statistics = self._train(inputs, gamma, beta, mask)
        else:
            # Both forms return the statistics, so that a tensor can decide between them. Replicas cannot talk to each other from within a branch.
            trained = self._train(inputs, gamma, beta, mask) if self.synchronized else None
            outputs, statistics = tf.cond(
                tf.cast(training, tf.bool),
                lambda: trained or self._train(inputs, gamma, beta, mask),
                lambda: (self._infer(inputs, gamma, beta, mask), [tf.convert_to_tensor(variable) for variable in self._statistics]),
            )
        return tf.cast(outputs, self.compute_dtype), statistics

    def _as_tensor(self, inputs):
        if isinstance(inputs, tf.SparseTensor):
            raise ValueError(
                f"{self.name} received a sparse tensor; expected a dense or a ragged one, as zeros do not stay zeros: convert it by tf.sparse.to_dense."
            )
        inputs = tf.convert_to_tensor(inputs)
        return inputs if inputs.dtype.is_floating else tf.cast(inputs, self.compute_dtype)

    def _with_channels_checked(self, inputs):
        """The inputs, whose number of channels is unknown when the graph is made: it is checked when the graph runs."""
        expected = self.moving_mean.shape[0]
        message = (
            f"{self.name} received another number of channels; expected {expected} on axis {self.axis}, as it was built with: make another layer for these."
        )
        with tf.control_dependencies([tf.debugging.assert_equal(tf.shape(inputs)[self.axis], expected, message)]):
            inputs = tf.identity(inputs)
        shape = inputs.shape.as_list()
        shape[self.axis] = expected
        return tf.ensure_shape(inputs, shape)

    def _of_every_axis(self, mask, inputs):
        """The mask with the channels' axis, by what is known of shapes here: within a `tf.function` less may be."""
        if mask is None:
            return None
        rank, shape = inputs.shape.rank, inputs.shape
        axis = range(rank)[self.axis]
        if not functional.mask_fits(mask.shape, [size for index, size in enumerate(shape) if index != axis]):
            return mask[..., tf.newaxis]  # As Keras's layers pass it on.
        mask = tf.reshape(mask, tf.concat([tf.ones([rank - 1 - mask.shape.rank], tf.int32), tf.shape(mask)], 0))
        return tf.expand_dims(mask, axis)

    def _infer(self, inputs, gamma, beta, mask):
        return functional.batch_norm_inference(
            inputs,
            gamma,
            beta,
            tf.convert_to_tensor(self.moving_mean),
            tf.convert_to_tensor(self.moving_variance),
            mask,
            axis=self.axis,
            epsilon=self.epsilon,
            jit_compile=self.jit_compile,
        )

    def _train(self, inputs, gamma, beta, mask):
        """(outputs, what `_statistics` become)."""
        options = dict(
            axis=self.axis,
            epsilon=self.epsilon,
            virtual_batch_size=self.virtual_batch_size,
            synchronized=self.synchronized,
            jit_compile=self.jit_compile,
        )
        if self.renorm:
            # The correction needs the batch's moments, and its product with gamma and beta their dtype.
            normalised, batch = functional.batch_norm_training(tf.cast(inputs, self.moving_mean.dtype), None, None, mask, **options)
            outputs = functional.renormalised(
                normalised, gamma, beta, batch, self.renorm_mean, self.renorm_stddev, axis=self.axis, epsilon=self.epsilon, **self.renorm_clipping
            )
        else:
            outputs, batch = functional.batch_norm_training(inputs, gamma, beta, mask, **options)
        return outputs, self._followed(batch)

    @property
    def _statistics(self):
        statistics = [self.moving_mean, self.moving_variance]
        if self.renorm:
            statistics += [self.moving_stddev, self.renorm_mean, self.renorm_stddev]
        return statistics if self.batches is None else [*statistics, self.batches]

    def _followed(self, batch):
        """What `_statistics` become after a batch of these moments."""
        variance = functional.sample_variance(batch) if self.unbiased else batch.variance
        batch = batch._replace(variance=variance)
        if self.virtual_batch_size is not None:
            batch = functional.average_moments(batch)
        momentum, counted = self.momentum, []
        if momentum is None:
            batches = tf.convert_to_tensor(self.batches)
            momentum = batches / (batches + 1)
            counted = [batches + tf.cast(tf.reduce_any(batch.count > 0), batches.dtype)]

        def follow(variable, value, momentum):
            return functional.moving_average(tf.convert_to_tensor(variable), value, momentum, batch.count)

        mean = follow(self.moving_mean, batch.mean, momentum)
        if not self.renorm:
            return [mean, follow(self.moving_variance, batch.variance, momentum), *counted]
        deviation = tf.sqrt(batch.variance + self.epsilon)
        moving = follow(self.moving_stddev, deviation, momentum)
        squared = tf.where(batch.count > 0, tf.nn.relu(tf.square(moving) - self.epsilon), self.moving_variance)
        renorm = [follow(self.renorm_mean, batch.mean, self.renorm_momentum), follow(self.renorm_stddev, deviation, self.renorm_momentum)]
        return [mean, squared, moving, *renorm, *counted]

    def _assign(self, statistics):
        for variable, value in zip(self._statistics, statistics):
            variable.assign(value)

    def reset_statistics(self) -> None:
        """Gives the moving statistics the values that they were built with; with `momentum=None` the count starts anew.

        Raises:
            ValueError: there are none yet.
        """
        if not self.built:
            raise ValueError(f"{self.name} has no statistics to reset; expected a layer that is built: call it or its `build` first.")
        shape, dtype = self.moving_mean.shape, self.moving_mean.dtype
        mean, variance = self.moving_mean_initializer(shape, dtype=dtype), self.moving_variance_initializer(shape, dtype=dtype)
        deviation = tf.sqrt(variance)
        values = [mean, variance, deviation, mean, deviation] if self.renorm else [mean, variance]
        self._assign(values if self.batches is None else [*values, tf.zeros([], dtype)])

    def _refuse(self, inputs, mask):
        """Refuses inputs and masks by what is known of them before anything is computed."""
        self._refuse_shape(inputs.shape)
        if mask is not None:
            self._refuse_mask(mask.shape, inputs.shape)

    def _refuse_shape(self, shape):
        if tf.TensorShape(shape).rank is None:
            raise ValueError(f"{self.name} received inputs of unknown rank; expected a known one, examples first: give them a shape by tf.ensure_shape.")
        rank = len(shape)
        if rank < 2:
            raise ValueError(f"{self.name} received inputs of shape {tuple(shape)}; expected rank 2 or more, examples first: add an axis.")
        if not -rank <= self.axis < rank:
            raise ValueError(
                f"`axis` of {self.name} is {self.axis} and its inputs have shape {tuple(shape)}; expected {-rank} to {rank - 1}: choose the channels' axis."
            )
        channels, expected = shape[self.axis], self.moving_mean.shape[0] if self.built else None
        if channels is None and not self.built:
            raise ValueError(
                f"{self.name} received inputs of shape {tuple(shape)}; expected a known number of channels on axis {self.axis}: give it in keras.Input."
            )
        if self.built and channels not in (None, expected):
            raise ValueError(
                f"{self.name} received {channels} channels, in inputs of shape {tuple(shape)}; expected {expected} on axis {self.axis}, "
                "as it was built with: make another layer for these."
            )

    def _refuse_mask(self, mask, shape):
        if tf.TensorShape(mask).rank is None:
            raise ValueError(f"{self.name} received a mask of unknown rank; expected a known one: give it a shape by tf.ensure_shape.")
        axis = range(len(shape))[self.axis]
        expected = [size for index, size in enumerate(shape) if index != axis]
        as_keras_passes_it = len(mask) == len(expected) and functional.mask_fits(mask, shape[:-1])
        if not functional.mask_fits(mask, expected) and not as_keras_passes_it:
            raise ValueError(
                f"{self.name} received a mask of shape {tuple(mask)} for inputs of shape {tuple(shape)}; expected one that broadcasts to {tuple(expected)}, "
                "the shape of the inputs without the channel axis: reshape it, with size 1 where it holds for all."
            )

    def get_config(self):
        # What Keras's layer does not know is left out where it says nothing, so that it takes the config, too.
        additions = {name: value for name in ("jit_compile", "unbiased", "virtual_batch_size") if (value := getattr(self, name))}
        return {**super().get_config(), **additions}

    @classmethod
    def from_config(cls, config):
        """The layer of a config of ours, of Keras 3's layer, or of Keras 2's, whose axis is a list."""
        config = {name: value for name, value in config.items() if name not in _NO_LONGER}
        axis = config.get("axis", -1)
        if isinstance(axis, (list, tuple)):
            if len(axis) != 1:
                raise ValueError(f"a config of {cls.__name__} has axis {list(axis)}; expected one channel axis: normalise each with a layer of its own.")
            config["axis"] = axis[0]
        if "renorm" not in inspect.signature(keras.layers.BatchNormalization).parameters and not config.get("renorm"):
            config = {name: value for name, value in config.items() if name not in _RENORM}
        return super().from_config(config)
