"""TensorBoard's Custom Scalars page: which tags stand on which chart."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from tensorboard.plugins.custom_scalar import layout_pb2, summary


class Charted(Protocol):
    """One quantity of a measure, with the chart that it stands on.

    name: its tag is measure/name/layer, or measure/name where a number describes the whole model.
    chart: the chart's title, which several quantities may share; None: no chart.
    by_layer: whether there is one number a layer.
    band: "value", "lower" or "upper" on a chart that shows a line in a band; None on a chart of lines.
    """

    name: str
    chart: str | None
    by_layer: bool
    band: str | None


def layout(tables: Mapping[str, Sequence[Charted]]) -> bytes:
    """The page for these measures, as a serialized summary: a category a measure, its charts in the order of its table.

    Args:
        tables: dict, measure to its quantities.
    """
    return summary.pb(layout_pb2.Layout(category=[_category(measure, table) for measure, table in tables.items()])).SerializeToString()


def _category(measure, table):
    quantities_by_chart = {}
    for quantity in table:
        if quantity.chart is not None:
            quantities_by_chart.setdefault(quantity.chart, []).append(quantity)
    charts = [layout_pb2.Chart(title=title, **_content(measure, quantities)) for title, quantities in quantities_by_chart.items()]
    return layout_pb2.Category(title=measure.replace("_", " "), chart=charts)


def _content(measure, quantities):
    """What a chart shows: lines, each given by a regular expression that its tags begin with, or a line in a band, given by three tags."""
    if any(quantity.band for quantity in quantities):
        series = layout_pb2.MarginChartContent.Series(**{quantity.band: f"{measure}/{quantity.name}" for quantity in quantities})
        return {"margin": layout_pb2.MarginChartContent(series=[series])}
    patterns = [f"^{measure}/{quantity.name}{'/' if quantity.by_layer else '$'}" for quantity in quantities]
    return {"multiline": layout_pb2.MultilineChartContent(tag=patterns)}
