"""`diagnose`: healthy nets have no finding; of a planted fault it names the fault and the layer first, and a remedy that runs; it leaves no trace."""

import json
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_bn
from keras_bn import surgery
from keras_bn.surgery.diagnosis import evaluations, report
from keras_bn.surgery.diagnosis.examination import gathered
from tests.keras_bn.surgery import healthy_nets
from tests.keras_bn.surgery.healthy_nets import BATCH_SIZE, compiled, digits, trained

BN = layers.BatchNormalization


def diagnosed(model, data=None, **options):
    return surgery.diagnose(model, digits() if data is None else data, verbose=False, **options)


def faults(diagnosis):
    return [finding.fault for finding in diagnosis.findings]


def apply_remedy(finding, model, data):
    names = {"model": model, "data": data, "keras": keras, "keras_bn": keras_bn, "np": np, "tf": tf}
    exec(finding.remedy, names)
    return names


@pytest.fixture(scope="module")
def nets():
    return {make: trained(make) for make in healthy_nets.ALL}


@pytest.fixture
def net(nets):
    """A copy of the trained VGG, which may be spoilt."""
    model = compiled(keras.models.clone_model(nets[healthy_nets.vgg]))
    model.set_weights(nets[healthy_nets.vgg].get_weights())
    return model


def normalizations(model):
    return [layer for layer in model.layers if isinstance(layer, BN)]


def small(between=lambda x: x, bias=False, momentum=0.9):
    """Two dense layers with batch normalisation."""
    inputs = keras.Input((8, 8, 1))
    x = layers.Flatten()(inputs)
    for _ in range(2):
        x = layers.ReLU()(BN(momentum=momentum)(between(layers.Dense(32, use_bias=bias)(x))))
    return keras.Model(inputs, layers.Dense(10)(x), name="small")


def fitted(model, epochs=1, batch_size=BATCH_SIZE, examples=None, data=None):
    x, y = (values[:examples] for values in data or digits())
    compiled(model).fit(x, y, batch_size=batch_size, epochs=epochs, verbose=0)
    return model, (x, y)


@pytest.mark.parametrize("make", healthy_nets.ALL)
def test_of_a_healthy_net_nothing_is_found(nets, make):
    model, data = nets[make], healthy_nets.data_of(make)
    weights = model.get_weights()
    diagnosis = diagnosed(model, data)
    assert diagnosis.findings == []
    assert str(diagnosis).startswith(f"{make.__name__}: nothing is wrong\n")
    assert f" on 1797 examples in 57 batches of {BATCH_SIZE}: " in diagnosis.evidence
    # What it says of inference mode is what Keras says.
    assert list(diagnosis.evaluations) == ["training mode", "inference mode"]
    expected = model.evaluate(*data, batch_size=BATCH_SIZE, verbose=0, return_dict=True)
    assert diagnosis.evaluations["inference mode"] == pytest.approx(expected, rel=1e-5)
    assert all(np.array_equal(value, before) for value, before in zip(model.get_weights(), weights, strict=True))


def test_statistics_that_are_off_are_named_where_it_begins(net):
    """Layers behind receive shifted inputs, too, but their own statistics are right."""
    accuracy_before = net.evaluate(*digits(), verbose=0)[1]
    layer = normalizations(net)[1]
    layer.moving_variance.assign(9 * layer.moving_variance)
    weights = net.get_weights()
    diagnosis = diagnosed(net)
    [finding] = diagnosis.findings
    assert (finding.layer, finding.fault) == (layer.name, "statistics_lag")
    assert finding.measured["variance_to_moving_variance"] == pytest.approx(1 / 9, rel=0.05)
    assert 0 < finding.measured["standard_error"] < 0.02
    assert "layers" not in finding.measured
    assert finding.measured["given_back"] == pytest.approx(1, abs=0.05)
    training, inference, recalibrated = (finding.measured[f"loss_{name}"] for name in ("in_training_mode", "in_inference_mode", "recalibrated"))
    assert recalibrated < 2 * training < inference
    assert diagnosis.evaluations["recalibrated"]["accuracy"] > diagnosis.evaluations["inference mode"]["accuracy"]
    assert all(np.array_equal(value, before) for value, before in zip(net.get_weights(), weights, strict=True))
    apply_remedy(finding, net, digits())
    # What it says of recalibration is what that does; and it repairs the net.
    loss, accuracy = net.evaluate(*digits(), verbose=0)
    assert loss == pytest.approx(recalibrated, rel=1e-4)
    assert accuracy > accuracy_before - 0.005
    assert diagnosed(net).findings == []


