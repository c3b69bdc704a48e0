"""One training: what it records, and that it ends the same although it was killed, at any moment."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing import event_accumulator

from keras_bn import summaries
from recipes import checkpoint, training
from recipes.refusal import Refusal


class KilledError(Exception):
    pass


class Progress:
    """Counts steps and epochs, and kills the training after a given number of steps."""

    def __init__(self, kill_after=None):
        self.number, self.records, self.kill_after = 0, [], kill_after

    def skip(self, number):
        self.number += number

    def step(self):
        self.number += 1
        if self.number == self.kill_after:
            raise KilledError

    def epoch(self, record):
        self.records.append(record)


@pytest.fixture
def train(tmp_path, dataset, settings):
    def train(phases, name="run", progress=None, **arguments):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        arguments = {"settings": settings, "learning_rate": 0.01, **arguments}
        return training.train(phases, dataset, seed=3, folder=folder, log_dir=folder / "tensorboard", progress=progress or Progress(), **arguments)

    return train


def without_seconds(records):
    return [{name: value for name, value in record.items() if name != "seconds"} for record in records]


def state(path):
    with np.load(path / "checkpoint.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files if name != "progress"}


# 3 steps an epoch, 3 epochs a phase: in the first epoch, in the second, in the last of the shallow net, right after it, in the deep net's second.
@pytest.mark.parametrize(("contestant", "kills"), [("grown", [1, 5, 8, 9, 14]), ("batch_norm", [4]), ("auxiliary", [4])])
def test_a_training_that_is_killed_ends_where_it_would_have_ended(contestant, kills, train, phases, tmp_path):
    records, model = train(phases(contestant), "whole")
    for kill in kills:
        with pytest.raises(KilledError):
            train(phases(contestant), "killed", Progress(kill_after=kill))
    resumed = Progress()
    resumed_records, resumed_model = train(phases(contestant), "killed", resumed)
    assert without_seconds(resumed_records) == without_seconds(records)
    assert resumed.number == records[-1]["step"]
    whole, killed = state(tmp_path / "whole"), state(tmp_path / "killed")
    assert whole.keys() == killed.keys()
    for name in whole:  # Weights, moving statistics, the seeds of dropout, momenta and the step of the optimizer.
        np.testing.assert_allclose(killed[name], whole[name], rtol=0, atol=1e-6)
    for variable, expected in zip(resumed_model.variables, model.variables):
        np.testing.assert_allclose(variable, expected, rtol=0, atol=1e-6)
    written = [json.loads(line) for line in (tmp_path / "killed" / "metrics.jsonl").read_text().splitlines()]
    assert without_seconds(written) == without_seconds(records)


def test_a_checkpoint_holds_every_variable(train, phases, tmp_path):
    _, model = train(phases("batch_norm"))
    kinds = [variable.path.rsplit("/", 1)[-1] for variable in checkpoint._variables(model)]
    assert {"kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance", "seed_generator_state", "iteration"} <= set(kinds)
    assert sum("momentum" in kind for kind in kinds) == len(model.trainable_variables)
    assert len(state(tmp_path / "run")) == len(kinds)


def test_records_and_charts_tell_the_same(train, phases, tmp_path):
    with pytest.raises(KilledError):
        train(phases("grown"), progress=Progress(kill_after=14))
    records, _ = train(phases("grown"))
    assert [(record["phase"], record["epoch"], record["step"]) for record in records] == [
        *(("shallow", epoch, 3 * epoch) for epoch in (1, 2, 3)),
        *(("deep", epoch, 9 + 3 * epoch) for epoch in (1, 2, 3)),
    ]
    for split, prefix in (("train", ""), ("validation", "test_")):
        log_dir = tmp_path / "run" / "tensorboard" / split
        tags = ("accuracy", "cross_entropy", *(["loss"] if split == "train" else []))
        expected = [{"step": record["step"], **{tag: np.float32(record[prefix * (tag != "loss") + tag]) for tag in tags}} for record in records]
        assert summaries.read_scalars(log_dir) == expected
        points = event_accumulator.EventAccumulator(str(log_dir)).Reload().Tensors("accuracy")
        assert [point.step for point in points] == [record["step"] for record in records]  # None twice, though the training was killed.


def test_records_hold_what_the_model_does_on_the_test_images(train, phases, dataset):
    records, model = train(phases("batch_norm"))
    logits = model(dataset.x_test, training=False).numpy().astype(np.float64)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert records[-1]["test_accuracy"] == pytest.approx(np.mean(logits.argmax(axis=1) == dataset.y_test), abs=1e-6)
    likelihood = probabilities[np.arange(len(logits)), dataset.y_test]
    assert records[-1]["test_cross_entropy"] == pytest.approx(-np.log(likelihood).mean(), rel=1e-4)


def test_the_loss_of_auxiliary_classifiers_counts_0_3(phases, dataset, settings):
    _, training_model = phases("auxiliary", weight_decay=0.0)[0].build(None)
    training._compile(training_model, 0.01, settings)
    loss = training_model.evaluate(dataset.x_test, [dataset.y_test] * 3, verbose=0, return_dict=True)["loss"]
    main, *auxiliary = (keras.losses.sparse_categorical_crossentropy(dataset.y_test, logits, from_logits=True) for logits in training_model(dataset.x_test))
    expected = np.mean(main) + 0.3 * sum(np.mean(losses) for losses in auxiliary)
    assert loss == pytest.approx(expected, rel=1e-5)


def test_steps_end_in_the_middle_of_an_epoch(train, phases, settings):
    settings = training.Settings(**{**vars(settings), "steps": 5})
    records, _ = train(phases("plain", depth=11), settings=settings)
    assert [(record["epoch"], record["step"]) for record in records] == [(1, 3), (2, 5)]
    again = Progress()
    assert train(phases("plain", depth=11), settings=settings, progress=again)[0] == records
    assert again.records == []


@pytest.mark.parametrize("jit_compile", [False, True])
def test_sgd_is_the_textbooks(jit_compile, train, phases, dataset, settings):
    """Two steps by hand: v <- momentum * v - rate * gradient, w <- w + v, with the training's own first two batches."""
    from recipes import data

    settings = training.Settings(**{**vars(settings), "steps": 2, "jit_compile": jit_compile})
    _, model = train(phases("plain", depth=11, dropout=0.0), settings=settings)
    keras.utils.set_random_seed(int(np.random.SeedSequence([3, 0]).generate_state(1)[0]))
    expected, _ = phases("plain", depth=11, dropout=0.0)[0].build(None)
    velocity = [np.zeros(variable.shape) for variable in expected.trainable_variables]
    for x, y in data.training_batches(dataset, 16, 3, 0).take(2):
        with tf.GradientTape() as tape:
            losses = keras.losses.sparse_categorical_crossentropy(y, expected(x, training=True), from_logits=True)
            loss = tf.reduce_mean(losses) + tf.add_n(expected.losses)
        for index, gradient in enumerate(tape.gradient(loss, [variable.value for variable in expected.trainable_variables])):
            velocity[index] = 0.9 * velocity[index] - 0.01 * gradient.numpy()
            expected.trainable_variables[index].assign_add(velocity[index])
    for variable, value in zip(model.trainable_variables, expected.trainable_variables):
        np.testing.assert_allclose(variable, value, atol=1e-5)


