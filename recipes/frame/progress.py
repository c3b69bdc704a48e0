"""The terminal during an experiment: which training of how many, its step, the time left; one line stays for every finished training."""

import shutil
import sys
import time

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 20


class Progress:
    """A bar over the optimizer steps of all trainings; where the output is no terminal, a plain line now and then instead.

    Args:
        lengths: list of int, the trainings' steps.
    """

    def __init__(self, lengths):
        self.lengths = lengths
        self.live = sys.stdout.isatty() and shutil.get_terminal_size((0, 0)).columns > 0  # A terminal without a width shows no bar.
        self.last_line = time.monotonic()

    def __enter__(self):
        self.bar = tqdm(
            total=sum(self.lengths),
            file=sys.stdout,
            disable=not self.live,
            dynamic_ncols=True,
            mininterval=0.2,
            bar_format="{percentage:3.0f}% |{bar:10}| {remaining} left, {desc}",
        )
        return self

    def __exit__(self, *_):
        self.bar.close()

    def begin(self, number, name, score):
        """`number`: of the training, from 1; `score`: the quantity that is shown while it trains."""
        self.title, self.score, self.steps = f"training {number}/{len(self.lengths)}: {name}", score, self.lengths[number - 1]
        self.end_of_training = sum(self.lengths[:number])
        self.bar.set_description_str(self.title)

    def step(self):
        self.bar.update()

    def skip(self, number):
        """Counts steps as done that are not taken now; the estimate of the time left does not count them as fast."""
        if self.live:
            self.bar.initial += number
            self.bar.n += number
            self.bar.last_print_n += number

    def record(self, record):
        value = record.get(self.score, record["loss"])
        reached = "diverged" if record["loss"] is None else f"{self.score.replace('_', ' ')} {value:.4g}"
        line = f"{self.title}, step {record['step']:,} of {self.steps:,}, {reached}"
        self.bar.set_description_str(line)
        if not self.live and time.monotonic() > self.last_line + SECONDS_BETWEEN_LINES:
            self._line(line)

    def end(self, outcome):
        self.skip(self.end_of_training - self.bar.n)  # Steps that a diverged or an already finished training does not take.
        self._line(f"{self.title}: {outcome}")

    def _line(self, text):
        self.bar.write(text, file=sys.stdout)
        sys.stdout.flush()
        self.last_line = time.monotonic()
