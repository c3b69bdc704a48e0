"""`Quantity`: what each measure's table says of its numbers; callbacks, charts and docs read these tables."""

from typing import NamedTuple


class Colours(NamedTuple):
    """Of a picture of one quantity by layer and step. lowest, highest: ends of the colour bar; None: the least and the greatest of the values."""

    logarithmic: bool = False
    lowest: float | None = None
    highest: float | None = None


class Quantity(NamedTuple):
    """One row of a measure's table.

    name: its tag is measure/name/layer, or measure/name where a number is of the whole model.
    unit: 1 for what has none.
    zero: what 0 means, or another value where 0 cannot be; empty where it means nothing.
    chart: title of its chart on TensorBoard's Custom Scalars page; None where it has no chart there.
    by_layer: whether there is one number a layer (or a step size).
    band: "value", "lower" or "upper" where the chart shows a line in a band, and this is one of the three; None where the chart shows lines.
    colours: of the measure's picture, which shows this quantity; None for all other quantities.
    """

    name: str
    unit: str
    zero: str
    chart: str | None
    by_layer: bool = True
    band: str | None = None
    colours: Colours | None = None


def pictured(table: tuple[Quantity, ...]) -> Quantity:
    """The quantity that the measure's picture shows."""
    return next(quantity for quantity in table if quantity.colours is not None)
