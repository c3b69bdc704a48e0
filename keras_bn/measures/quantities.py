"""`Quantity`: what each measure's table says of its numbers; callbacks, charts and docs read these tables."""

import math
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
    colours: of the picture of this quantity; None where it has none.
    worst: the name, in the summary that TensorBoard shows first, of its largest value over all layers; None where it is not there.
    """

    name: str
    unit: str
    zero: str
    chart: str | None
    by_layer: bool = True
    band: str | None = None
    colours: Colours | None = None
    worst: str | None = None

    def description(self, layer: str | None = None) -> str:
        """For the chart of one tag. layer: its own name."""
        what = self.chart or self.name.replace("_", " ")
        meaning = f" {self.zero if self.zero.startswith('1:') else f'0: {self.zero}'}." if self.zero else ""
        return f"{what}, in {self.unit}.{meaning}" + (f" Layer: {layer}." if layer else "")


def pictured(table: tuple[Quantity, ...]) -> list[Quantity]:
    """The quantities that pictures show."""
    return [quantity for quantity in table if quantity.colours is not None]


SUMMARY = "0_summary"  # Sorted before all measures' tags.


def worst(measure: str, table: tuple[Quantity, ...], scalars: dict[str, float]) -> tuple[dict[str, float], dict[str, str]]:
    """Of the quantities that belong into the summary the largest value over all layers, and that layer's number: scalars and descriptions, by tag.

    Args:
        scalars: of one measurement, by tags such as measure/quantity/02_layer.
    """
    values, descriptions = {}, {}
    for quantity in table:
        if quantity.worst is None:
            continue
        tag, name = f"{measure}/{quantity.name}", f"{SUMMARY}/{quantity.worst}"
        candidates = {each: value for each, value in scalars.items() if each == tag or each.startswith(f"{tag}/")}
        if not candidates:
            continue
        largest = max(candidates, key=lambda each: math.inf if math.isnan(candidates[each]) else candidates[each])
        values[name], descriptions[name] = candidates[largest], quantity.description()
        if quantity.by_layer:
            descriptions[name] = f"The largest over all layers. {quantity.description()}"
            values[f"{name}_layer"] = int(largest.removeprefix(f"{tag}/").split("_")[0]) if candidates[largest] else 0
            descriptions[f"{name}_layer"] = f"The number of the layer of the largest {quantity.name}, as its tags have it; 0: that is 0 everywhere."
    return values, descriptions
