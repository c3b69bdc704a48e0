"""The most frequent claims: that a quantity is larger in one group of trainings than in another, and that an equation holds."""

from recipes.frame import claims, evidence
from recipes.frame.recipe import Claim


def larger(name, sentence, source, groups, quantities, summarise=evidence.last, by=0.0, what=None):
    """A claim whose evidence are two groups of trainings and whose rule is `claims.Better`.

    Args:
        name, sentence, source: as of `Claim`.
        groups: dict of two: what is shown of a group to what its trainings have in common, the one that is claimed to be larger first.
        quantities, summarise: as of `evidence.Evidence`; where `last_accuracy` summarises, trainings that were too short to judge do not count.
        by: as of `claims.Better`.
        what: the numbers are, in words; None: as the first quantity is called.
    """
    measured = evidence.by_seed(groups, quantities, summarise, settled=summarise is evidence.last_accuracy)
    return Claim(name, sentence, source, measured, claims.Better(*groups, by, what or quantities[0].split(" or ")[-1].replace("_", " ")))


def equal(name, sentence, source, trainings, cases, what, judged=None, bound=1e-10):
    """A claim whose evidence is what the sides of an equation differ by, at the end of each training, and whose rule is `claims.Exact`.

    Args:
        name, sentence, source: as of `Claim`.
        trainings: what they have in common.
        cases: dict, what is shown of a case to the quantity that is 0 but for rounding.
        what: the numbers are, in words.
        judged: the cases that are claimed; None: all. The others are shown.
        bound: the most that rounding makes.
    """
    measured = evidence.Evidence({case: (trainings, [quantity], evidence.last) for case, quantity in cases.items()})
    return Claim(name, sentence, source, measured, claims.Exact(tuple(judged or cases), bound, what))