def test_the_worst_comes_first(net):
    """A layer as built, off by more than one standard deviation, behind one that is off by 0.3."""
    first, _, last = normalizations(net)
    first.moving_mean.assign(first.moving_mean + 0.3 * np.sqrt(first.moving_variance))
    last.moving_mean.assign(np.zeros_like(last.moving_mean))
    last.moving_variance.assign(np.ones_like(last.moving_variance))
    findings = diagnosed(net).findings
    assert [(finding.layer, finding.fault) for finding in findings] == [(last.name, "never_updated"), (first.name, "statistics_lag")]
    assert findings[0].measured["shift"] > findings[1].measured["shift"] > 0.2


def test_means_that_are_off(net):
    layer = normalizations(net)[2]
    layer.moving_mean.assign(layer.moving_mean + 0.5 * np.sqrt(layer.moving_variance))
    [finding] = diagnosed(net).findings
    assert (finding.layer, finding.fault) == (layer.name, "statistics_lag")
    assert finding.measured["mean_from_moving_mean"] == pytest.approx(0.5, abs=0.03)
    assert 0 < finding.measured["standard_error_of_mean"] < 0.02


def test_several_layers_are_one_finding_at_the_first(net):
    for layer in normalizations(net)[1:3]:
        layer.moving_mean.assign(layer.moving_mean + np.sqrt(layer.moving_variance))
    [finding] = diagnosed(net).findings
    assert finding.measured["layers"] == [layer.name for layer in normalizations(net)[1:3]]
    assert finding.layer == normalizations(net)[1].name


def test_little_in_each_layer_adds_up(net):
    """Each is less than what counts by itself."""
    for layer in normalizations(net):
        layer.moving_mean.assign(layer.moving_mean + 0.08 * np.sqrt(layer.moving_variance))
        layer.moving_variance.assign(1.15 * layer.moving_variance)
    [finding] = diagnosed(net).findings
    assert (finding.layer, finding.fault) == (normalizations(net)[0].name, "inference_worse")
    assert finding.measured["worse_by"] > 3 * finding.measured["standard_error"]
    assert finding.measured["given_back"] > 0.9


class OtherwiseInInference(keras.Layer):
    def call(self, x, training=None):
        return x if training else x / 10


def test_what_is_worse_for_other_reasons_than_statistics(net):
    model = compiled(keras.Sequential([net, OtherwiseInInference()], name="otherwise"))
    [finding] = diagnosed(model).findings
    assert (finding.layer, finding.fault) == ("otherwise", "inference_worse")
    assert finding.measured["given_back"] < 0.1
    assert finding.why.startswith("Statistics are not why: ")
    assert finding.remedy == "keras_bn.surgery.convert(model, renorm=True)"
    apply_remedy(finding, net, digits())


class ScaledInTraining(keras.Layer):
    def call(self, x, training=None):
        return 2 * x if training else x


def test_inputs_that_are_others_in_training():
    model, data = fitted(small(between=lambda x: ScaledInTraining()(x)), epochs=2)
    [finding, *_] = diagnosed(model, data).findings
    assert (finding.layer, finding.fault) == (normalizations(model)[0].name, "other_inputs_in_training")
    assert finding.measured["variance_in_inference_to_training"] == pytest.approx(0.25, abs=0.01)
    apply_remedy(finding, model, data)
    assert diagnosed(model, data[0]).findings == []  # Training stays what it is, and inference is right, whatever it costs.


