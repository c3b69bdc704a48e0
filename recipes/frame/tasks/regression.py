"""Numbers for each example, by least squares."""

import dataclasses
from typing import ClassVar

from recipes.frame.records import has_diverged, last
from recipes.frame.tasks import verdicts

STILL_FALLING = 0.05  # Share of the loss that the second half of the training took away.


@dataclasses.dataclass(frozen=True)
class Regression:
    """The sum of the squared errors, over outputs and over the examples of a batch, as Santurkar et al. 2018, app. A, have it."""

    score = "training_loss"
    columns: ClassVar = {"training_loss": "loss at the end"}

    def compile(self, net, optimizer, jit_compile):
        import keras

        class SumOfSquares(keras.losses.Loss):
            def call(self, y_true, y_pred):
                return keras.ops.sum((y_true - y_pred) ** 2, axis=-1)

        net.compile(optimizer, loss=SumOfSquares(reduction="sum"), jit_compile=jit_compile)

    def targets(self, net, y):
        return y

    def recorded(self, net, logs):
        return {"loss": logs["loss"]}

    def parameters(self, net):
        return net.count_params()

    def result(self, records):
        return {"training_loss": None if has_diverged(records) else last(records, "loss")}

    def verdicts(self, results, records, data):
        """One for each training; chance is what a constant explains: nothing."""
        scores = [None if result["training_loss"] is None else 1 - result["training_loss"] / data.loss_of_a_constant for result in results]
        best = max([score for score in scores if score is not None], default=0.0)
        return [
            verdicts.verdict(score, None, chance=0.0, chance_bound=0.0, best=best, is_still_learning=self._is_still_learning(of_one))
            for score, of_one in zip(scores, records)
        ]

    def _is_still_learning(self, records):
        losses = [record["loss"] for record in records if record.get("loss") is not None]
        return len(losses) < verdicts.FEWEST_RECORDS or losses[-1] < (1 - STILL_FALLING) * losses[len(losses) // 2]

    def remarks(self, named_results, data):
        return []

    def legend(self, data):
        """How the table is to be read."""
        return (
            "The loss is the sum of the squared errors over all outputs and examples. A training has diverged if its loss stopped being finite. It is at "
            f"chance if its loss is no less than that of the best constant, {data.loss_of_a_constant:.4g}, and has learned if it took away at least half of "
            "what the best training here took. It is too short to judge if it has not learned and its loss still fell."
        )
