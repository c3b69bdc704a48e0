"""VGG for small images: plain, normalised, grown and with auxiliary classifiers."""

import keras

from recipes.nets import kernels

# Convolutions of each stage, and the width that the stage has at width multiplier 1. Simonyan & Zisserman 2015, table 1.
CONFIGURATIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
FILTERS = (64, 128, 256, 512, 512)
DENSE_UNITS = 4096
AUXILIARY_STAGES = (3, 4)
AUXILIARY_FILTERS, AUXILIARY_UNITS, AUXILIARY_DROPOUT = 128, 1024, 0.7
AUXILIARY_LOSS_WEIGHT = 0.3  # Szegedy et al. 2015, sec. 5.


def vgg(depth, input_shape, classes, *, width, kernel_initializer, weight_decay, dropout, normalisation=None, auxiliary=False):
    """VGG: five stages of 3x3 convolutions with ReLU, each closed by 2x2 max pooling, then three dense layers.

    With `normalisation`, each convolution loses its bias and is followed by such a layer, before its ReLU; the dense layers stay as they are.
    With `auxiliary`, stages 3 and 4 feed a classifier each: 1x1 convolution, dense, dropout 0.7, dense. GoogLeNet's average pooling in front, which brings
    14x14 to 4x4, is left out, since those stages give 4x4 and 2x2 here.

    Args:
        depth: weight layers: 11, 13, 16 or 19 (configurations A, B, D, E).
        input_shape: (H, W, C), H and W at least 32.
        classes: how many there are.
        width: multiplies the number of filters and dense units; 1.0 is the paper's net.
        kernel_initializer: its name (`kernels.initial`). Biases start at 0.
        weight_decay: the gradient of each kernel gets `weight_decay * kernel`: an L2 penalty of half of that, as in the paper.
        dropout: rate behind each of the first two dense layers.
        normalisation: function of a name that returns a layer, such as `keras_bn.BatchNormalization`; None for none.
        auxiliary: whether there are auxiliary classifiers.

    Returns:
        A model from (N, H, W, C) to logits (N, classes); with `auxiliary` to a list: the logits, then those of each auxiliary classifier.

    Source: Simonyan & Zisserman 2015, sec. 2.1 and table 1; auxiliary classifiers: Szegedy et al. 2015, sec. 5.
    """

    def weights():
        return kernels.options(kernel_initializer, weight_decay)

    def scaled(number):
        return max(1, round(number * width))

    def convolution(x, filters, size, name):
        x = keras.layers.Conv2D(scaled(filters), size, padding="same", use_bias=normalisation is None, name=name, **weights())(x)
        if normalisation is not None:
            x = normalisation(name=f"{name}_batch_normalization")(x)
        return keras.layers.ReLU(name=f"{name}_relu")(x)

    def auxiliary_classifier(x, name):
        x = convolution(x, AUXILIARY_FILTERS, 1, f"{name}_conv")
        x = keras.layers.Flatten(name=f"{name}_flatten")(x)
        x = keras.layers.Dense(scaled(AUXILIARY_UNITS), activation="relu", name=f"{name}_dense", **weights())(x)
        x = keras.layers.Dropout(AUXILIARY_DROPOUT, name=f"{name}_dropout")(x)
        return keras.layers.Dense(classes, name=f"{name}_logits", **weights())(x)

    x = inputs = keras.Input(input_shape, name="image")
    auxiliary_logits = []
    for stage, (convolutions, filters) in enumerate(zip(CONFIGURATIONS[depth], FILTERS), start=1):
        for number in range(1, convolutions + 1):
            x = convolution(x, filters, 3, f"stage{stage}_conv{number}")
        x = keras.layers.MaxPooling2D(name=f"stage{stage}_pool")(x)
        if auxiliary and stage in AUXILIARY_STAGES:
            auxiliary_logits.append(auxiliary_classifier(x, f"auxiliary{stage}"))
    x = keras.layers.Flatten(name="flatten")(x)
    for number in (1, 2):
        x = keras.layers.Dense(scaled(DENSE_UNITS), activation="relu", name=f"dense{number}", **weights())(x)
        x = keras.layers.Dropout(dropout, name=f"dropout{number}")(x)
    logits = keras.layers.Dense(classes, name="logits", **weights())(x)
    return keras.Model(inputs, [logits, *auxiliary_logits] if auxiliary else logits, name=f"vgg{depth}")


def grow(shallow, deep):
    """Copies the first four convolutions and the dense layers of `shallow` into `deep`, in place; the rest of `deep` keeps its random weights.

    A convolution goes to the one at its place, stage and number within the stage, in `deep`: counted through from the input, the shapes would not fit.

    Args:
        shallow, deep: models from `vgg` with the same width, input shape and classes.

    Returns:
        The names of the layers copied.

    Source: Simonyan & Zisserman 2015, sec. 3.1.
    """
    convolutions = [layer.name for layer in shallow.layers if isinstance(layer, keras.layers.Conv2D)]
    dense = [layer.name for layer in shallow.layers if isinstance(layer, keras.layers.Dense)]
    copied = convolutions[:4] + dense
    for name in copied:
        deep.get_layer(name).set_weights(shallow.get_layer(name).get_weights())
    return copied
