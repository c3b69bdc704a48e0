"""Tables, charts, docs and callbacks name the same quantities."""

import pathlib
import re

import pytest

from keras_bn import callbacks, dashboard
from keras_bn.measures import activations, covariate_shift
from keras_bn.measures.loss_landscape import NAME as LANDSCAPE
from keras_bn.measures.loss_landscape import QUANTITIES as LANDSCAPE_QUANTITIES
from keras_bn.measures.quantities import pictured
from keras_bn.measures.variance_shift import NAME as VARIANCES
from keras_bn.measures.variance_shift import QUANTITIES as VARIANCE_QUANTITIES

TABLES = {
    covariate_shift.NAME: covariate_shift.QUANTITIES,
    VARIANCES: VARIANCE_QUANTITIES,
    LANDSCAPE: LANDSCAPE_QUANTITIES,
    activations.NAME: activations.QUANTITIES,
}
DOCS = (pathlib.Path(__file__).parents[3] / "docs/measurements.md").read_text()


def tag_of(quantity):
    return f"{quantity.name}/01_layer" if quantity.by_layer else quantity.name


def charts_with(measure, tag):
    """Titles of the charts on which the tag stands."""
    return [title for title, tags in dashboard.CHARTS[measure].items() if (re.match(tags, tag) if isinstance(tags, str) else tag in tags)]


@pytest.mark.parametrize("measure", TABLES)
def test_every_quantity_is_on_its_chart_and_every_chart_has_one(measure):
    for quantity in TABLES[measure]:
        assert charts_with(measure, tag_of(quantity)) == ([] if quantity.chart is None else [quantity.chart]), quantity.name
    assert list(dict.fromkeys(quantity.chart for quantity in TABLES[measure] if quantity.chart)) == list(dashboard.CHARTS[measure])


@pytest.mark.parametrize("measure", TABLES)
def test_every_quantity_is_in_the_docs_with_its_unit(measure):
    rows = [line.split("|")[1:] for line in DOCS.splitlines() if line.startswith("| `")]
    documented = {}
    measure_of_row = None
    for tags, _, unit, *_ in rows:
        for tag in re.findall("`([^`]*)`", tags):
            parts = tag.replace(".../", "").removesuffix("/LAYER").removesuffix("/02_1lr").split("/")
            measure_of_row = parts[0] if len(parts) > 1 else measure_of_row
            documented.setdefault(measure_of_row, {})[parts[-1]] = unit.strip()
    for quantity in TABLES[measure]:
        assert quantity.unit in documented[measure][quantity.name].split(", "), quantity.name
    assert set(documented[measure]) - {quantity.name for quantity in TABLES[measure]} <= {"inputs"}  # A histogram.


@pytest.mark.parametrize(
    "callback", [callbacks.InternalCovariateShift, callbacks.VarianceShift, callbacks.LossLandscape, callbacks.ActivationStatistics], ids=lambda one: one.name
)
def test_a_callback_has_its_measure_s_table_with_one_picture(callback):
    assert callback.quantities is TABLES[callback.name]
    assert sum(quantity.colours is not None for quantity in callback.quantities) == 1
    assert pictured(callback.quantities).by_layer
