"""How fast does the tab of TensorBoard answer for large logs, does its memory grow, and what does it add to TensorBoard's start?

Writes four runs of 100 layers by 10,000 steps with `keras_bn.summaries` once (one is computed, the others are copies of it), starts `tensorboard` on them,
loaded in both of its ways, and asks each route again and again.

    python -m benchmarks.tensorboard_tab --runs=4     fifteen minutes on 2 cores, most of them for writing the logs

Where there is a Chromium, it opens the page, and tells how long after the answer the picture is there, and how long a movement of the mouse over it takes.

Start: the time that loading the plugin takes in a new process that has imported TensorBoard already. Memory: the resident set of TensorBoard's process (with
--load_fast=false it holds the numbers, too; else another process does) after each route was asked three times, and after all that follows.
"""

import contextlib
import json
import pathlib
import re
import shutil
import subprocess
import sys
import time
import urllib.parse
import urllib.request

from absl import app, flags

from benchmarks import program, timing
from recipes.frame import files

LOADINGS = {"fast": "true", "Python": "false"}  # What --load_fast is then.
LONGEST_START = 600  # Seconds until TensorBoard has read the logs.
QUANTITY = "variance_shift/ratio"
DRAWN_AFTER = """() => {
  const answers = performance.getEntriesByType("resource").filter((one) => one.name.includes("/series?"));
  return performance.getEntriesByName("drawn").at(-1).startTime - answers.at(-1).responseEnd;
}"""
HOVER = """() => {
  const canvas = document.querySelector(".picture canvas");
  const { left, top, width, height } = canvas.getBoundingClientRect();
  const began = performance.now();
  for (let count = 0; count < 500; count += 1) {
    const at = { clientX: left + 200 + ((width - 300) * count) / 500, clientY: top + 10 + ((height - 60) * (count % 20)) / 20 };
    canvas.dispatchEvent(new MouseEvent("mousemove", at));
    canvas.parentElement.querySelector(".tip").getBoundingClientRect(); // The browser lays it out.
  }
  return (performance.now() - began) / 500;
}"""
START = """
import time
import tensorboard.program, tensorboard.default, tensorboard.plugins.base_plugin, werkzeug.wrappers
from tensorboard.backend import http_util
began = time.perf_counter()
from tensorboard_plugin_keras_bn.loader import Loader
plugin = Loader().load(tensorboard.plugins.base_plugin.TBContext())
print(time.perf_counter() - began)
"""


def define_flags():
    """Called where this is the program only."""
    flags.DEFINE_integer("runs", 4, "Runs in the log directory.", lower_bound=1, upper_bound=8)
    flags.DEFINE_integer("layers", 100, "Layers of each.", lower_bound=1)
    flags.DEFINE_integer("steps", 10_000, "Steps of each.", lower_bound=1)
    flags.DEFINE_string("folder", None, "Where the logs are, or are to be written. Default: one in runs/, by their size.")
    flags.adopt_module_key_flags(program)