def test_dropout_in_front():
    model, data = fitted(small(between=layers.Dropout(0.5, name="dropped")), epochs=2)
    [finding] = diagnosed(model, data).findings
    assert (finding.layer, finding.fault, finding.measured["dropout"]) == (normalizations(model)[0].name, "dropout_in_front", "dropped")
    x = keras.Model(model.input, model.layers[2].output).predict(data[0], verbose=0).astype("float64")
    predicted = x.var(0).mean() / (x.var(0) + np.square(x).mean(0)).mean()  # Rate 0.5: the noise has variance 1.
    assert finding.measured["predicted"] == pytest.approx(predicted, rel=0.01)
    assert finding.measured["variance_in_inference_to_training"] == pytest.approx(predicted, abs=4 * finding.measured["standard_error"] * predicted)
    assert finding.measured["loss_recalibrated"] < finding.measured["loss_in_inference_mode"]
    apply_remedy(finding, model, data)
    assert diagnosed(model, data).findings == []


def test_statistics_that_were_never_updated(net):
    layer = normalizations(net)[2]
    layer.moving_mean.assign(np.zeros_like(layer.moving_mean))
    layer.moving_variance.assign(np.ones_like(layer.moving_variance))
    [finding] = diagnosed(net).findings
    assert (finding.layer, finding.fault) == (layer.name, "never_updated")


def test_a_net_that_was_never_trained():
    [finding] = diagnosed(healthy_nets.vgg()).findings
    assert finding.fault == "never_updated"
    assert len(finding.measured["layers"]) == 3


def test_statistics_that_warm_up():
    model, data = fitted(small(momentum=0.97))
    [finding, *_] = diagnosed(model, data).findings
    assert (finding.layer, finding.fault) == (normalizations(model)[0].name, "warming_up")
    assert finding.measured["updates"] == 57
    assert finding.measured["left"] == pytest.approx(0.97**57)
    apply_remedy(finding, model, data)


@pytest.mark.parametrize("frozen", ["trainable", "freeze", None])
def test_a_backbone_whose_statistics_are_of_other_data(nets, frozen):
    original, (x, y) = nets[healthy_nets.vgg], digits()
    copy = keras.models.clone_model(original)
    copy.set_weights(original.get_weights())
    backbone = keras.Model(copy.inputs, copy.layers[-2].output, name="backbone")
    for layer in normalizations(backbone):
        layer.momentum = 0.99
    if frozen == "trainable":
        backbone.trainable = False
    elif frozen == "freeze":
        surgery.freeze(backbone)
    model = keras.Sequential([keras.Input((8, 8, 1)), backbone, layers.Dense(10)])
    model, data = fitted(model, data=(2 * (1 - x), y))
    diagnosis = diagnosed(model, data)
    if frozen == "freeze":  # The convolutions have learned with them.
        assert "statistics_of_other_data" not in faults(diagnosis)
        assert "are others than these data have, by " in diagnosis.evidence
        assert diagnosis.doubtful == []
        return
    finding = diagnosis.findings[0]
    assert (finding.layer, finding.fault) == (normalizations(backbone)[0].name, "statistics_of_other_data" if frozen else "warming_up")
    if not frozen:
        assert finding.measured["given_back"] > 0.9
    apply_remedy(finding, model, data)
    if frozen:  # What recalibration of all would give is what it gives.
        assert model.evaluate(*data, verbose=0)[0] == pytest.approx(finding.measured["loss_all_recalibrated"], rel=1e-3)
        assert finding.measured["loss_all_recalibrated"] < finding.measured["loss_in_inference_mode"]


def test_channels_of_less_variance_than_epsilon(net):
    layer, convolution = normalizations(net)[1], net.layers[4]
    convolution.kernel.assign(convolution.kernel * np.where(np.arange(8) < 2, 1e-4, 1))
    surgery.recalibrate(net, digits(), verbose=False)
    [finding] = diagnosed(net).findings
    assert (finding.layer, finding.fault) == (layer.name, "variance_below_epsilon")
    assert (finding.measured["share"], finding.measured["channels"], finding.measured["constant"]) == (0.25, [0, 1], 0)
    names = apply_remedy(finding, net, digits())
    assert names["layer"].epsilon < 1e-8
    assert layer.epsilon == 0.001  # The weights have learned with it.


