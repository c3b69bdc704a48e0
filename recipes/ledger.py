"""Makes docs/ledger.md: every claim, and what the results of runs say of it, judged by today's rules.

python -m recipes.ledger WORKDIR ...            writes the file
python -m recipes.ledger --check WORKDIR ...    fails where the file does not follow from the results
"""

import importlib
import pathlib
import sys

from absl import flags as absl_flags

from recipes.__main__ import questions
from recipes.frame import files, flags
from recipes.frame.refusal import Refusal

ROOT = pathlib.Path(__file__).parents[1]


def read(workdir):
    """(recipe, what results.json holds) of a finished run.

    Raises:
        Refusal: there is none, or it is not what this version of the recipe writes.
    """
    path = pathlib.Path(workdir) / "results.json"
    try:
        results = files.read_json(path)
        name, given, claims = results["recipe"], results["flags"], results["claims"]
        _, _ = results["machine"]["cpu"], [one["seconds"] for one in results["results"]]
        evidence = {claim["name"]: claim["evidence"] for claim in claims}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refusal(f"{path} is not what a finished run leaves ({error!r}); run its recipe with --workdir={workdir} again.") from None
    if name not in questions():
        raise Refusal(f"{path} is of the recipe {name}, which is not there; expected one of {', '.join(questions())}.")
    recipe = importlib.import_module(f"recipes.{name}").RECIPE
    if given.keys() != {flag.name for flag in recipe.flags} or not evidence.keys() <= {claim.name for claim in recipe.claims}:
        raise Refusal(f"{path} has other flags or claims than recipes.{name} now; run it again in a new folder.")
    return recipe, results


def command(recipe, results):
    """What to type for these results: the flags that are not as usual."""
    usual = {flag.name: flag.default for flag in recipe.flags}
    given = [f"--{name}={flags.written(value)}" for name, value in results["flags"].items() if value is not None and value != usual[name]]
    return " ".join(["python -m", f"recipes.{recipe.name}", *(one for one in given if not one.startswith("--data_dir="))])


def markdown(runs):
    """The ledger of some runs.

    Args:
        runs: list of (recipe, results), as of `read`.
    """
    from tabulate import tabulate

    runs = sorted(runs, key=lambda run: (list(questions()).index(run[0].name), run[1]["flags"].get("dataset") or ""))
    rows, about = [], []
    for number, (recipe, results) in enumerate(runs, start=1):
        evidence = {claim["name"]: claim["evidence"] for claim in results["claims"]}
        for claim in recipe.claims:
            if claim.name in evidence:
                said = claim.rule(evidence[claim.name])
                row = {"claim": claim.sentence, "source": claim.source, "run": number, "measured": said.measured, "verdict": said.verdict, "why": said.why}
                rows.append(row)
        machine = results["machine"]
        seconds = sum(one["seconds"] for one in results["results"])
        about.append(
            {
                "run": number,
                "command": f"`{command(recipe, results)}`",
                "data": results["flags"].get("dataset"),
                "trainings": len(results["results"]),
                "minutes": f"{seconds / 60:.1f}",
                "machine": f"{machine['cpu']}, {machine['cores']} cores; TensorFlow {machine['tensorflow']}, Keras {machine['keras']}",
            }
        )
    tables = [tabulate(each, headers="keys", tablefmt="github", disable_numparse=True) for each in (rows, about)]
    intro = "Made by `python -m recipes.ledger WORKDIR ...` from the results of the runs below. A verdict follows from a rule beside the claim in its recipe."
    return "\n\n".join(["# Ledger", intro, tables[0], "## Runs", tables[1]]) + "\n"


def main(arguments, output=ROOT / "docs" / "ledger.md"):
    """Runs the command; returns its exit status.

    Args:
        arguments: list of str, without the program's name.
        output: path of the file.
    """
    values = absl_flags.FlagValues()
    absl_flags.DEFINE_bool("check", False, "Writes nothing, and fails where the file does not follow from the results.", flag_values=values)
    try:
        try:
            workdirs = values(["ledger", *arguments])[1:]
        except absl_flags.Error as error:
            raise Refusal(f"{str(error).splitlines()[0].rstrip('.')}; expected --check and folders only.") from error
        if not workdirs:
            raise Refusal("the ledger received no folders; expected those of finished runs: python -m recipes.ledger WORKDIR ...")
        made = markdown([read(workdir) for workdir in workdirs])
        if values.check:
            if not output.exists() or output.read_text() != made:
                raise Refusal(f"{output} does not follow from these results; expected what `python -m recipes.ledger` makes of them: run it without --check.")
        else:
            files.write(output, made)
    except Refusal as refusal:
        print(f"error: {refusal}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
