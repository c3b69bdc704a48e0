"""VGG: the paper's table, what each contestant differs in, and what growing copies."""

import keras
import numpy as np
import pytest

import keras_bn
from recipes.nets import kernels, vgg

SMALL = dict(width=0.0625, kernel_initializer="glorot_uniform", weight_decay=0.0, dropout=0.0)


def small(depth, **arguments):
    return vgg.vgg(depth, (32, 32, 3), 10, **{**SMALL, **arguments})


def layers_of(model, kind):
    return [layer for layer in model.layers if isinstance(layer, kind)]


@pytest.mark.parametrize("depth", [11, 13, 16, 19])
def test_depth_counts_weight_layers(depth):
    model = small(depth)
    assert len(layers_of(model, (keras.layers.Conv2D, keras.layers.Dense))) == depth
    assert model.output_shape == (None, 10)


# Simonyan & Zisserman 2015, table 2, in millions: 133, 133, 138, 144 (A, B, D, E).
@pytest.mark.parametrize(("depth", "parameters"), [(11, 132_863_336), (13, 133_047_848), (16, 138_357_544), (19, 143_667_240)])
def test_width_1_is_the_papers_net(depth, parameters):
    model = vgg.vgg(depth, (224, 224, 3), 1000, **{**SMALL, "width": 1.0, "kernel_initializer": "zeros"})
    assert model.count_params() == parameters


def test_batch_norm_stands_between_each_convolution_without_bias_and_its_relu():
    model = small(13, normalisation=keras_bn.BatchNormalization)
    convolutions = layers_of(model, keras.layers.Conv2D)
    assert len(convolutions) == len(layers_of(model, keras_bn.BatchNormalization)) == 10
    names = [layer.name for layer in model.layers]
    for convolution in convolutions:
        assert not convolution.use_bias
        convolution_index = names.index(convolution.name)
        assert isinstance(model.layers[convolution_index + 1], keras_bn.BatchNormalization)
        assert isinstance(model.layers[convolution_index + 2], keras.layers.ReLU)


def test_auxiliary_classifiers_are_outputs_behind_the_net_s_own():
    model = small(13, auxiliary=True)
    assert model.output_shape == [(None, 10)] * 3
    net = keras.Model(model.inputs, model.outputs[0])
    assert net.count_params() == small(13).count_params()
    assert not [layer.name for layer in net.layers if layer.name.startswith("auxiliary")]
    assert [layer.rate for layer in model.layers if layer.name.startswith("auxiliary") and isinstance(layer, keras.layers.Dropout)] == [0.7] * 2


def test_weight_decay_adds_itself_times_the_kernel_to_the_gradient():
    model = small(11, weight_decay=0.02)
    penalty = sum(0.01 * np.sum(np.square(layer.kernel)) for layer in layers_of(model, (keras.layers.Conv2D, keras.layers.Dense)))
    np.testing.assert_allclose(sum(model.losses), penalty, rtol=1e-5)


def test_initializers_have_the_standard_deviation_that_they_name():
    kernel = kernels.initial("normal_0.1")((300, 400)).numpy()
    assert kernel.std() == pytest.approx(0.1, rel=0.01)  # Its own spread: 0.1 / sqrt(2 * 120,000), 0.2 %.
    assert abs(kernel.mean()) < 0.002
    kernel = kernels.initial("he_normal")((300, 400)).numpy()
    assert kernel.std() == pytest.approx((2 / 300) ** 0.5, rel=0.01)


@pytest.mark.parametrize("name", ["glorot_uniform", "he_normal", "normal_0.1"])
def test_no_two_layers_start_with_the_same_values(name):
    model = small(19, kernel_initializer=name)
    kernels = [layer.kernel.numpy() for layer in layers_of(model, (keras.layers.Conv2D, keras.layers.Dense))]
    firsts = {kernel.flat[0] for kernel in kernels}
    assert len(firsts) == len(kernels) == 19


def test_growing_copies_four_convolutions_and_the_dense_layers():
    shallow = small(11)
    deep = small(19)
    for layer in shallow.layers:  # Biases, too, must be seen to be copied.
        layer.set_weights([np.random.default_rng(0).normal(size=weight.shape) for weight in layer.get_weights()])
    before = {layer.name: layer.get_weights() for layer in deep.layers}
    copied = vgg.grow(shallow, deep)
    assert copied == ["stage1_conv1", "stage2_conv1", "stage3_conv1", "stage3_conv2", "dense1", "dense2", "logits"]
    for layer in deep.layers:
        expected = shallow.get_layer(layer.name).get_weights() if layer.name in copied else before[layer.name]
        for weight, value in zip(layer.get_weights(), expected):
            np.testing.assert_array_equal(weight, value)
