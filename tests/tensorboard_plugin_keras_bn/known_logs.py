"""Logs whose worst layer is known, with names that must stay texts."""

import contextlib

from keras_bn import summaries
from keras_bn.summaries import Log, Measured

HOSTILE = "<script>document.body.remove()</script>"
STEPS = range(0, 100, 10)
AUTHOR = type("Author", (), {})()  # Something that can be held weakly.
WORST = "03_batch_normalization"  # From step 50 on; before that the first layer.


def ratios(step, factor=1.0):
    return {
        "01_batch_normalization": 2.0 * factor,
        "02_batch_normalization": 1.25,
        WORST: (1.5 if step < 50 else 8.0) * factor,
        f"04_{HOSTILE}": 1.0,
    }


def write(folder, steps, factor=1.0):
    """One run, as the callbacks write it."""
    log, author = Log.open(folder), AUTHOR
    for step in steps:
        ratio = {f"variance_shift/ratio/{layer}": value for layer, value in ratios(step, factor).items()}
        lag = {f"variance_shift/lag/{layer}": 1.0 / value for layer, value in ratios(step, factor).items()}
        percentiles = {f"activation_statistics/input_p{percent}/01_batch_normalization": (percent - 50) / 35 for percent in (15, 50, 85)}
        descriptions = {f"variance_shift/ratio/{WORST}": f"what it is, in 1. 1: no shift. Layer: {HOSTILE}."}
        values = {**ratio, **lag, **percentiles, "loss_landscape/effective_smoothness": 3.0}
        log.write(step, Measured(values, descriptions, {}), author)


def make(folder):
    """Two runs of different steps, and three of odd names."""
    write(folder / "a", STEPS)
    write(folder / "b", STEPS[::2], factor=2.0)
    with contextlib.closing(summaries.writer(folder / "a")) as run:
        summaries.write_text(run, 90, "diagnosis", f"# one finding {HOSTILE}")
    for name in (HOSTILE.replace("/", "\\"), "ä語 'quoted' \"twice\" & more", "x" * 200):
        with contextlib.closing(summaries.writer(folder / name)) as run:
            summaries.write_scalars(run, 0, {"accuracy": 0.5, "variance_shift/ratio/01_" + "long" * 2500: float("nan"), "../../etc/passwd": 1.0})


def is_read(runs):
    """Whether all of `logs` is."""
    newest = [runs.get(run, {}).get("variance_shift", {}).get("ratio") for run in "ab"]
    return len(runs) == 5 and newest == [90, 80]
