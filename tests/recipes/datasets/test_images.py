"""Images in batches: their order, their labels, and what a net has to be better than."""

import numpy as np
import pytest

from recipes.datasets import images, linear


def order(dataset, seed, first_step, batches, batch_size=7):
    return [y.numpy().tolist() for _, y in dataset.training_batches(batch_size, seed, first_step).take(batches)]


@pytest.fixture
def numbered(rng):
    labels = np.arange(30, dtype=np.int32)
    split = images.Arrays(np.broadcast_to(labels[:, np.newaxis, np.newaxis, np.newaxis], (30, 32, 32, 1)).astype(np.float32), labels)
    return images.Images("numbered", split, split, (32, 32, 3), np.zeros(1, np.float32), np.ones(1, np.float32))


def test_an_epoch_holds_each_image_at_most_once_and_whole_batches_only(numbered):
    for first_step in (0, 20):
        epoch = order(numbered, 0, first_step, 4)
        assert [len(batch) for batch in epoch] == [7] * 4
        assert len({label for batch in epoch for label in batch}) == 28


def test_the_order_depends_on_seed_and_epoch_alone(numbered):
    assert order(numbered, 3, 0, 12)[8:] == order(numbered, 3, 8, 4)
    assert order(numbered, 3, 0, 12)[6:] == order(numbered, 3, 6, 6)  # From the middle of an epoch, too.
    assert order(numbered, 3, 0, 4) != order(numbered, 4, 0, 4)
    assert order(numbered, 3, 0, 4) != order(numbered, 3, 4, 4)


def test_no_iterator_waits_for_a_tuner_when_it_is_deleted(numbered):
    for batches in (numbered.training_batches(7, 1), numbered.test_batches(), numbered.drawn(5, 2)):
        assert batches.options().autotune.enabled is False


def test_images_keep_their_labels(numbered):
    for x, y in numbered.training_batches(7, 0).take(5):
        np.testing.assert_array_equal(x[:, 3, 4, 0], y)


def test_the_reference_is_the_nearest_class_mean(dataset):
    x_train, y_train, x_test, y_test = dataset.in_memory()
    means = np.stack([x_train[y_train == label].mean(0) for label in range(2)])
    distances = ((x_test[:, np.newaxis] - means) ** 2).sum((2, 3, 4))
    assert dataset.reference == np.mean(distances.argmin(1) == y_test)


def test_a_sample_is_drawn_and_always_the_same(numbered):
    x, y = numbered.sample(10)
    assert len(set(y.tolist())) == 10
    assert y.tolist() != list(range(10))
    np.testing.assert_array_equal(x[:, 0, 0, 0], y)
    np.testing.assert_array_equal(numbered.sample(10)[1], y)
    in_batches = [labels.numpy().tolist() for _, labels in numbered.drawn(10, 4)]
    assert [len(labels) for labels in in_batches] == [4, 4, 2]
    assert [label for labels in in_batches for label in labels] == y.tolist()
    assert len(numbered.sample(100)[0]) == 30


def test_the_linear_map_is_one():
    data = linear.LinearMap(size=50, features=4, seed=1)
    x, y = data.arrays
    matrix, *_ = np.linalg.lstsq(x.astype(float), y, rcond=None)
    np.testing.assert_allclose(x @ matrix, y, atol=1e-5)
    assert data.loss_of_a_constant == pytest.approx(50 * y.astype(float).var(0).sum())
    for batch, _ in zip(data.training_batches(50, 0), range(2)):
        np.testing.assert_array_equal(batch[0], x)
