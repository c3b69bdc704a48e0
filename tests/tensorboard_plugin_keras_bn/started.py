"""A real TensorBoard, as a process of this machine, within bounds of time."""

import json
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request

SECONDS = 240  # Several times what a quiet machine takes until TensorBoard has read the logs.


class TensorBoard:
    """A real one, as a process."""

    def __init__(self, logdir, load_fast="true", cwd=None):
        """cwd: the folder that Python looks for packages in first."""
        command = [sys.executable, "-m", "tensorboard.main", f"--logdir={logdir}", "--port=0", f"--load_fast={load_fast}", "--reload_interval=1"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, cwd=cwd)
        self.said = []
        found = None
        for line in self.process.stderr:
            self.said.append(line)
            found = re.search(r"http://\S+", line)
            if found:
                break
        assert found, "".join(self.said)
        self.address = found[0].rstrip("/")
        threading.Thread(target=lambda: self.said.extend(self.process.stderr), daemon=True).start()  # Or a full pipe would stop it.

    def ask(self, path, method="GET"):
        """(status, body)."""
        try:
            with urllib.request.urlopen(urllib.request.Request(self.address + path, method=method), timeout=SECONDS) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def json(self, route, **parameters):
        return json.loads(self.ask(f"/data/plugin/keras_bn/{route}?{urllib.parse.urlencode(parameters, doseq=True)}")[1])

    def wait_for(self, holds):
        """Until TensorBoard has read what it is to have read: `holds` of the answer of /runs."""
        waiting = threading.Event()
        for _ in range(4 * SECONDS):
            runs = {run["name"]: run["measures"] for run in self.json("runs")["runs"]}
            if holds(runs):
                return runs
            assert self.process.poll() is None, "".join(self.said)
            waiting.wait(0.25)
        raise AssertionError(f"not within {SECONDS} s: {runs}")

    def end(self):
        self.process.kill()
        self.process.wait()
