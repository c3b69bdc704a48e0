"""A net that is looked at as it was built, with the loss of a classification."""

import dataclasses

from recipes.frame.records import last
from recipes.frame.tasks import verdicts
from recipes.frame.tasks.classification import Classification


@dataclasses.dataclass(frozen=True)
class Untrained:
    """Nothing is trained: what `at_end` returns is the result.

    score: the quantity of the table.
    heading: what the table calls it.
    """

    score: str
    heading: str

    @property
    def columns(self):
        return {self.score: self.heading}

    def compile(self, net, optimizer, jit_compile):
        Classification().compile(net, optimizer, jit_compile)

    def targets(self, net, y):
        return Classification().targets(net, y)

    def parameters(self, net):
        return net.count_params()

    def result(self, records):
        return {self.score: last(records, self.score)}

    def verdicts(self, results, records, data):
        return [verdicts.UNTRAINED] * len(results)

    def remarks(self, named_results, data):
        return []

    def legend(self, data):
        return "Nets are looked at as they were built. Mean ± standard deviation over the seeds (divisor N-1)."
