"""One training: what it records, and that it ends the same although it was killed, at any moment."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing import event_accumulator

from keras_bn import summaries
from recipes.frame import checkpoint, training
from recipes.frame.records import has_diverged
from recipes.frame.refusal import Refusal


class KilledError(Exception):
    pass


class Progress:
    """Counts steps and records, and kills the training after a given number of steps."""

    def __init__(self, kill_after=None):
        self.number, self.records, self.kill_after = 0, [], kill_after

    def skip(self, number):
        self.number += number

    def step(self):
        self.number += 1
        if self.number == self.kill_after:
            raise KilledError

    def record(self, record):
        self.records.append(record)


@pytest.fixture
def train(tmp_path):
    def train(one, name="run", progress=None, net_of_start=lambda: None):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        return training.train(one, folder, folder / "tensorboard", progress or Progress(), net_of_start)

    return train


def without_seconds(records):
    return [{name: value for name, value in record.items() if name != "seconds"} for record in records]


def state(path):
    with np.load(path / "checkpoint.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files if name != "records"}


# 3 steps an epoch, 3 epochs: in the first epoch, in the second, in the last.
@pytest.mark.parametrize(("contestant", "kills"), [("grown", [1, 5, 8]), ("batch_norm", [4]), ("auxiliary", [4])])
def test_a_training_that_is_killed_ends_where_it_would_have_ended(contestant, kills, train, make, tmp_path):
    start = make("shallow", depth=11) if contestant == "grown" else None
    one = make(contestant, start=start)
    if start is not None:
        train(start, "start")

    def net_of_start():
        return None if start is None else training.restored(start, tmp_path / "start")

    records, net = train(one, "whole", net_of_start=net_of_start)
    for kill in kills:
        with pytest.raises(KilledError):
            train(one, "killed", Progress(kill_after=kill), net_of_start)
    resumed = Progress()
    resumed_records, resumed_net = train(one, "killed", resumed, net_of_start)
    assert without_seconds(resumed_records) == without_seconds(records)
    assert resumed.number == records[-1]["step"] == 9
    whole, killed = state(tmp_path / "whole"), state(tmp_path / "killed")
    assert whole.keys() == killed.keys()
    for name in whole:  # Weights, moving statistics, the seeds of Dropout, momenta and the step of the optimizer.
        np.testing.assert_allclose(killed[name], whole[name], rtol=0, atol=1e-6)
    for variable, expected in zip(resumed_net.variables, net.variables):
        np.testing.assert_allclose(variable, expected, rtol=0, atol=1e-6)
    written = [json.loads(line) for line in (tmp_path / "killed" / "metrics.jsonl").read_text().splitlines()]
    assert without_seconds(written) == without_seconds(records)


def test_a_longer_training_goes_on_where_a_shorter_one_ended(train, make, tmp_path):
    """5 steps are in the middle of the second epoch."""
    whole, _ = train(make("batch_norm", depth=11, steps=8), "whole")
    train(make("batch_norm", depth=11, steps=5), "extended")
    extended, _ = train(make("batch_norm", depth=11, steps=8), "extended")
    assert [record["step"] for record in extended if "loss" in record] == [3, 5, 6, 8]
    assert [record["step"] for record in extended if "recalibrated_test_accuracy" in record] == [8]
    assert without_seconds(extended)[-2:] == without_seconds(whole)[-2:]
    for name, value in state(tmp_path / "whole").items():
        np.testing.assert_allclose(state(tmp_path / "extended")[name], value, rtol=0, atol=1e-6)


def test_a_checkpoint_holds_every_variable(train, make, tmp_path):
    _, net = train(make("batch_norm"))
    kinds = [variable.path.rsplit("/", 1)[-1] for variable in checkpoint._variables(net)]
    assert {"kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance", "seed_generator_state", "iteration"} <= set(kinds)
    assert sum("momentum" in kind for kind in kinds) == len(net.trainable_variables)
    assert len(state(tmp_path / "run")) == len(kinds)


def test_records_and_charts_tell_the_same_of_measures_too(train, make, tmp_path):
    one = make("plain", depth=11, measure_every=4)
    with pytest.raises(KilledError):
        train(one, progress=Progress(kill_after=5))
    records, _ = train(one)
    assert [record["step"] for record in records if "loss" in record] == [3, 6, 9]
    assert sorted({record["step"] for record in records if "loss_landscape/effective_smoothness" in record}) == [0, 4, 8]
    expected = {}
    for record in records:
        expected |= {
            (record["step"], tag): np.float32(value) for tag, value in record.items() if tag not in ("step", "seconds") and not isinstance(value, bool)
        }
    charts = summaries.read_scalars(tmp_path / "run" / "tensorboard")
    shown = {(record["step"], tag): value for record in charts for tag, value in record.items() if tag != "step" and not tag.startswith("0_summary")}
    assert shown == pytest.approx(expected)
    points = event_accumulator.EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload().Tensors("test_accuracy")
    assert [point.step for point in points] == [3, 6, 9]  # None twice, though the training was killed.


def test_records_hold_what_the_net_does_on_the_test_images(train, make, dataset):
    records, net = train(make("batch_norm"))
    _, _, x_test, y_test = dataset.in_memory()
    logits = net(x_test, training=False).numpy().astype(np.float64)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    last = [record for record in records if "loss" in record][-1]
    assert last["test_accuracy"] == pytest.approx(np.mean(logits.argmax(axis=1) == y_test), abs=1e-6)
    likelihood = probabilities[np.arange(len(logits)), y_test]
    assert last["test_cross_entropy"] == pytest.approx(-np.log(likelihood).mean(), rel=1e-4)


def test_the_loss_of_auxiliary_classifiers_counts_0_3(make, dataset):
    one = make("auxiliary", weight_decay=0.0)
    net = one.build(None)
    one.task.compile(net, one.optimizer(), False)
    _, _, x_test, y_test = dataset.in_memory()
    loss = net.evaluate(x_test, [y_test] * 3, verbose=0, return_dict=True)["loss"]
    main, *auxiliary = (keras.losses.sparse_categorical_crossentropy(y_test, logits, from_logits=True) for logits in net(x_test))
    expected = np.mean(main) + 0.3 * sum(np.mean(losses) for losses in auxiliary)
    assert loss == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_sgd_is_the_textbooks(jit_compile, train, make, dataset):
    """Two steps by hand: v <- momentum * v - rate * gradient, w <- w + v, with the training's own first two batches."""
    one = make("plain", depth=11, dropout=0.0, steps=2, jit_compile=jit_compile)
    _, net = train(one)
    keras.utils.set_random_seed(int(np.random.SeedSequence([3, 0]).generate_state(1)[0]))
    expected = one.build(None)
    velocity = [np.zeros(variable.shape) for variable in expected.trainable_variables]
    for x, y in dataset.training_batches(16, 3, 0).take(2):
        with tf.GradientTape() as tape:
            losses = keras.losses.sparse_categorical_crossentropy(y, expected(x, training=True), from_logits=True)
            loss = tf.reduce_mean(losses) + tf.add_n(expected.losses)
        for index, gradient in enumerate(tape.gradient(loss, [variable.value for variable in expected.trainable_variables])):
            velocity[index] = 0.9 * velocity[index] - 0.01 * gradient.numpy()
            expected.trainable_variables[index].assign_add(velocity[index])
    for variable, value in zip(net.trainable_variables, expected.trainable_variables):
        np.testing.assert_allclose(variable, value, atol=1e-5)


