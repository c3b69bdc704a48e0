"""What became of a training, in a word, by how good it is above chance."""

DIVERGED = "diverged"
AT_CHANCE = "at chance"
ABOVE_CHANCE = "above chance"
LAGS = "learned, but its inference statistics lag"
LEARNED = "learned"
UNTRAINED = "not trained"
ALL = LEARNED, LAGS, ABOVE_CHANCE, AT_CHANCE, DIVERGED, UNTRAINED
TOO_SHORT = " (too short to judge)"

LEARNED_SHARE = 0.5  # Of the way from chance to the best that is known on these data.
LAG_SHARE = 0.1  # Of what a net has learned by re-estimated statistics; the moving ones lose more than that.
FEWEST_RECORDS = 4  # For a trend.


def verdict(score, recalibrated, *, chance, chance_bound, best, is_still_learning):
    """One of `ALL`, with TOO_SHORT behind it where the training ended while it still improved and had not learned.

    Args:
        score: at the end, the larger the better; None of a training whose loss stopped being finite.
        recalibrated: the same with re-estimated statistics; None of a net without batch normalisation.
        chance: the score of a net that does not look at its inputs.
        chance_bound: the largest score that is called chance.
        best: the largest score that is known on these data.
        is_still_learning: whether the training had not come to rest.
    """
    if score is None:
        return DIVERGED
    learned = chance + LEARNED_SHARE * (best - chance)
    reached = score if recalibrated is None else max(score, recalibrated)
    if reached >= learned and reached > chance_bound:
        return LAGS if reached - score > LAG_SHARE * (reached - chance) else LEARNED
    return (ABOVE_CHANCE if score > chance_bound else AT_CHANCE) + (TOO_SHORT if is_still_learning else "")


def without_remark(verdict):
    """The verdict, one of `ALL`."""
    return verdict.removesuffix(TOO_SHORT)


def is_too_short(verdict):
    """Whether it says that the training was too short to judge."""
    return verdict.endswith(TOO_SHORT)
