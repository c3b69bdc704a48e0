"""The picture's colours are those of the numbers, and what is no number is grey."""

import io

import matplotlib
import numpy as np
import pytest
from matplotlib import colors
from PIL import Image

from keras_bn.summaries import heatmap

GREY = (204, 204, 204)


def cells(png, rows, columns):
    """The colour in the middle of each cell: (rows, columns, 3). The cells are what lies between the first and last pixels that are neither white nor black."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    coloured = (pixels.min(-1) < 250) & (pixels.max(-1) > 60) & (np.ptp(pixels, -1) > 25) | (pixels == GREY).all(-1)
    lines = np.flatnonzero(coloured.mean(1) > 0.4)
    top, bottom = lines[0], lines[-1]
    middle = coloured[(top + bottom) // 2]
    left = np.flatnonzero(middle)[0]
    right = left + np.flatnonzero(~middle[left:])[0]  # Behind it comes the gap in front of the colour bar.
    down = np.linspace(top, bottom, 2 * rows + 1)[1::2].round().astype(int)
    along = np.linspace(left, right, 2 * columns + 1)[1::2].round().astype(int)
    return pixels[np.ix_(down, along)]


@pytest.mark.parametrize("theme", [{}, {"axes.grid": True, "axes.axisbelow": False, "grid.linewidth": 5.0, "image.cmap": "gray", "axes.spines.left": False}])
@pytest.mark.parametrize("logarithmic", [False, True])
def test_colours_are_those_of_the_numbers_whatever_the_theme(logarithmic, theme, rng):
    values = np.exp(rng.uniform(-3, 3, (3, 5)))
    values[1, 2] = np.nan
    with matplotlib.rc_context(theme):
        png = heatmap.drawn("measure/quantity", ["01_dense", "02_dense", "03_dense"], [0, 10, 20, 30, 40], values, "quantity", logarithmic=logarithmic)
    limits = heatmap.rounded(np.nanmin(values), down=True), heatmap.rounded(np.nanmax(values), down=False)
    scale = (colors.LogNorm if logarithmic else colors.Normalize)(*limits)
    colours = cells(png, 3, 5)
    for cell in np.ndindex(values.shape):
        expected = GREY if cell == (1, 2) else matplotlib.colormaps["viridis"](scale(values[cell]), bytes=True)[:3]
        np.testing.assert_allclose(colours[cell], np.asarray(expected, int), atol=3)


@pytest.mark.parametrize("values", [[[1.0]], [[np.nan]], [[0.0, -1.0]], [[5.0, 5.0]], [[np.inf, 2.0]]])
@pytest.mark.parametrize("logarithmic", [False, True])
def test_it_can_be_drawn_of_anything(values, logarithmic):
    png = heatmap.drawn("title", ["row"], list(range(len(values[0]))), np.array(values), "quantity", logarithmic=logarithmic)
    assert Image.open(io.BytesIO(png)).size[0] == 660


def test_logarithmic_colours_do_not_stretch_what_is_hardly_a_difference():
    values = np.array([[1.0, 1.01], [1.02, 1.0]])
    png = heatmap.drawn("measure/quantity", ["01_dense", "02_dense"], [0, 10], values, "quantity", logarithmic=True)
    for cell, colour in np.ndenumerate(values):
        expected = matplotlib.colormaps["viridis"](colors.LogNorm(1.0, 2.0)(colour), bytes=True)[:3]
        np.testing.assert_allclose(cells(png, 2, 2)[cell], np.asarray(expected, int), atol=3)


@pytest.mark.parametrize(
    ("value", "below", "above"), [(0.0, 0, 0), (1.0, 1, 1), (1.2, 1, 2), (2.0, 2, 2), (0.07, 0.05, 0.1), (930, 500, 1000), (-1.2, -2, -1), (-0.3, -0.5, -0.2)]
)
def test_ends_of_the_colour_bar_are_round(value, below, above):
    assert heatmap.rounded(value, down=True) == pytest.approx(below, rel=1e-12)
    assert heatmap.rounded(value, down=False) == pytest.approx(above, rel=1e-12)


@pytest.mark.parametrize(
    ("rows", "short", "kind"),
    [
        (["01_dense", "12_dense"], ["01", "12"], "dense"),
        (["01_dense", "02_conv2d"], ["01_dense", "02_conv2d"], ""),
        (["01_batch_normalization", "other"], ["01_batch_norm…", "other"], ""),
    ],
)
def test_labels_are_short(rows, short, kind):
    assert heatmap.labels(rows) == (short, kind)
