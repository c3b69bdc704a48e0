"""Patterns of real programs: the callbacks measure them right, and leave their training as it is."""

import json
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
import trainings

import keras_bn
from keras_bn import callbacks, measures
from keras_bn.callbacks import announcement
from keras_bn.inspection import evaluation
from keras_bn.inspection.prepared import prepared
from keras_bn.measures import activations, covariate_shift
from keras_bn.measures.loss_landscape import Measure as LandscapeMeasure
from keras_bn.measures.variance_shift import Measure as VarianceMeasure


def layers_measured(record, quantity):
    """Layers of one quantity, such as internal_covariate_shift/l2, in the order of their tags."""
    return sorted(tag.removeprefix(f"{quantity}/") for tag in record if tag.startswith(f"{quantity}/"))


def compiled(model, learning_rate=0.1):
    model.compile(keras.optimizers.SGD(learning_rate), keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    return model


class Unfreezing(keras.callbacks.Callback):
    """Gradual unfreezing: the first layers train from the second epoch on."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            for layer in self.model.layers:
                layer.trainable = True
            compiled(self.model)
            self.model.make_train_function()


def test_gradual_unfreezing(tmp_path):
    def network():
        model = trainings.network(dropout=0)
        for layer in model.layers[:2]:
            layer.trainable = False
        return compiled(model)

    def train(model, with_callbacks):
        keras.utils.set_random_seed(1)
        model.fit(trainings.X[:16], trainings.Y[:16], batch_size=8, epochs=2, shuffle=False, verbose=0, callbacks=with_callbacks)
        return model

    keras.utils.set_random_seed(0)
    snapshots, instruments = trainings.Snapshots(), trainings.instruments(str(tmp_path), every=1)
    model = train(network(), [snapshots, *instruments, Unfreezing()])  # Behind the instruments, so that an epoch begins with the layers still frozen.
    shift, variances, landscape, statistics = instruments
    assert [record["step"] for record in shift.history] == [0, 1, 0, 1]
    assert [layers_measured(record, "internal_covariate_shift/l2") for record in shift.history] == [["02_dense", "03_dense"]] * 2 + [
        ["01_dense", "02_dense", "03_dense"]
    ] * 2
    end = trainings.everything(model)
    for index, (before, after) in enumerate(zip(snapshots.before, snapshots.after)):
        part = slice(8 * (index % 2), 8 * (index % 2) + 8)
        for layer in model.layers[:2]:
            layer.trainable = index > 1
        compiled(model)
        snapshots.put_back(index)
        shifts = measures.internal_covariate_shift(model, before, after, trainings.X[part], trainings.Y[part]) if index in (0, 3) else []
        for one in shifts:
            np.testing.assert_allclose(shift.history[index][f"internal_covariate_shift/l2/{one.layer}"], one.l2, rtol=1e-4, atol=1e-6)
    assert len(landscape.history) == len(statistics.history) == 4
    norms = [record["loss_landscape/gradient_norm"] for record in landscape.history]
    for norm, before, after in zip(norms, snapshots.before, snapshots.after):  # Plain SGD goes along the gradient.
        np.testing.assert_allclose(norm, np.sqrt(sum(((one - other) ** 2).sum() for one, other in zip(before, after))) / 0.1, rtol=1e-3)
    # Frozen, the first normalisation layer normalises by its moving statistics.
    assert [record["activation_statistics/mean_change/01_batch_normalization"] == 0 for record in statistics.history] == [True, True, False, False]
    assert [layers_measured(record, "variance_shift/ratio") for record in variances.history] == [["01_batch_normalization", "02_batch_normalization"]] * 2
    steps = [record["step"] for record in keras_bn.summaries.read_scalars(tmp_path)]
    assert steps == [0, 1, 2]

    keras.utils.set_random_seed(0)
    plain = train(network(), [Unfreezing()])
    for expected, got in zip(trainings.everything(plain), end, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_gan_with_a_frozen_discriminator():
    def play(instruments):
        keras.utils.set_random_seed(2)
        layers = keras.layers
        generator = keras.Sequential([keras.Input((3,)), layers.Dense(6), keras_bn.BatchNormalization(), layers.ReLU(), layers.Dense(5)])
        discriminator = keras.Sequential([keras.Input((5,)), layers.Dense(6), layers.LeakyReLU(), layers.Dense(1)])
        discriminator.compile(keras.optimizers.SGD(0.05), keras.losses.BinaryCrossentropy(from_logits=True))
        discriminator.trainable = False
        gan = keras.Sequential([keras.Input((3,)), generator, discriminator])
        gan.compile(keras.optimizers.SGD(0.05), keras.losses.BinaryCrossentropy(from_logits=True), jit_compile=False)
        noise = np.random.default_rng(0).normal(size=(32, 3)).astype("float32")
        for start in range(0, 32, 8):
            part = noise[start : start + 8]
            both = np.concatenate([trainings.X[start : start + 8], np.asarray(generator(part))])
            discriminator.trainable = True
            discriminator.train_on_batch(both, np.repeat([1.0, 0.0], 8)[:, None])
            discriminator.trainable = False
            gan.fit(part, np.ones((8, 1)), batch_size=8, verbose=0, callbacks=instruments)
        return gan, noise

    instruments = [callbacks.InternalCovariateShift(every=1, strict=True), callbacks.LossLandscape(every=1, strict=True)]
    variances = callbacks.VarianceShift(np.random.default_rng(0).normal(size=(32, 3)).astype("float32"), every="epoch", strict=True)
    gan, noise = play([*instruments, variances])
    for instrument in instruments:
        assert [record["step"] for record in instrument.history] == [0, 1, 2, 3]
    for record in instruments[0].history:
        assert layers_measured(record, "internal_covariate_shift/l2") == ["01_dense", "02_dense"]  # The discriminator's are the third and the fourth.
    [shift] = measures.variance_shift(gan, noise)
    assert variances.history[-1]["variance_shift/ratio/01_batch_normalization"] == pytest.approx(shift.ratio, rel=1e-6)
    for expected, got in zip(trainings.everything(play([])[0]), trainings.everything(gan)):
        np.testing.assert_array_equal(got, expected)


def test_time_distributed():
    """Around every layer in turn, the normalisation included, whose calls count together."""
    x = np.random.default_rng(0).normal(1, 2, (16, 4, 5)).astype("float32")
    layers = [keras.layers.TimeDistributed(layer) for layer in (keras.layers.Dense(4), keras_bn.BatchNormalization())]
    model = compiled(keras.Sequential([keras.Input((4, 5)), *layers, keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(3)]))
    instruments = [callbacks.InternalCovariateShift(every=1, strict=True), callbacks.VarianceShift(x, strict=True)]
    model.fit(x, trainings.Y[:16], batch_size=8, verbose=0, callbacks=instruments)
    assert [len(instrument.history) for instrument in instruments] == [2, 2]
    assert layers_measured(instruments[0].history[0], "internal_covariate_shift/l2") == ["01_dense", "02_dense"]
    [shift] = measures.variance_shift(model, x)
    np.testing.assert_allclose(shift.variance, layers[0](x).numpy().astype("float64").reshape(-1, 4).var(0), rtol=1e-5)


def test_variable_lengths_are_traced_a_few_times():
    """Twelve lengths; the padding is masked."""
    rng = np.random.default_rng(0)
    lengths = [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]
    sentences = [rng.normal(1, 2, (4 + length % 3, length, 5)).astype("float32") for length in lengths]
    for sentence in sentences:
        sentence[1, 2:] = 0

    def batches():
        for sentence in sentences:
            yield sentence, trainings.Y[: len(sentence)]

    data = tf.data.Dataset.from_generator(batches, output_signature=(tf.TensorSpec((None, None, 5), tf.float32), tf.TensorSpec((None,), tf.int64)))
    layers = [keras.layers.Masking(), keras.layers.Dense(4), keras_bn.BatchNormalization(), keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(3)]
    model = compiled(keras.Sequential([keras.Input((None, 5)), *layers]))
    instruments = [
        callbacks.InternalCovariateShift(every=1, strict=True),
        callbacks.LossLandscape(every=1, strict=True),
        callbacks.VarianceShift(data, every="epoch", strict=True),
        callbacks.ActivationStatistics((sentences[0], trainings.Y[: len(sentences[0])]), every=1, strict=True),
    ]
    model.fit(data, verbose=0, callbacks=instruments)
    assert [len(instrument.history) for instrument in instruments] == [12, 12, 1, 12]
    for sentence in sentences:
        measures.activation_statistics(model, sentence)
    kinds = prepared(LandscapeMeasure, model, None), prepared(VarianceMeasure, model), prepared(activations.Measure, model, None)
    functions = [measure.function for measure in (covariate_shift.measure_of(model, evaluation.batch_of(sentences[0])), *kinds)]
    functions += [measure._moments for measure in kinds[1:]]
    assert all(1 <= function.experimental_get_tracing_count() <= 6 for function in functions)
    z = [model.layers[1](sentence).numpy()[(sentence != 0).any(-1)] for sentence in sentences]
    [shift] = measures.variance_shift(model, data)
    np.testing.assert_allclose(shift.variance, np.concatenate(z).astype("float64").var(0), rtol=1e-5)


class Unbuilt(keras.Model):
    """Its weights come with its first call."""

    def __init__(self):
        super().__init__()
        self.hidden, self.normalisation, self.last = keras.layers.Dense(4), keras_bn.BatchNormalization(), keras.layers.Dense(3)

    def call(self, x):
        return self.last(self.normalisation(self.hidden(x)))


def sequential_without_input():
    return keras.Sequential([keras.layers.Dense(4), keras_bn.BatchNormalization(), keras.layers.Dense(3)])


def built_in_name_only():
    model = Unbuilt()
    with pytest.warns(UserWarning, match="unbuilt state"):
        model.build((None, 5))
    assert model.built
    assert not model.variables
    return model


@pytest.mark.parametrize("make", [Unbuilt, sequential_without_input, built_in_name_only])
def test_a_model_that_is_not_built_is_built_from_the_first_batch(make):
    def train(with_callbacks):
        keras.utils.set_random_seed(3)
        model = compiled(make())
        model.fit(trainings.X, trainings.Y, batch_size=8, verbose=0, shuffle=False, callbacks=with_callbacks)
        return model

    instruments = trainings.instruments(every=2)
    measured = train(instruments)
    for instrument, steps in zip(instruments, ([0, 2, 4], [6], [0, 2, 4], [0, 2, 4])):
        assert [record["step"] for record in instrument.history] == steps
    assert layers_measured(instruments[0].history[0], "internal_covariate_shift/l2") == ["01_dense", "02_dense"]
    plain = train([])
    if isinstance(plain, keras.Sequential):
        assert measured.input_shape == plain.input_shape == (None, 5)
    for expected, got in zip(trainings.everything(plain), trainings.everything(measured), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_history_is_json_whatever_is_measured(tmp_path):
    """A learning rate of 0: what is divided by it is NaN or infinite."""
    model = compiled(trainings.network(), learning_rate=0.0)
    instrument = callbacks.LossLandscape(str(tmp_path), every=2, strict=True)
    model.fit(trainings.X, trainings.Y, batch_size=8, verbose=0, callbacks=[instrument])
    records = keras_bn.summaries.read_scalars(tmp_path)
    for record, logged in zip(json.loads(json.dumps(instrument.history, allow_nan=False)), records, strict=True):
        assert record["loss_landscape/effective_smoothness"] is None
        assert np.isnan(logged["loss_landscape/effective_smoothness"])
        assert record["loss_landscape/loss"] > 0


def test_a_model_compiled_anew_within_an_epoch(tmp_path):
    """With another optimizer steps begin at 0 again, and the chart with them."""

    class Again(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 2:
                compiled(self.model)
                self.model.make_train_function()

    instruments = [callbacks.LossLandscape(str(tmp_path), every=2, strict=True), callbacks.VarianceShift(trainings.X, every=2, strict=True)]
    compiled(trainings.network()).fit(trainings.X, trainings.Y, batch_size=8, verbose=0, callbacks=[*instruments, Again()])
    assert [[record["step"] for record in instrument.history] for instrument in instruments] == [[0, 2, 0, 2], [2, 2]]
    logged = [record["loss_landscape/loss"] for record in keras_bn.summaries.read_scalars(tmp_path)]
    np.testing.assert_allclose(logged, [record["loss_landscape/loss"] for record in instruments[0].history[2:]], rtol=1e-6)


class Waiting(keras.Layer):
    """Takes its time when it is traced for a measurement."""

    waits = threading.Event()

    def call(self, x):
        if keras.src.backend.common.stateless_scope.in_stateless_scope():
            assert self.waits.wait(60)
        return x

    def compute_output_shape(self, shape):
        return shape


def test_who_waits_for_what_is_prepared_is_told(capsys, monkeypatch):
    monkeypatch.setattr(announcement, "SECONDS", 0.0)
    monkeypatch.setattr(Waiting, "waits", threading.Event())
    monkeypatch.setattr(announcement, "print", lambda *words, **options: (print(*words, **options), Waiting.waits.set()), raising=False)
    model = compiled(keras.Sequential([keras.Input((5,)), keras.layers.Dense(4), Waiting(), keras.layers.Dense(3)], name="net"))
    instrument = callbacks.LossLandscape(every=1, strict=True)
    model.fit(trainings.X[:16], trainings.Y[:16], batch_size=8, verbose=0, callbacks=[instrument])
    assert len(instrument.history) == 2
    assert "LossLandscape prepares its measurements of net, which happens once." in capsys.readouterr().out


def test_a_list_is_the_inputs_of_a_net_that_has_several():
    one, other = (keras.Input((5,), name=name) for name in ("one", "other"))
    outputs = keras.layers.Dense(3)(keras.layers.ReLU()(keras_bn.BatchNormalization()(keras.layers.Concatenate()([one, other]))))
    several, single = compiled(keras.Model([one, other], outputs)), compiled(trainings.network())
    x = trainings.X
    statistics = [callbacks.ActivationStatistics(data, every=5, strict=True) for data in ([x, x], ([x, x], trainings.Y))]
    several.fit([x, x], trainings.Y, batch_size=8, verbose=0, callbacks=statistics)
    assert [any("gradient_ratio" in tag or "dead" in tag for tag in instrument.history[0]) for instrument in statistics] == [True, True]
    with_targets = callbacks.ActivationStatistics([x, trainings.Y], every=5, strict=True)
    single.fit(x, trainings.Y, batch_size=8, verbose=0, callbacks=[with_targets])
    assert any("gradient_ratio" in tag for tag in with_targets.history[0])
