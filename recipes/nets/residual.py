"""A small residual net with Dropout where Li, Chen, Hu & Yang 2018 place it."""

NONE, BEFORE_NORM, BEFORE_CONVOLUTION, BEHIND_ALL, UNIFORM = PLACES = "none", "before_norm", "before_convolution", "behind_all", "uniform"  # Where Dropout is.


def residual(input_shape, classes, *, place, rate, width=16, momentum=0.9, weight_decay=0.0, blocks=3, normalisation=None):
    """Residual blocks of two 3x3 convolutions, with width, twice, four times, ... as many filters, the stride 2 from the second on.

    Args:
        input_shape: (H, W, C).
        classes: how many there are.
        place: of Dropout: "none"; "before_norm": right in front of the last batch normalisation of each block (the paper's a); "before_convolution": in front
            of the last convolution of each block (b); "behind_all": behind all batch normalisation, in front of the logits; "uniform": keras_bn.UniformDropout
            in front of the last convolution.
        rate: of Dropout, or the beta of UniformDropout.
        width: filters of the first block.
        momentum: of the moving statistics; the paper's nets have PyTorch's, 0.9 in Keras's sense.
        weight_decay: each convolution's gradient gets this times its kernel.
        blocks: how many.
        normalisation: class of the batch normalisation; None: keras_bn.BatchNormalization.

    Returns:
        A model from (N, H, W, C) to logits (N, classes).

    Source: Li, Chen, Hu & Yang 2018, sec. 4, where the nets are deeper ones.
    """

    import keras  # Not at the top of the file: the recipe's page needs the names of the places, and its --help need not wait for TensorFlow.

    import keras_bn
    from recipes.nets import kernels

    def normalised(x):
        return (normalisation or keras_bn.BatchNormalization)(momentum=momentum)(x)

    def convolved(x, filters, size, strides=1):
        return keras.layers.Conv2D(filters, size, strides, padding="same", use_bias=False, **kernels.options("glorot_uniform", weight_decay))(x)

    x = inputs = keras.Input(input_shape, name="image")
    x = keras.layers.ReLU()(normalised(convolved(x, width, 3)))
    for block in range(blocks):
        filters, strides = width * 2**block, 1 if block == 0 else 2
        y = keras.layers.ReLU()(normalised(convolved(x, filters, 3, strides)))
        if place == BEFORE_CONVOLUTION:
            y = keras.layers.Dropout(rate)(y)
        elif place == UNIFORM:
            y = keras_bn.UniformDropout(rate)(y)
        y = convolved(y, filters, 3)
        if place == BEFORE_NORM:
            y = keras.layers.Dropout(rate)(y)
        x = keras.layers.ReLU()(keras.layers.Add()([normalised(y), normalised(convolved(x, filters, 1, strides))]))
    x = keras.layers.GlobalAveragePooling2D()(x)
    if place == BEHIND_ALL:
        x = keras.layers.Dropout(rate)(x)
    return keras.Model(inputs, keras.layers.Dense(classes, name="logits")(x), name="residual")
