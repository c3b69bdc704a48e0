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

    model = keras.applications.ResNet50(weights=None, input_shape=IMAGE_SHAPE, classes=CLASSES, classifier_activation=None)
    return exchanged(model, keras.layers.BatchNormalization, keras_bn.BatchNormalization)


def exchanged(model, old, new):
    """The same model with the same weights, each layer of the class `old` in it one of the class `new`."""
    import keras

    def kept_or_exchanged(layer):
        kind = new if type(layer) is old else type(layer)
        return kind.from_config(layer.get_config())

    clone = keras.models.clone_model(model, clone_function=kept_or_exchanged)
    clone.set_weights(model.get_weights())
    return clone
