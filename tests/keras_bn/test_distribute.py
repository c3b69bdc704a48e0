"""Two workers of a MultiWorkerMirroredStrategy, processes of their own, against the oracle over the global batch and against one process."""

import json
import pathlib
import re

import distributed
import numpy as np
import pytest
from distributed import EPSILON, MOMENTUM, SIZES

import reference
import workers
from keras_bn import distribute, summaries


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("workers")
    workers.run(pathlib.Path(distributed.__file__), path)
    return path


@pytest.fixture(scope="module")
def results(folder):
    """Of each worker, a dict."""
    return [dict(np.load(folder / f"{index}.npz", allow_pickle=False)) for index in range(2)]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("sizes", SIZES)
def test_synchronized_statistics_are_those_of_the_global_batch(sizes, masked, results):
    xs, masks = distributed.shards(sizes)
    x, mask = np.concatenate(xs), np.concatenate(masks) if masked else None
    mean, variance = reference.moments(x, -1, mask)
    case = f"{sizes}/True/{masked}"
    for of_worker in results:
        np.testing.assert_allclose(of_worker[f"{case}/mean"], (1 - MOMENTUM) * mean, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(of_worker[f"{case}/variance"], MOMENTUM + (1 - MOMENTUM) * variance, rtol=1e-5)
    y = np.concatenate([of_worker[f"{case}/y"] for of_worker in results])
    np.testing.assert_allclose(y, reference.batch_norm_training(x, 1, 0, -1, EPSILON, mask), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("sizes", SIZES)
def test_unsynchronized_workers_normalise_by_themselves_and_are_averaged_where_they_are_read(sizes, masked, results):
    means, variances = [], []
    for of_worker, x, mask in zip(results, *distributed.shards(sizes)):
        mask = mask if masked else None
        mean, variance = reference.moments(x, -1, mask) if len(x) else (0.0, 1.0)
        if len(x):
            y = reference.batch_norm_training(x, 1, 0, -1, EPSILON, mask)
            np.testing.assert_allclose(of_worker[f"{sizes}/False/{masked}/y"], y, rtol=2e-5, atol=2e-5)
        means.append(np.broadcast_to((1 - MOMENTUM) * mean, [4]))
        variances.append(np.broadcast_to(MOMENTUM + (1 - MOMENTUM) * variance if len(x) else 1.0, [4]))
    for of_worker in results:
        np.testing.assert_allclose(of_worker[f"{sizes}/False/{masked}/mean"], np.mean(means, axis=0), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(of_worker[f"{sizes}/False/{masked}/variance"], np.mean(variances, axis=0), rtol=1e-5)


def test_cumulative_statistics_are_those_of_the_global_batches(results):
    moments = [reference.moments(np.concatenate(distributed.shards(sizes)[0]), -1) for sizes in SIZES]
    for of_worker in results:
        for name, expected in zip(("mean", "variance"), np.mean(moments, axis=0)):
            np.testing.assert_allclose(of_worker[f"cumulative/{name}"], expected, rtol=1e-5)


def test_fit_is_that_of_one_process_with_the_global_batch(results):
    expected = distributed.fitted(distributed.model(True))
    for of_worker in results:
        for name, value in expected.items():
            np.testing.assert_allclose(of_worker[f"fit/True/{name}"], value, rtol=1e-5, atol=1e-6, err_msg=name)


def test_statistics_of_unsynchronized_workers_lead_elsewhere(results):
    """Each normalises by its half of the batch; what all read is the same."""
    one, other = results
    np.testing.assert_array_equal(one["fit/False/mean"], other["fit/False/mean"])
    assert abs(one["fit/False/loss"] - one["fit/True/loss"]).max() > 1e-3


def test_keras_still_needs_it(results):
    """If this fails, Keras's own `fit` runs with several workers: `keras_bn.distribute` can go."""
    assert all("PerReplica" in str(of_worker["error of Keras"]) for of_worker in results)


def test_what_one_worker_saves_all_load(results):
    for of_worker in results:
        for name in ("mean", "variance"):
            np.testing.assert_array_equal(of_worker[f"loaded/{name}"], of_worker[f"fit/True/{name}"])


def test_several_steps_an_execution_are_refused(results):
    for of_worker in results:
        assert str(of_worker["refusal"]).endswith(
            " was compiled with steps_per_execution=2; expected 1 with several workers, as TensorFlow cannot repeat their all-reduces in a loop: compile it "
            "with steps_per_execution=1."
        )


@pytest.mark.parametrize("name", ["internal_covariate_shift", "loss_landscape", "activation_statistics", "variance_shift"])
def test_callbacks_measure_the_global_batch_and_the_chief_writes(name, results, folder, tmp_path):
    loss, history = json.loads(distributed.measured(distributed.model(True), distributed.instruments(tmp_path)[name]))
    assert len(history) > 1
    for of_worker in results:
        loss_of_worker, history_of_worker = json.loads(str(of_worker[f"measured/{name}"]))
        np.testing.assert_allclose(loss_of_worker, loss, rtol=1e-5)
        assert [record.keys() for record in history_of_worker] == [record.keys() for record in history]
        for record, expected in zip(history_of_worker, history):
            for tag, value in expected.items():
                assert record[tag] == pytest.approx(value, rel=1e-3, abs=1e-5), tag  # Differences of nearly equal gradients, of sums in another order.
    written = summaries.read_scalars(folder / f"{name}0")
    assert [record["step"] for record in written] == [record["step"] for record in history]
    assert not (folder / f"{name}1").exists()


def test_a_measurement_that_fails_on_one_worker_keeps_no_other_from_measuring(results):
    (loss, history), (other_loss, failed) = (json.loads(str(of_worker["measured/broken"])) for of_worker in results)
    assert loss == other_loss
    assert all("variance_shift/ratio/01_batch_normalization" in record for record in history)
    assert [record["step"] for record in failed] == [record["step"] for record in history]
    assert all("broken data" in record["error"] for record in failed)


def test_what_workers_cannot_do_together_is_refused_on_all(results):
    one, other = ({name.removeprefix("refused/"): str(value) for name, value in of_worker.items() if name.startswith("refused/")} for of_worker in results)
    function = (
        "`every` of LossLandscape is a function, of which several workers cannot tell whether it is the same on each; expected a number of steps, "
        '"epoch" or None: give one of them.'
    )
    assert one["function"] == other["function"] == function
    for every, refusal in ((2, one["other"]), (3, other["other"])):
        expected = f"another worker does something else than this one, LossLandscape with every={every}; expected each to do the same: "
        assert refusal == f"{expected}give all of them the same callbacks."
    for refusal in (one["length"], other["length"]):
        assert refusal.startswith("another worker does something else than this one, VarianceShift with measurements that cost ")
    assert one["first"] == "worker 1 failed at VarianceShift with every=2, and its own message says why; expected all of them to: see its output."
    assert other["first"].startswith("VarianceShift cannot evaluate its `data`; expected inputs for ")
    assert one["chief"] == "another worker does not do the same as this one, LossLandscape with every=2; expected each to: give all of them the same callbacks."


def test_without_workers_nothing_changes(strategy):
    alone = distributed.model(True)
    assert distribute.enable_fit(alone) is alone
    with strategy.scope():
        mirrored = distribute.enable_fit(distributed.model(True))
    for net in (alone, mirrored):
        assert "train_step" not in vars(net)


def test_the_example_of_the_docs_runs(tmp_path, monkeypatch):
    [code] = re.findall(r"```python\n(.*?)```", (pathlib.Path(__file__).parents[2] / "docs" / "distribution.md").read_text(), re.DOTALL)
    (tmp_path / "example.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    one, other = workers.run(tmp_path / "example.py")
    assert one == other
    assert one.endswith(" 2\n")


def test_training_goes_on_from_kerass_backup_after_a_worker_and_the_chief_were_killed(tmp_path):
    program = pathlib.Path(__file__).with_name("backed_up.py")
    (tmp_path / "whole").mkdir()
    for index in range(2):
        (tmp_path / "whole" / f"killed{index}").touch()
    (loss, variance), *_ = map(json.loads, workers.run(program, tmp_path / "whole"))
    (tmp_path / "killed").mkdir()
    for index in (1, 0):
        with pytest.raises(AssertionError):
            workers.run(program, tmp_path / "killed")
        assert (tmp_path / "killed" / f"killed{index}").exists()
    resumed = [json.loads(printed) for printed in workers.run(program, tmp_path / "killed")]
    for loss_of_worker, variance_of_worker in resumed:
        assert loss_of_worker == pytest.approx(loss[2:], rel=1e-5)
        assert variance_of_worker == pytest.approx(variance, rel=1e-5)