def test_constant_channels(net):
    convolution = net.layers[4]
    convolution.kernel.assign(convolution.kernel * np.where(np.arange(8) < 2, 0, 1))
    surgery.recalibrate(net, digits(), verbose=False)
    [finding] = diagnosed(net).findings
    assert finding.measured["constant"] == 0.25
    assert apply_remedy(finding, net, digits())["constant"].tolist() == [0, 1]


@pytest.mark.parametrize(("fault", "weight", "value"), [("gamma_near_zero", "gamma", 0.001), ("dead_channels", "beta", -20.0)])
def test_channels_that_carry_nothing(net, fault, weight, value):
    layer = normalizations(net)[2]
    variable = getattr(layer, weight)
    variable.assign(np.where(np.arange(16) < 4, value, variable))
    surgery.recalibrate(net, digits(), verbose=False)
    [finding] = diagnosed(net).findings
    assert (finding.layer, finding.fault, finding.measured["share"]) == (layer.name, fault, 0.25)
    apply_remedy(finding, net, digits())


def test_batches_of_few_values():
    model, data = fitted(small(), batch_size=4, examples=600)
    [finding] = diagnosed(model, data, batch_size=4).findings
    assert finding.fault == "few_values"
    assert finding.measured["values_a_channel"] == finding.measured["batch_size"] == 4
    apply_remedy(finding, model, data)


@pytest.mark.parametrize("as_dataset", [False, True])
def test_a_last_batch_of_one(as_dataset):
    model, data = fitted(small(), epochs=2, examples=897)
    if as_dataset:
        data = tf.data.Dataset.from_tensor_slices(data).batch(BATCH_SIZE)
    [finding, *_] = diagnosed(model, data).findings
    assert (finding.layer, finding.fault, finding.measured["smallest_batch"]) == (normalizations(model)[0].name, "last_batch_of_one", 1)
    data = apply_remedy(finding, model, data)["data"]
    assert "last_batch_of_one" not in faults(diagnosed(model, data))


def not_finite(net, what):
    """(model, data, the name of the layer)."""
    x, y = digits()
    if what == "data":
        return net, (np.where(np.arange(len(x))[:, None, None, None] == 100, np.nan, x), y), net.name
    if what == "targets":
        net.compile("sgd", "mse")
        return net, (x, np.where(y[:, None] + np.zeros(10) == 3, np.nan, 1)), net.name
    if what == "kernel":
        convolution = net.layers[7]
        convolution.kernel.assign(convolution.kernel * np.nan)
        return net, (x, y), convolution.name
    if what == "loss":
        net.compile("sgd", lambda y, outputs: tf.math.log(-tf.reduce_sum(tf.square(outputs), axis=-1)))
        return net, (x, y), net.name
    if what == "inputs":
        inputs = keras.Input((8, 8, 1))
        x = layers.Dense(10, name="behind")(keras.ops.log(layers.Flatten()(inputs) - 2))
        return compiled(keras.Model(inputs, layers.Dense(10)(BN()(x)))), digits(), "behind"
    logarithm = layers.TimeDistributed(layers.Activation(keras.ops.log, name="logarithm"))
    return compiled(keras.Sequential([keras.Input((8, 8, 1)), logarithm, layers.Flatten(), BN(), layers.Dense(10)])), (x, y), "logarithm"


@pytest.mark.parametrize("what", ["data", "targets", "kernel", "inputs", "outputs", "loss"])
def test_the_first_layer_that_is_not_finite(net, what):
    model, data, layer = not_finite(net, what)
    diagnosis = diagnosed(model, data)
    [finding] = diagnosis.findings
    assert (finding.layer, finding.fault, finding.measured["what"]) == (layer, "not_finite", what)
    assert diagnosis.evidence.endswith(", which is not finite; later batches were not read.")
    names = apply_remedy(finding, model, data)
    if what == "data":
        assert np.isfinite(names["data"][0]).all()


