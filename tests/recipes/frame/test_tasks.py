"""What became of a training, in a word; on both sides of each edge."""

import types

import pytest

from recipes.frame import tasks
from recipes.frame.tasks import verdicts

EDGES = dict(chance=0.1, chance_bound=0.15, best=0.9, is_still_learning=False)


@pytest.mark.parametrize(
    ("score", "recalibrated", "differing", "expected"),
    [
        (None, None, {}, "diverged"),
        (0.15, None, {}, "at chance"),
        (0.1501, None, {}, "above chance"),
        (0.499, None, {}, "above chance"),
        (0.501, None, {}, "learned"),
        (0.1, 0.501, {}, "learned, but its inference statistics lag"),
        (0.1, 0.499, {}, "at chance"),
        (0.821, 0.9, {}, "learned"),
        (0.81, 0.9, {}, "learned, but its inference statistics lag"),
        (0.9, 0.6, {}, "learned"),
        (0.15, None, {"is_still_learning": True}, "at chance (too short to judge)"),
        (0.4, 0.4, {"is_still_learning": True}, "above chance (too short to judge)"),
        (0.6, None, {"is_still_learning": True}, "learned"),
        (0.14, None, {"best": 0.16}, "at chance"),
    ],
)
def test_edges(score, recalibrated, differing, expected):
    assert verdicts.verdict(score, recalibrated, **{**EDGES, **differing}) == expected
    assert verdicts.without_remark(expected) in verdicts.ALL


def record(step, accuracy, training=1.0):
    return {"step": step, "loss": None if accuracy is None else 1.0, "test_accuracy": accuracy, "training_accuracy": training}


def judged(dataset, *trainings):
    task = tasks.Classification()
    return task.verdicts([task.result(records) for records in trainings], trainings, dataset)


def test_verdicts_of_a_classification(dataset):
    # 20 test images of two classes: guessing names 19 of them rightly once in 50,000 times, all of them once in 1,000,000 times.
    assert dataset.chance_bound == 0.95

    def records(*accuracies):
        return [record(step, accuracy) for step, accuracy in enumerate((0.5, 0.5, 0.5, *accuracies))]

    assert judged(dataset, records(0.95), records(1.0, 0.5), records(1.0), records(None)) == ["at chance", "at chance", "learned", "diverged"]
    lagging = [*records(0.5), {"step": 9, "recalibrated_test_accuracy": 1.0}]
    assert judged(dataset, lagging) == ["learned, but its inference statistics lag"]


def test_a_training_whose_accuracy_rises_or_with_few_records_is_too_short_to_judge(dataset):
    rising = [record(step, 0.5, training) for step, training in enumerate((0.5, 0.5, 0.9, 0.9))]
    # 50 images: the difference of two shares has a standard error of at most 0.1.
    resting = [record(step, 0.5, training) for step, training in enumerate((0.5, 0.5, 0.55, 0.6))]
    assert judged(dataset, rising, resting, resting[:3]) == ["at chance (too short to judge)", "at chance", "at chance (too short to judge)"]


def test_a_result_is_of_the_end_and_the_best_of_all_records():
    records = [record(1, 0.9, 0.7), record(2, 0.6, 0.8), {"step": 2, "recalibrated_test_accuracy": 0.95}]
    expected = {"test_accuracy": 0.6, "recalibrated_test_accuracy": 0.95, "training_accuracy": 0.8, "best_test_accuracy": 0.9}
    assert tasks.Classification().result(records) == expected
    diverged = {"test_accuracy": None, "recalibrated_test_accuracy": None, "training_accuracy": None, "best_test_accuracy": 0.9}
    assert tasks.Classification().result([*records[:1], record(2, None)]) == diverged


def test_verdicts_of_a_regression():
    task, data = tasks.Regression(), types.SimpleNamespace(loss_of_a_constant=100.0)

    def records(*losses):
        return [{"step": step, "loss": loss} for step, loss in enumerate(losses)]

    trainings = [records(120, 20, 20, 20, 20), records(120, 61, 61, 61, 61), records(120, 101, 101, 101), records(120, 90, 80, 70), records(120, None)]
    expected = ["learned", "above chance", "at chance", "above chance (too short to judge)", "diverged"]
    assert task.verdicts([task.result(one) for one in trainings], trainings, data) == expected
