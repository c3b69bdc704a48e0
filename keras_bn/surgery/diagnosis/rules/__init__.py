"""`findings`: what all rules find. One rule a function: it takes `Evidence` and returns a `Finding`, or None."""

from keras_bn.surgery.diagnosis.evidence import Evidence
from keras_bn.surgery.diagnosis.finding import Finding
from keras_bn.surgery.diagnosis.rules import batch_sizes, channels, finiteness, losses, order, statistics

# The worst kinds first; within those of statistics, which all shift what inference normalises by, the largest shift.
SHIFTS = statistics.never_updated, statistics.lag, statistics.warming_up, statistics.dropout, statistics.acting_in_training
BESIDES = (
    statistics.other_data,
    batch_sizes.last_batch_of_one,
    batch_sizes.few_values,
    channels.variance_below_epsilon,
    channels.gamma_near_zero,
    channels.dead,
    order.several_in_a_row,
    order.bias_in_front,
    order.not_foldable,
    order.behind_activation,
)


def findings(evidence: Evidence) -> list[Finding]:
    """What is wrong, worst first."""
    negative = statistics.negative_variance(evidence)
    if evidence.not_finite is not None:
        return [negative or finiteness.not_finite(evidence)]
    if negative is not None:
        return [negative]  # Whatever else is off may come of it.
    shifted = [each for rule in SHIFTS if (each := rule(evidence)) is not None]
    shifted.sort(key=lambda one: one.measured["shift"], reverse=True)
    worse = losses.inference_is_worse(evidence)
    if worse is not None and not shifted:
        shifted = [worse]
    return [*shifted, *(each for rule in BESIDES if (each := rule(evidence)) is not None)]
