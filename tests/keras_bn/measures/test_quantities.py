"""Tables, charts, docs and callbacks name the same quantities."""

import pathlib
import re

import pytest
import tensorflow as tf
from tensorboard.plugins.custom_scalar import layout_pb2

from keras_bn import callbacks
from keras_bn.measures import activations, covariate_shift
from keras_bn.measures.loss_landscape import NAME as LANDSCAPE
from keras_bn.measures.loss_landscape import QUANTITIES as LANDSCAPE_QUANTITIES
from keras_bn.measures.quantities import pictured, worst
from keras_bn.measures.variance_shift import NAME as VARIANCES
from keras_bn.measures.variance_shift import QUANTITIES as VARIANCE_QUANTITIES
from keras_bn.summaries import dashboard

TABLES = {
    covariate_shift.NAME: covariate_shift.QUANTITIES,
    VARIANCES: VARIANCE_QUANTITIES,
    LANDSCAPE: LANDSCAPE_QUANTITIES,
    activations.NAME: activations.QUANTITIES,
}
DOCS = (pathlib.Path(__file__).parents[3] / "docs/measurements.md").read_text()


def tag_of(quantity):
    return f"{quantity.name}/01_layer" if quantity.by_layer else quantity.name


def charts(measure):
    """The Custom Scalars page of one measure: a list of (title, whether a tag stands on it), as TensorBoard matches tags."""
    (value,) = tf.compat.v1.Summary.FromString(dashboard.layout({measure: TABLES[measure]})).value
    (category,) = layout_pb2.Layout.FromString(value.tensor.string_val[0]).category

    def shows(chart):
        bands = {tag for series in chart.margin.series for tag in (series.value, series.lower, series.upper)}
        return lambda tag: tag in bands or any(re.match(pattern, tag) for pattern in chart.multiline.tag)

    return [(chart.title, shows(chart)) for chart in category.chart]


@pytest.mark.parametrize("measure", TABLES)
def test_every_quantity_is_on_its_chart_alone(measure):
    page = charts(measure)
    for quantity in TABLES[measure]:
        titles = [title for title, shows in page if shows(f"{measure}/{tag_of(quantity)}")]
        assert titles == ([] if quantity.chart is None else [quantity.chart]), quantity.name
        assert not any(shows(f"{measure}/{quantity.name}_of_another_name") for _, shows in page)
    assert [title for title, _ in page] == list(dict.fromkeys(quantity.chart for quantity in TABLES[measure] if quantity.chart))


def test_only_these_have_no_chart():
    """They would crowd the page: most are of the outputs, which gamma and beta set, or are on a chart as a ratio, or say how certain others are."""
    without = {f"{measure}/{quantity.name}" for measure, table in TABLES.items() for quantity in table if quantity.chart is None}
    outputs = {f"output_{name}" for name in ("mean", "stddev", "p15", "p50", "p85")}
    others = {"loss_landscape/gradient_norm", "internal_covariate_shift/loss"}
    others |= {f"variance_shift/{name}" for name in ("error", "mean_error", "warm_up", "mean_warm_up", "mean_besides")}
    assert without == {*others, *(f"activation_statistics/{name}" for name in ("gradient_norm", *outputs))}


@pytest.mark.parametrize("measure", TABLES)
def test_a_band_has_a_line_and_two_ends(measure):
    for chart in {quantity.chart for quantity in TABLES[measure] if quantity.band}:
        assert sorted(str(quantity.band) for quantity in TABLES[measure] if quantity.chart == chart) == ["lower", "upper", "value"]


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
    "callback",
    [callbacks.InternalCovariateShift, callbacks.VarianceShift, callbacks.LossLandscape, callbacks.ActivationStatistics],
    ids=lambda callback: callback.name,
)
def test_a_callback_has_its_measure_s_table_with_pictures_by_layer(callback):
    assert callback.quantities is TABLES[callback.name]
    assert pictured(callback.quantities)
    assert all(quantity.by_layer for quantity in pictured(callback.quantities))


def test_the_summary_has_the_worst_of_all_layers_and_which_that_is():
    scalars = {
        "variance_shift/ratio/01_a": 2.0,
        "variance_shift/ratio/12_b": 3.0,
        "variance_shift/mean_shift/01_a": 9.0,
    }
    values, descriptions = worst(VARIANCES, VARIANCE_QUANTITIES, scalars)
    of_means = {"0_summary/variance_shift_of_means": 9.0, "0_summary/variance_shift_of_means_layer": 1}
    assert values == {"0_summary/variance_shift": 3.0, "0_summary/variance_shift_layer": 12} | of_means
    assert worst(VARIANCES, VARIANCE_QUANTITIES, scalars | {"variance_shift/ratio/13_c": float("nan")})[0]["0_summary/variance_shift_layer"] == 13
    assert descriptions["0_summary/variance_shift"].startswith("The largest over all layers. variance in inference / moving variance, or its inverse, in 1. ")
    values, _ = worst(LANDSCAPE, LANDSCAPE_QUANTITIES, {"loss_landscape/effective_smoothness": 5.0, "loss_landscape/loss": 1.0})
    assert values == {"0_summary/smoothness": 5.0}
    values, _ = worst(activations.NAME, activations.QUANTITIES, {"activation_statistics/dead/02_a": 0.0})
    assert values == {"0_summary/dead": 0.0, "0_summary/dead_layer": 0}