@pytest.mark.parametrize(
    ("fault", "options"),
    [("bias_in_front", {"bias": True}), ("several_in_a_row", {"between": lambda x: BN(momentum=0.9)(x)})],
)
def test_hints_of_what_is_in_front(fault, options):
    model, data = fitted(small(**options), epochs=2)
    [finding] = diagnosed(model, data).findings
    first = next(layer for layer in model.layers if isinstance(layer, layers.Dense))
    assert str(diagnosed(model, data)).startswith("small: nothing is wrong, 1 hint\n")
    normalization = normalizations(model)[0 if fault == "bias_in_front" else 1]
    assert (finding.layer, finding.fault) == (normalization.name, fault)
    assert len(finding.measured["layers"]) == 2
    names = apply_remedy(finding, model, data)
    if fault == "bias_in_front":
        assert (finding.measured["bias_of"], finding.measured["weights"]) == (first.name, 64)
        assert not names["layer"].use_bias
    else:
        assert finding.measured["in_front"] == normalizations(model)[0].name
        assert normalizations(names["copy"]) == []


@pytest.mark.parametrize(("fault", "padding"), [("not_foldable", "same"), ("behind_activation", "valid")])
def test_hints_of_what_is_behind_an_activation(fault, padding):
    inputs = keras.Input((8, 8, 1))
    x = BN(momentum=0.9)(layers.Conv2D(8, 3, activation="tanh", use_bias=False)(inputs))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, padding=padding)(x))
    model, data = fitted(keras.Model(inputs, layers.Dense(10)(x)), epochs=3)
    [finding] = diagnosed(model, data).findings
    assert (finding.layer, finding.fault, finding.measured["activation"]) == (normalizations(model)[0].name, fault, "tanh")
    apply_remedy(finding, model, data)


@pytest.mark.parametrize("spoilt", ["one channel", "order of channels"])
def test_single_channels_count(net, spoilt):
    """Which the means over the channels do not show."""
    layer = normalizations(net)[1]
    variance = layer.moving_variance.numpy()
    layer.moving_variance.assign(
        np.where(np.arange(8) == np.argmin(variance), 1e-3 * variance, variance) if spoilt == "one channel" else np.sort(variance)[::-1]
    )
    [finding] = diagnosed(net).findings
    assert (finding.layer, finding.fault) == (layer.name, "statistics_lag")
    assert finding.measured["shift"] >= finding.measured["channels_off_by"] > 0.1


def test_a_variance_below_0(net):
    layer = normalizations(net)[1]
    for value in (-1e-4, -1.0):  # Epsilon hides the former; the latter makes NaN.
        layer.moving_variance.assign(np.where(np.arange(8) == 3, value, layer.moving_variance))
        [finding] = diagnosed(net).findings
        assert (finding.layer, finding.fault, finding.measured["channels"]) == (layer.name, "negative_variance", [3])
    apply_remedy(finding, net, digits())
    assert diagnosed(net).findings == []


def test_a_variance_of_0_is_seen_without_losses(net):
    layer = normalizations(net)[1]
    layer.moving_variance.assign(np.zeros_like(layer.moving_variance))
    finding = diagnosed(net, digits()[0]).findings[0]
    assert (finding.layer, finding.fault) == (layer.name, "statistics_lag")


def test_few_data_tell_nothing(net):
    layer = normalizations(net)[1]
    layer.moving_variance.assign(1.5 * layer.moving_variance)
    diagnosis = diagnosed(net, digits()[0][:9])
    assert str(diagnosis).startswith("vgg: nothing is certain\n")
    assert layer.name in diagnosis.doubtful
    assert "These data are too few to tell a shift of " in diagnosis.evidence


def test_a_layer_of_momentum_1_moves_no_statistics_and_is_recalibrated(net):
    """In training mode it normalises by the batch all the same."""
    layer = normalizations(net)[1]
    layer.momentum = 1.0
    layer.moving_mean.assign(layer.moving_mean + np.sqrt(layer.moving_variance))
    [finding] = diagnosed(net).findings
    assert (finding.layer, finding.fault) == (layer.name, "statistics_lag")
    assert finding.measured["given_back"] > 0.9