def written(folder, runs, layers, steps):
    """Writes the logs, unless they are there."""
    if (folder / "complete").exists():
        return
    import numpy as np

    from keras_bn import summaries

    print(f"writing {runs} runs of {layers} layers by {steps:,} steps into {folder} ...", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    random = np.random.default_rng(0)
    with contextlib.closing(summaries.writer(folder / "logs" / "run0")) as writer:
        for step in range(steps):
            ratios = np.exp(abs(random.normal(0, 0.3, layers)))
            values = {f"{QUANTITY}/{place + 1:03}_batch_normalization": value for place, value in enumerate(ratios)}
            summaries.write_scalars(writer, step, values)
    for run in range(1, runs):
        shutil.copytree(folder / "logs" / "run0", folder / "logs" / f"run{run}")
    files.write(folder / "complete", "")


@contextlib.contextmanager
def tensorboard(logdir, load_fast):
    """(the process's number, its address), once it has read the logs."""
    command = [sys.executable, "-m", "tensorboard.main", f"--logdir={logdir}", "--port=0", f"--load_fast={load_fast}", "--samples_per_plugin=scalars=0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        try:
            address = next(found[0] for line in process.stderr if (found := re.search(r"http://\S+", line)))
            yield process.pid, address.rstrip("/")
        finally:
            process.kill()


def asked(address, route, **parameters):
    with urllib.request.urlopen(f"{address}/data/plugin/keras_bn/{route}?{urllib.parse.urlencode(parameters, doseq=True)}") as response:
        return json.load(response)


def wait_until_read(address, runs, newest):
    began = time.monotonic()
    while time.monotonic() - began < LONGEST_START:
        found = [run["measures"].get("variance_shift", {}).get("ratio") for run in asked(address, "runs")["runs"]]
        if found == [newest] * runs:
            return round(time.monotonic() - began, 1)
        time.sleep(1)
    raise TimeoutError(f"TensorBoard has not read the logs within {LONGEST_START} s")


def megabytes(pid):
    """The resident set of a process; None where the system does not say."""
    status = pathlib.Path(f"/proc/{pid}/status")
    return int(re.search(r"VmRSS:\s+(\d+)", status.read_text())[1]) / 1024 if status.exists() else None


def seen(address, runs, times):
    """Milliseconds, in a browser: from the server's answer to the picture of the layers, `times` times, and a movement of the mouse; None without a browser."""
    path = shutil.which("chromium")
    if path is None:
        return None
    from playwright import sync_api

    with sync_api.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        drawn = []
        for _ in range(times):
            page = browser.new_page(viewport={"width": 1280, "height": 720})
            chosen = urllib.parse.quote(json.dumps(runs))
            page.goto(f"{address}/data/plugin_entry.html?name=keras_bn#keras_bn&p.keras_bn.view=heatmap&p.keras_bn.b=run1&p.keras_bn.runs={chosen}")
            page.locator("main[aria-busy=false] .picture").first.wait_for(timeout=60_000)
            drawn.append(page.evaluate(DRAWN_AFTER))
        hover = page.evaluate(HOVER)
        browser.close()
    return {"drawn": drawn, "hover": hover}


def conduct(settings, about, save):
    name = f"runs/tensorboard_tab-{settings['runs']}-{settings['layers']}-{settings['steps']}"
    folder = files.local("folder", settings["folder"] or name)
    written(folder, settings["runs"], settings["layers"], settings["steps"])
    results = {"start": [float(subprocess.run([sys.executable, "-c", START], capture_output=True, text=True, check=True).stdout) for _ in range(5)]}
    print(f"start: the plugin adds {1000 * timing.summary(results['start'])['median']:.0f} ms")
    runs = [f"run{number}" for number in range(settings["runs"])]
    routes = {"runs": {}, "series": {"run": runs, "quantity": QUANTITY}, "overview": {"run": runs}}
    for loading, load_fast in LOADINGS.items():
        with tensorboard(folder / "logs", load_fast) as (pid, address):
            seconds = wait_until_read(address, settings["runs"], settings["steps"] - 1)
            contestants = {route: (lambda route=route, given=given: asked(address, route, **given)) for route, given in routes.items()}
            for ask in contestants.values():
                for _ in range(3):
                    ask()
            before = megabytes(pid)
            times = timing.interleaved(contestants, settings["repetitions"], settings["seconds"] * len(routes), warm_up=1)
            after = megabytes(pid)
            size = len(json.dumps(contestants["series"]()))
            page = seen(address, runs, 5)
        results[loading] = {"page": page, "read after": seconds, "times": times, "megabytes": [before, after], "size": size}
        save(results)
        said = ", ".join(f"{route} {program.shown(timing.summary([1000 * one for one in of]), 0)} ms" for route, of in times.items())
        number = len(times["runs"])
        if page is not None:
            print(
                f"{loading} loading: the picture is there {program.shown(timing.summary(page['drawn']), 0)} ms after the answer; hover {page['hover']:.1f} ms"
            )
        print(f"{loading} loading: read after {seconds:.0f} s; {said}; {before:.0f} MB, after {4 * number} more requests {after:.0f} MB")


if __name__ == "__main__":
    define_flags()
    app.run(program.main("tensorboard_tab", conduct))
