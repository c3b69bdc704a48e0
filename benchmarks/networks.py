"""The nets that are trained to be timed."""

IMAGE_SHAPE, CLASSES = (32, 32, 3), 10


def vgg(depth, width, batch_norm):
    """VGG of so many weight layers, its width a multiple of the paper's, as a plain net or with keras_bn.BatchNormalization."""
    import keras_bn
    from recipes.nets import vgg as nets

    arguments = dict(kernel_initializer="he_normal", weight_decay=0, dropout=0.5, normalisation=keras_bn.BatchNormalization if batch_norm else None)
    return nets.vgg(depth, IMAGE_SHAPE, CLASSES, width=width, **arguments)


def normalised_by_ours(name, size):
    """A net of keras.applications with keras_bn.BatchNormalization."""
    import keras

    import keras_bn

    return exchanged(application(name, size), keras.layers.BatchNormalization, keras_bn.BatchNormalization)


def tabular():
    """Three Dense(64) with keras.layers.BatchNormalization on 32 columns."""
    import keras

    model = keras.Sequential([keras.Input((32,))])
    for _ in range(3):
        model.add(keras.layers.Dense(64, use_bias=False))
        model.add(keras.layers.BatchNormalization())
        model.add(keras.layers.ReLU())
    model.add(keras.layers.Dense(CLASSES))
    return model


def application(name, size):
    """A net of keras.applications with random weights and its own layers, for images of `size` by `size` pixels."""
    import keras

    return getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classes=CLASSES, classifier_activation=None)


def resnet50(size, width):
    """ResNet-50 with keras_bn.BatchNormalization and `width` times its filters, for images of `size` by `size` pixels."""
    import keras

    import keras_bn

    def narrow(layer):
        config = layer.get_config()
        if isinstance(layer, keras.layers.Conv2D):
            config["filters"] = round(config["filters"] * width)
        return (keras_bn.BatchNormalization if type(layer) is keras.layers.BatchNormalization else type(layer)).from_config(config)

    return _cloned(application("ResNet50", size), narrow)


# name: (maker of a net with keras.layers.BatchNormalization, examples a step). `vgg` makes VGG, with and without normalisation.
NETS = {
    "mobilenet_v2": (lambda: application("MobileNetV2", 96), 32),
    "mobilenet_v2_small": (lambda: application("MobileNetV2", 64), 4),
    "efficientnet_b0": (lambda: application("EfficientNetB0", 96), 32),
    "resnet50": (lambda: application("ResNet50", 64), 32),
    "tabular": (tabular, 256),
}


def exchanged(model, old, new):
    """The same model with the same weights, each layer of the class `old` in it one of the class `new`."""
    clone = _cloned(model, lambda layer: (new if type(layer) is old else type(layer)).from_config(layer.get_config()))
    clone.set_weights(model.get_weights())
    return clone


def plain(model):
    """The same model, with weights of its own, without normalisation: a layer that returns its inputs for each keras.layers.BatchNormalization."""
    import keras

    class Unchanged(keras.layers.Layer):
        def call(self, inputs, training=None, mask=None):  # The arguments with which models call a normalisation.
            return inputs

    def without(layer):
        normalizes = isinstance(layer, keras.layers.BatchNormalization)
        return Unchanged(name=layer.name, dtype=layer.dtype_policy) if normalizes else layer.from_config(layer.get_config())

    return _cloned(model, without)


def bare_kernel():
    """A class that trains by nothing but TensorFlow's kernel for channels-last images and the update of its moving statistics: what a layer around that kernel
    can reach at best. In inference it is Keras's layer."""
    import keras
    import tensorflow as tf

    class BareKernel(keras.layers.BatchNormalization):
        def call(self, inputs, training=None, mask=None):
            if not training:
                return super().call(inputs, training=False)
            ones, none = tf.ones(inputs.shape[-1:]), tf.zeros([0])
            gamma, beta = (ones if weight is None else weight.value for weight in (self.gamma, self.beta))
            outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
                x=inputs, scale=gamma, offset=beta, mean=none, variance=none, epsilon=self.epsilon, is_training=True
            )
            for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(moving * self.momentum + value * (1 - self.momentum))
            return outputs

    return BareKernel


def _cloned(model, layer_for):
    import keras

    return keras.models.clone_model(model, clone_function=layer_for, recursive=True)