def test_masked_positions_are_not_active(rng):
    inputs = keras.Input((7,), dtype="int32")
    x = layers.ReLU()(BN(momentum=0.9, name="normal")(layers.Embedding(20, 4, mask_zero=True)(inputs)))
    model = keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)))
    table = rng.normal(1, 2, (20, 4))
    table[0] = 1000  # Of the padding.
    model.layers[1].embeddings.assign(table)
    tokens = rng.integers(1, 20, (320, 7)) * (np.arange(7) < 3)
    surgery.recalibrate(model, tokens, verbose=False)
    model.get_layer("normal").beta.assign([-20, 0, 0, 0])
    [finding] = diagnosed(model, tokens).findings
    assert (finding.fault, finding.measured["channels"]) == ("dead_channels", [0])


def test_frozen_layers_need_the_bias_in_front(net):
    model, data = fitted(small(bias=True), epochs=3)
    surgery.freeze(model)
    model.compile("sgd", model.loss)
    assert diagnosed(model, data).findings == []


def test_data_that_are_shuffled_anew_are_compared_batch_by_batch(net):
    layer = normalizations(net)[1]
    layer.moving_mean.assign(layer.moving_mean + 0.3 * np.sqrt(layer.moving_variance))
    x, y = digits()
    y = np.random.default_rng(0).permutation(y)  # Losses that scatter much, all the same in both modes.
    shuffled = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(2000).batch(BATCH_SIZE)
    errors = []
    for data in ((x, y), shuffled):
        evidence = gathered(net, data, BATCH_SIZE, lambda unit: lambda done, number: None)
        gain = evaluations.difference(evidence.evaluations["inference mode"], evidence.evaluations["recalibrated"])
        apart = evidence.evaluations["inference mode"].loss - evidence.evaluations["recalibrated"].loss
        assert gain.value == pytest.approx(apart, rel=1e-4)
        errors.append(gain.error)
    assert errors[1] < 1.4 * errors[0]


class Raises(keras.metrics.Metric):
    def __init__(self):
        super().__init__(name="raises")
        self.total = self.add_variable((), "zeros", name="total")

    def update_state(self, y, outputs, sample_weight=None):
        self.total.assign_add(1.0)
        if self.total > 5:
            raise RuntimeError("no more")

    def result(self):
        return keras.ops.convert_to_tensor(self.total)


def test_a_metric_that_raises_is_left_as_it_was(net):
    metric = Raises()
    net.compile("sgd", net.loss, metrics=[metric], run_eagerly=True)
    net.evaluate(*(values[:64] for values in digits()), verbose=0)
    metric.total.assign(4.0)
    with pytest.raises(ValueError, match=r"^vgg cannot be evaluated on a batch of the data; expected what `fit` takes: no more\.$"):
        diagnosed(net)
    assert float(metric.total) == 4


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 6

    def __getitem__(self, index):
        return tuple(values[32 * index : 32 * index + 32] for values in digits())


def test_data_of_every_kind_are_read_alike(net):
    x, y = (values[:192] for values in digits())
    of_arrays = diagnosed(net, (x, y)).evaluations["inference mode"]
    for data in (Batches(), [Batches()[index] for index in range(6)], tf.data.Dataset.from_tensor_slices((x, y)).batch(32)):
        assert diagnosed(net, data).evaluations["inference mode"] == pytest.approx(of_arrays, rel=1e-5)