def test_a_loss_that_is_not_finite_ends_the_training_and_keeps_the_record(train, phases, tmp_path):
    records, _ = train(phases("grown", depth=13), learning_rate=1e9)
    assert training.diverged(records)
    assert records[-1]["step"] < 9
    assert {records[-1][name] for name in ("loss", "accuracy", "cross_entropy", "test_accuracy", "test_cross_entropy")} == {None}
    assert [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()] == records
    again = Progress()
    assert train(phases("grown", depth=13), learning_rate=1e9, progress=again)[0] == records
    assert again.records == []


def test_a_checkpoint_of_another_model_is_refused_and_nothing_assigned(train, phases, settings, tmp_path):
    train(phases("plain", depth=11))
    _, other = phases("plain", depth=13)[0].build(None)
    training._compile(other, 0.01, settings)
    before = [variable.numpy() for variable in other.variables]
    path = tmp_path / "run" / "checkpoint.npz"
    with pytest.raises(Refusal, match="do not fit") as caught:
        checkpoint.restore(path, other)
    assert str(caught.value).startswith(f"{path} holds ")
    assert str(caught.value).endswith("delete it to start that run over.")
    for variable, value in zip(other.variables, before):
        np.testing.assert_array_equal(variable, value)


@pytest.mark.parametrize("content", [b"", b"PK\3\4 broken"])
def test_a_checkpoint_that_is_broken_is_refused(content, tmp_path):
    path = tmp_path / "checkpoint.npz"
    path.write_bytes(content)
    with pytest.raises(Refusal) as caught:
        checkpoint.read_progress(path)
    assert str(caught.value).startswith(f"{path} cannot be read (")
    assert str(caught.value).endswith("); delete it to start that run over.")
