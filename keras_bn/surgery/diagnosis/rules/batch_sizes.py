"""Batches that hold too few values a channel to normalise by."""

import math

import numpy as np

from keras_bn.measures.conclusions.conclusion import CERTAIN, LEAST_LOSSES, several
from keras_bn.surgery.diagnosis.evidence import Evidence
from keras_bn.surgery.diagnosis.finding import Finding
from keras_bn.surgery.diagnosis.rules.losses import without_the_batch

UNKNOWN = 0.5  # Relative standard error: the variance of fewer values is not known to a factor of two, from one error below to one above.


def last_batch_of_one(evidence: Evidence) -> Finding | None:
    """Where a batch, but not all, gives a layer one value a channel: whose variance is 0."""
    names = [name for name, values in evidence.values.items() if np.any(values == 1) and np.any(values > 1) and name not in evidence.fixed]
    if not names:
        return None
    layer = evidence.layers[names[0]]
    return Finding(
        layer.name,
        "last_batch_of_one",
        {"examples": int(np.sum(evidence.sizes)), "smallest_batch": int(np.min(evidence.sizes)), **evidence.several(names)},
        "One value has variance 0: in training the layer returns beta, whatever the value, and the moving variance shrinks towards 0 each time.",
        f"data = {'data.unbatch()' if evidence.is_dataset else 'tf.data.Dataset.from_tensor_slices(data)'}.batch({max(evidence.sizes)}, drop_remainder=True)",
    )


def few_values(evidence: Evidence) -> Finding | None:
    """Where the variance of a batch is not known to UNKNOWN: sqrt(2 / (n - 1)) for n independent values. Batches may differ as if they had fewer than that, as
    those of a few images, or sorted by class, do: by the means, which differ by sqrt(1 / n) standard deviations."""
    fewest = math.floor(1 + 2 / UNKNOWN**2)
    counts = {name: float(np.max(values)) for name, values in evidence.values.items() if name not in evidence.fixed}
    independent = {name: min(count, _independent(evidence.scatter[name])) for name, count in counts.items()}
    # The variance between B batches is known to sqrt(2 / (B - 1)), relative.
    most = 1 + CERTAIN * math.sqrt(2 / (len(evidence.sizes) - 1)) if len(evidence.sizes) >= LEAST_LOSSES else math.inf
    names = [name for name, count in counts.items() if count < fewest or independent[name] * most < fewest]
    if not names:
        return None
    worst = min(names, key=independent.get)
    measured = {
        "batch_size": int(np.max(evidence.sizes)),
        "values_a_channel": counts[worst],
        "as_independent": independent[worst],
        "means_scatter_by": evidence.scatter[worst],
        **evidence.several(names),
    }
    why = (
        f"A batch has {several(round(counts[worst]), 'value')} a channel here, and its statistics scatter as those of "
        f"{independent[worst]:.2g} independent ones: an example is normalised by others that say little, in training only. Larger or better "
        "mixed batches mend it, too, or synchronized=True over replicas."
    )
    return Finding(evidence.layers[worst].name, "few_values", measured, why, without_the_batch(evidence, names))


def _independent(scatter):
    """By how many independent values the means would scatter so, of a variance of divisor N."""
    return 1 + 1 / scatter**2 if scatter > 0 else math.inf