def test_accumulated_gradients_are_updates_of_the_statistics():
    model = small(momentum=0.99)
    model.compile(keras.optimizers.SGD(0.05, gradient_accumulation_steps=8), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x, y = digits()
    model.fit(x, y, verbose=0)
    assert diagnosed(model).findings[0].measured["updates"] == 57


class TrainsByItself(keras.Model):
    def train_step(self, data):
        return {}


def test_why_losses_are_not_compared(net):
    model = TrainsByItself(net.input, net.output, name="own")
    model.compile("sgd")
    assert diagnosed(model).evidence.endswith("No losses were compared, as own has a `train_step` of its own, and no compiled loss.")
    bare = keras.Model(net.input, net.output, name="bare")
    bare.compile("sgd")
    assert diagnosed(bare).evidence.endswith("No losses were compared, as bare is compiled without a loss.")
    x, y = digits()
    compiled(net)
    assert diagnosed(net, (x[:64], y[:64])).evidence.endswith("Losses of 2 batches are too few to be compared: give 6.")


def test_remedies_where_layers_have_what_is_advised_or_are_frozen():
    model, data = fitted(small(), batch_size=4, examples=200)
    model = compiled(surgery.convert(model, renorm=True))
    model.fit(*data, batch_size=4, verbose=0)
    [finding] = [finding for finding in diagnosed(model, data, batch_size=4).findings if finding.fault == "few_values"]
    assert isinstance(apply_remedy(finding, model, data)["layer"], layers.LayerNormalization)
    model = compiled(small())
    surgery.freeze(model)
    finding = diagnosed(model).findings[0]
    assert finding.fault == "never_updated"
    apply_remedy(finding, model, digits())
    assert "never_updated" not in faults(diagnosed(model))


def test_ghost_batches_hold_few_values():
    model, data = fitted(surgery.convert(small(), virtual_batch_size=4), examples=600)
    diagnosis = diagnosed(model, data)
    assert [(finding.fault, finding.measured["values_a_channel"]) for finding in diagnosis.findings] == [("few_values", 4)]


def test_without_losses_what_is_known_is_said(net):
    layer = normalizations(net)[1]
    layer.moving_variance.assign(9 * layer.moving_variance)
    for model, data, why in (
        (net, digits()[0], "the data hold no targets"),
        (keras.Model(net.input, net.output, name="bare"), digits(), "bare is not compiled"),
    ):
        diagnosis = diagnosed(model, data)
        assert (diagnosis.findings[0].layer, diagnosis.findings[0].fault) == (layer.name, "statistics_lag")
        assert diagnosis.evaluations == {}
        assert diagnosis.evidence.endswith(f"No losses were compared, as {why}.")


def test_metrics_and_the_random_state_are_left_alone(nets):
    model, data = nets[healthy_nets.mobilenet], digits()
    model.evaluate(data[0][:64], data[1][:64], verbose=0)
    before = [keras.ops.convert_to_numpy(variable) for metric in model.metrics for variable in metric.variables]
    state = [keras.ops.convert_to_numpy(variable) for variable in model.non_trainable_variables]
    diagnosed(model, data)
    assert all(np.array_equal(one, other) for one, other in zip(before, [variable for metric in model.metrics for variable in metric.variables], strict=True))
    assert all(np.array_equal(one, other) for one, other in zip(state, model.non_trainable_variables, strict=True))


def test_the_standard_error_is_that_of_a_weighted_mean(rng):
    """Against the scatter of many draws, with batches of unequal sizes."""
    sizes = np.array([32.0] * 20 + [5.0])
    draws = [evaluations.Evaluation(rng.normal(2, 1 / np.sqrt(sizes)), sizes, {}) for _ in range(2000)]
    assert np.std([draw.loss for draw in draws]) == pytest.approx(np.sqrt(np.mean([draw.error**2 for draw in draws])), rel=0.06)


def test_values_of_each_call_count_by_themselves(nets):
    model, data = nets[healthy_nets.siamese], healthy_nets.data_of(healthy_nets.siamese)
    values = gathered(model, keras.tree.map_structure(lambda array: array[:64], data), 32, lambda unit: lambda done, number: None).values
    assert {name: each.tolist() for name, each in values.items()} == {"01_batch_normalization": [32 * 36] * 2, "02_batch_normalization": [32] * 2}


class LossOfItsOwn(keras.Model):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return 0.0 * keras.ops.sum(y_pred) + (1.0 if training else 2.0)


def test_the_loss_of_each_mode_is_told_the_mode(net):
    model = LossOfItsOwn(net.input, net.output)
    model.compile("sgd")
    assert {mode: each["loss"] for mode, each in diagnosed(model).evaluations.items()} == {"training mode": 1, "inference mode": 2, "recalibrated": 2}


def test_hints_are_no_faults_in_the_picture_and_numbers_without_end_none_in_json():
    shifts = [report.Shift("one", 1.0, 0.1, 0.0, np.inf, ("bias_in_front",)), report.Shift("other", np.inf, 0.1, 0.0, 0.1, ("few_values", "bias_in_front"))]
    diagnosis = report.Diagnosis("net", [], "", {}, shifts, [])
    assert [label.get_fontweight() for label in diagnosis.plot().axes[0].get_yticklabels()] == ["normal", "bold"]
    plain = json.loads(json.dumps(diagnosis.to_dict(), allow_nan=False))["shifts"]
    assert (plain[0]["mean_error"], plain[1]["variance"], plain[1]["faults"]) == (None, None, ["few_values", "bias_in_front"])


def test_reports(net, tmp_path):
    layer = normalizations(net)[1]
    layer.moving_variance.assign(9 * layer.moving_variance)
    diagnosis = diagnosed(net)
    assert diagnosis.faults == diagnosis.findings
    for suffix in report.SUFFIXES:
        diagnosis.write(tmp_path / f"report{suffix}")
    assert (tmp_path / "report.txt").read_text() == f"{diagnosis}\n"
    assert (tmp_path / "report.md").read_text() == diagnosis.markdown()
    assert json.loads((tmp_path / "report.json").read_text()) == json.loads(json.dumps(diagnosis.to_dict()))
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")
    assert diagnosis.to_dict()["findings"][0]["layer"] == layer.name
    page, markdown = str(diagnosis), diagnosis.markdown()
    for text in ("vgg: 1 finding\n", f"1. {layer.name}: statistics_lag\n", "\n   remedy   keras_bn.surgery.recalibrate(model, data)"):
        assert text in page
    for text in ("# vgg: 1 finding\n", f"## 1. {layer.name}: statistics_lag\n", "```python\nkeras_bn.surgery.recalibrate(model, data)\n```\n"):
        assert text in markdown
    labels = diagnosis.plot().axes[0].get_yticklabels()
    assert [label.get_text() for label in labels] == [each.name for each in normalizations(net)]
    assert [label.get_fontweight() for label in labels] == ["normal", "bold", "normal"]
    with pytest.raises(ValueError, match=r"report\.html says by its end what is to be written; expected one of \.txt, \.md, .*: choose one\."):
        diagnosis.write(tmp_path / "report.html")
    with pytest.raises(OSError, match="No such file"):
        diagnosis.write(tmp_path / "none" / "report.txt")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"report{suffix}" for suffix in report.SUFFIXES)


