"""What shifts and dead channels mean, in the words that callbacks and `surgery.diagnose` share."""

from collections.abc import Sequence

from keras_bn.measures.conclusions.conclusion import named, several

MEASURED = {
    "lag": "its inputs have {:.3g} times the variance that its moving variance holds",
    "mean_lag": "the means of its inputs are {:.3g} standard deviations from its moving mean",
    "mode": "in inference its inputs have {:.3g} times their variance in training",
    "mean_mode": "in inference the means of its inputs are {:.3g} standard deviations from those in training",
}
DROPOUT = "Dropout makes inputs vary in training only, and the moving variance learns that."
FIXED = (
    "Its moving statistics do not move, as the layer is frozen or its momentum is 1: these inputs are others than those that they were taken from, or the "
    "layers in front have changed since."
)
LAG = (
    "Its moving statistics lag: the weights change faster than they follow, so that inference normalises by the net of some steps ago. Or these data are not "
    "what it sees in training, which may be others, a mixture such as of real and generated ones, or batches of another size or sorted by class."
)
OFF = (
    "Its moving statistics are not those of what it receives in training: they lag, as the weights changed faster than they follow; or the weights were "
    "averaged, loaded or spoilt since; or these data are not those of the training, but scaled otherwise, from elsewhere, or sorted by class."
)
CODE_OF_ITS_OWN = "No batch normalisation and no Dropout is in front of it: the model computes something else there in training, in a layer of your own."
ADDS_UP = (
    "No Dropout is in front of it: what the moving statistics of layers in front are off by adds up on the way here, little as it is in each; or the model "
    "computes something else in training, in a layer of your own."
)


def acting(names: Sequence[str]) -> str:
    """Of layers that act in training only."""
    return (
        f"In front of it {named(names)} {'acts' if len(names) == 1 else 'act'} in training only, which no closed form explains: its inputs are others then, "
        "and the moving statistics learn those."
    )


def warming(momentum: float, updates: int, left: float, more: int = 0) -> str:
    """left: the share of the moving statistics that the training began with, at most; more: how many other layers warm up, too."""
    others = f", and those of {several(more, 'more layer')}" if more else ""
    return (
        f"Its moving statistics are warming up{others}: with momentum {momentum:g}, after {several(updates, 'update')}, {100 * left:.3g} % of them at most is "
        "what the training began with"
    )


def dead(examples: int) -> str:
    """That a channel is 0 on n examples says, at 95 %, that it is active for fewer than 3 / n of all (the rule of three)."""
    return (
        f"They are 0 on all {examples} examples, so each is active for fewer than {100 * min(1, 3 / examples):.3g} % of the data (at 95 %); what is never "
        "active learns nothing."
    )
