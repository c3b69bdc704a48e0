"""What every benchmark does around its measuring: flags, the import of TensorFlow, the numbers as JSON. Nothing heavy is imported, so that `--help` is instant.

A benchmark adopts the flags with `flags.adopt_module_key_flags(program)` and calls `main` by `app.run`.
"""

import datetime
import os
import shlex
import sys

from absl import app, flags

from benchmarks import timing
from recipes.frame import files, quiet
from recipes.frame.refusal import Refusal

flags.DEFINE_integer("repetitions", 50, "Times of each contestant in a comparison; their median and quartiles are shown.", lower_bound=2)
flags.DEFINE_float(
    "seconds", 10.0, f"A comparison that lasts longer makes fewer repetitions, but {timing.FEWEST} (or --repetitions, if that is less).", lower_bound=0.0
)
flags.DEFINE_string("json", None, "File for all the numbers, with machine and versions. Default: a new one in runs/, printed.")

FLAGS = flags.FLAGS


def define_choices(name, choices, help_text, default=None):
    """Defines a flag whose value is a list out of `choices`, written with commas; default: a list of some, or None for all."""
    flags.DEFINE_list(name, list(choices if default is None else default), help_text)
    message = f"expected a comma separated list out of {', '.join(choices)}."
    flags.register_validator(name, lambda values: bool(values) and set(values) <= set(choices), message)


def main(benchmark, conduct):
    """What `app.run` is to run for a benchmark.

    Args:
        benchmark: name of its module, such as "layer".
        conduct: function of (settings, about, save). `settings` is a dict of the value of every flag but `json`, `about` is from `machine.described`, with
            the machine's load at the start; it prints what it finds and hands that to `save` as a dict for the JSON file, all that is found so far each time.

    Returns:
        Function of the command line.
    """

    def run(arguments):
        if len(arguments) > 1:
            raise app.UsageError(f"{arguments[1]!r} is not a flag; expected --name=value only.")
        settings = {flag.name: flag.value for flag in FLAGS.get_key_flags_for_module(sys.modules["__main__"]) if flag.name != "json"}
        command = shlex.join(["python", "-m", f"benchmarks.{benchmark}", *sys.argv[1:]])

        def save(results):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                files.write_json(path, {"benchmark": benchmark, "command": command, "settings": settings, "machine": about, **results})
            except OSError as error:
                raise Refusal(f"--json={path} cannot be written ({error}); choose another file.") from error

        try:
            path = files.local("json", FLAGS.json or f"runs/{benchmark}-{datetime.datetime.now():%Y-%m-%d-%H%M%S}.json")
            with quiet.importing():
                from recipes.frame import machine

                about = {**machine.described(), "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None}
            if about["load"] and about["load"] > about["cores"] / 4:
                busy = f"load {about['load']:.1f} on {about['cores']} cores"
                print(f"Others compute here, too ({busy}): times and ratios may be far off; measure again when it is quiet.")
            save({})  # Better refused now than when all is measured.
            conduct(settings, about, save)
        except Refusal as refusal:
            sys.exit(f"error: {refusal}")
        except KeyboardInterrupt:
            sys.exit(130)  # What was saved last stays.
        print(f"\nAll numbers: {path}")

    return run


def shown(summary, digits):
    """A summary for the terminal: "4.61 (4.40 to 4.80)"; a dash for None."""
    if summary is None:
        return "-"
    return f"{summary['median']:.{digits}f} ({summary['lower']:.{digits}f} to {summary['upper']:.{digits}f})"