def test_a_loss_that_is_not_finite_ends_the_training_and_keeps_the_record(train, make, tmp_path):
    one = make("plain", depth=13, learning_rate=1e9)
    records, _ = train(one)
    assert has_diverged(records)
    assert records[-1]["step"] < 9
    assert {records[-1][name] for name in ("loss", "training_accuracy", "training_cross_entropy", "test_accuracy", "test_cross_entropy")} == {None}
    assert [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()] == records
    again = Progress()
    assert train(one, progress=again)[0] == records
    assert again.records == []


def test_a_checkpoint_of_another_net_is_refused_and_nothing_assigned(train, make, tmp_path):
    train(make("plain", depth=11, steps=1))
    one = make("plain", depth=13)
    other = one.build(None)
    one.task.compile(other, one.optimizer(), False)
    before = [variable.numpy() for variable in other.variables]
    path = tmp_path / "run" / "checkpoint.npz"
    with pytest.raises(Refusal, match="do not fit") as caught:
        checkpoint.restore(path, other)
    assert str(caught.value).startswith(f"{path} holds ")
    assert str(caught.value).endswith("delete it to start that training over.")
    for variable, value in zip(other.variables, before):
        np.testing.assert_array_equal(variable, value)


@pytest.mark.parametrize("content", [b"", b"PK\3\4 broken"])
def test_a_checkpoint_that_is_broken_is_refused(content, tmp_path):
    path = tmp_path / "checkpoint.npz"
    path.write_bytes(content)
    with pytest.raises(Refusal) as caught:
        checkpoint.read_records(path)
    assert str(caught.value).startswith(f"{path} cannot be read (")
    assert str(caught.value).endswith("); delete it to start that training over.")