def test_sizes_of_batches_are_refused(net):
    for size in (0, -1, None, 2.5):
        for tool in (surgery.diagnose, surgery.recalibrate):
            with pytest.raises(ValueError, match=rf"^`batch_size` is {size}; expected a positive whole number: leave it out for 32\.$"):
                tool(net, digits()[0], batch_size=size)


def test_refusals(net):
    x, y = digits()
    for model, data, message in (
        ("vgg.keras", x, "`model` is 'vgg.keras'; expected a keras.Model: if it is a path, load it by keras.saving.load_model."),
        (keras.Sequential([keras.Input((2,)), layers.Dense(1)], name="plain"), x, "plain has no batch normalisation layer; expected one at least: "),
        (net, iter([x]), "`data` is a list_iterator, used up once it is read; expected what can be read again: a dataset."),
        (net, [], "`data` holds no batch; expected one at least: "),
        (net, x[:, :4], "vgg cannot be evaluated on a batch of the data; expected what `fit` takes: "),
        (net, (x, y[:5]), "`data` holds arrays of 1797, 5 examples; expected equal numbers"),
        (net, (x, list(y)), "`data` holds targets or weights that are no array (0); expected arrays: convert them by np.asarray."),
        (net, (x, np.zeros((len(x), 3, 2))), "vgg cannot be evaluated on a batch of the data; expected what `fit` takes: "),
    ):
        with pytest.raises(ValueError, match=re.escape(message)) as error:
            diagnosed(model, data)
        assert str(error.value).startswith(message)
        assert str(error.value).endswith(".")
