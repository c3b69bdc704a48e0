"""One label for each image."""

import dataclasses
import math
import statistics
from collections.abc import Sequence
from typing import ClassVar

from recipes.frame.records import has_diverged, last
from recipes.frame.tasks import verdicts

ERRORS = 3  # Standard errors by which the training accuracy rose where a net is said to be still learning.


@dataclasses.dataclass(frozen=True)
class Classification:
    """Cross-entropy of logits, of one output or of several for the same labels, of which the first counts.

    loss_weights: of the outputs; None: 1 each.
    """

    loss_weights: Sequence[float] | None = None

    score = "test_accuracy"
    columns: ClassVar = {
        "test_accuracy": "test accuracy",
        "recalibrated_test_accuracy": "with re-estimated statistics",
        "training_accuracy": "training accuracy",
        "best_test_accuracy": "best test accuracy",
    }

    def compile(self, net, optimizer, jit_compile):
        import keras

        metrics = [
            keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
            keras.metrics.SparseCategoricalCrossentropy(name="cross_entropy", from_logits=True),
        ]
        others = len(net.outputs) - 1
        net.compile(
            optimizer,
            loss=[keras.losses.SparseCategoricalCrossentropy(from_logits=True) for _ in net.outputs],
            loss_weights=self.loss_weights,
            metrics=[metrics] + [[]] * others if others else metrics,  # Keras 3.10 takes a list of lists for several outputs only.
            jit_compile=jit_compile,
        )

    def targets(self, net, y):
        """The labels, for each of the net's outputs."""
        return (y,) * len(net.outputs)

    def recorded(self, net, logs):
        """Quantities of a pass over the training images, from the logs of `fit`."""
        main = f"{net.output_names[0]}_" if len(net.outputs) > 1 else ""
        quantities = {"loss": "loss"}
        for name in ("accuracy", "cross_entropy"):
            quantities |= {f"training_{name}": f"{main}{name}", f"test_{name}": f"val_{main}{name}"}
        return {quantity: logs[name] for quantity, name in quantities.items()}

    def parameters(self, net):
        """Of the net up to its first output, which alone is used in the end."""
        import keras

        return (net if len(net.outputs) == 1 else keras.Model(net.inputs, net.outputs[0])).count_params()

    def result(self, records):
        """What a training came to.

        Args:
            records: of one training, dicts of "step" and quantities.
        """
        accuracies = [record["test_accuracy"] for record in records if record.get("test_accuracy") is not None]
        is_diverged = has_diverged(records)
        return {
            "test_accuracy": None if is_diverged or not accuracies else accuracies[-1],
            "recalibrated_test_accuracy": None if is_diverged else last(records, "recalibrated_test_accuracy"),
            "training_accuracy": None if is_diverged else last(records, "training_accuracy"),
            "best_test_accuracy": max(accuracies, default=None),
        }

    def is_still_learning(self, records, data):
        """Whether its training accuracy rose in the second half of the training by more than chance, or there are too few records to tell."""
        accuracies = [record["training_accuracy"] for record in records if record.get("training_accuracy") is not None]
        if len(accuracies) < verdicts.FEWEST_RECORDS:
            return True
        middle = len(accuracies) // 2
        earlier, later = statistics.mean(accuracies[:middle]), statistics.mean(accuracies[middle:])
        error = math.sqrt(2 * max(later * (1 - later), 1 / data.training_size) / data.training_size)
        return later - earlier > ERRORS * error

    def verdicts(self, results, records, data):
        """One for each of the trainings on the same data, which the best of them and the data's reference set the measure for.

        Args:
            results: list of dicts, as of `result`.
            records: list of the trainings' records.
            data: `images.Images`.
        """
        scores = [result[name] for result in results for name in ("test_accuracy", "recalibrated_test_accuracy") if result[name] is not None]
        best = max([data.reference, *scores])
        return [
            verdicts.verdict(
                result["test_accuracy"],
                result["recalibrated_test_accuracy"],
                chance=data.chance,
                chance_bound=data.chance_bound,
                best=best,
                is_still_learning=self.is_still_learning(of_one, data),
            )
            for result, of_one in zip(results, records)
        ]

    def remarks(self, named_results, data):
        """Sentences about what the table does not show.

        Args:
            named_results: list of (what was chosen, in words, result with its verdict).
            data: `images.Images`.
        """
        fallen = [
            f"{name} ({result['best_test_accuracy']:.3f})"
            for name, result in named_results
            if verdicts.without_remark(result["verdict"]) == verdicts.AT_CHANCE and result["best_test_accuracy"] > data.chance_bound
        ]
        return [f"At chance at the end, but above it in some record (best test accuracy): {'; '.join(fallen)}."] if fallen else []

    def legend(self, data):
        """How the table is to be read."""
        return (
            "Accuracies are on the test images, mean ± standard deviation over the seeds (divisor N-1). The one with re-estimated statistics is of the same "
            "net at the end, whose batch normalisation layers got their statistics from training images at the final weights (`keras_bn.surgery.recalibrate`). "
            "The training accuracy is that of the last pass, in training mode, with Dropout. The best is the largest of all records, so it is chosen on the "
            "test images. A training has diverged if its loss stopped being finite; it has no test accuracy then. It is at chance if its test accuracy at the "
            f"end is at most {data.chance_bound:.3f}, which guessing exceeds less than once in 100,000 times (naming the most frequent class gives "
            f"{data.chance:.3f}). It has learned if it came at least half of the way from there to the best that is known of these images: of the trainings "
            f"here, or the nearest class mean, which names {data.reference:.3f} rightly. Its inference statistics lag if it has learned by re-estimated "
            "statistics, and the moving ones lose more than a tenth of that. A training is too short to judge if it has not learned and its training accuracy "
            "still rose."
        )
