"""The nets that are trained to be timed."""

IMAGE_SHAPE, CLASSES = (32, 32, 3), 10


def vgg(depth, width, batch_norm):
    """VGG of so many weight layers, its width a multiple of the paper's, as a plain net or with keras_bn.BatchNormalization."""
    from recipes import models

    arguments = dict(kernel_initializer="he_normal", weight_decay=0, dropout=0.5, batch_norm=batch_norm)
    return models.vgg(depth, IMAGE_SHAPE, CLASSES, width=width, **arguments)[0]


def resnet50():
    """Keras's ResNet-50, 53 convolutions, with keras_bn.BatchNormalization."""
    import keras

    import keras_bn

    return exchanged(application("ResNet50", IMAGE_SHAPE[0]), keras.layers.BatchNormalization, keras_bn.BatchNormalization)


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


# name: (maker of a net with keras.layers.BatchNormalization, examples a step). VGG, which is compared with a plain net, too, is made by `vgg`.
NETS = {
    "mobilenet_v2": (lambda: application("MobileNetV2", 96), 32),
    "mobilenet_v2_small": (lambda: application("MobileNetV2", 64), 4),
    "efficientnet_b0": (lambda: application("EfficientNetB0", 96), 32),
    "resnet50": (lambda: application("ResNet50", 64), 32),
    "tabular": (tabular, 256),
}


def exchanged(model, old, new):
    """The same model with the same weights, each layer of the class `old` in it one of the class `new`."""
    import keras

    def kept_or_exchanged(layer):
        kind = new if type(layer) is old else type(layer)
        return kind.from_config(layer.get_config())

    clone = keras.models.clone_model(model, clone_function=kept_or_exchanged, recursive=True)
    clone.set_weights(model.get_weights())
    return clone
