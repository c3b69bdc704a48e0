"""The terminal during an experiment: which run of how many, its epoch, the time left; one line stays for every finished run."""

import shutil
import sys
import time

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 20


class Progress:
    """A bar over the optimizer steps of all runs; where the output is no terminal, a plain line now and then instead.

    Args:
        runs: list of `experiment.Run`.
        steps_per_phase, epochs_per_phase: int.
    """

    def __init__(self, runs, steps_per_phase, epochs_per_phase):
        self.runs, self.steps_per_phase, self.epochs_per_phase = runs, steps_per_phase, epochs_per_phase
        self.live = sys.stdout.isatty() and shutil.get_terminal_size((0, 0)).columns > 0  # A terminal without a width shows no bar.
        self.last_line = time.monotonic()

    def __enter__(self):
        self.bar = tqdm(
            total=sum(len(run.phases) for run in self.runs) * self.steps_per_phase,
            file=sys.stdout,
            disable=not self.live,
            dynamic_ncols=True,
            mininterval=0.2,
            bar_format="{percentage:3.0f}% |{bar:10}| {remaining} left, {desc}",
        )
        return self

    def __exit__(self, *_):
        self.bar.close()

    def begin(self, number, run):
        self.title, self.name = f"run {number}/{len(self.runs)}", run.name
        self.end_of_run = sum(len(earlier.phases) for earlier in self.runs[:number]) * self.steps_per_phase
        self.bar.set_description_str(f"{self.title}: {self.name}")

    def step(self):
        self.bar.update()

    def skip(self, number):
        """Counts steps as done that are not taken now; the estimate of the time left does not count them as fast."""
        if self.live:
            self.bar.initial += number
            self.bar.n += number
            self.bar.last_print_n += number

    def epoch(self, record):
        reached = "diverged" if record["loss"] is None else f"test accuracy {record['test_accuracy']:.3f}"
        line = f"{self.title}: {self.name}, {record['phase']} net, epoch {record['epoch']}/{self.epochs_per_phase}, {reached}"
        self.bar.set_description_str(line)
        if not self.live and time.monotonic() > self.last_line + SECONDS_BETWEEN_LINES:
            self._line(line)

    def end(self, outcome):
        self.skip(self.end_of_run - self.bar.n)  # Steps that a diverged or an already finished run does not take.
        self._line(f"{self.title}: {self.name}: {outcome}")

    def _line(self, text):
        self.bar.write(text, file=sys.stdout)
        sys.stdout.flush()
        self.last_line = time.monotonic()
