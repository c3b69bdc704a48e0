"""Makes docs/results.md: every claim, and what the results of runs say of it, judged by today's rules.

    python -m recipes.ledger WORKDIR ...    takes what finished runs found into docs/results/ (report, pictures, results.json), and writes the file
    python -m recipes.ledger                writes the file from what is in docs/results/
    python -m recipes.ledger --check        fails where the file does not follow from docs/results/

A run takes the place of an earlier one of the same recipe whose work folder had the same name. What is known of the reasons for its numbers is written by hand
into remarks.md in its folder of docs/results/, and stands below its tables.
"""

import importlib
import io
import pathlib
import sys
import types

from absl import flags as absl_flags

from recipes.__main__ import questions
from recipes.frame import files, flags
from recipes.frame.claims import DOES_NOT_HOLD, HOLDS, NOT_TESTABLE, PARTLY
from recipes.frame.refusal import Refusal

DOCS = pathlib.Path(__file__).parents[1] / "docs"
REMARKS = "remarks.md"
POPULAR = "often "  # How the sources of sentences begin that the papers contradict.
COLOURS = 64  # Of a picture in docs/, whose file is a third as large by that.


def read(folder):
    """(recipe, what results.json holds and "remarks", a text or None) of a finished run.

    Raises:
        Refusal: there is none, or it is not what this version of the recipe writes.
    """
    path = pathlib.Path(folder) / "results.json"
    try:
        results = files.read_json(path)
        name, given, evidence = results["recipe"], results["flags"], _evidence(results)
        _, _ = [one["cpu"] for one in results["machines"]], [one["seconds"] for one in results["results"]]
        if not path.with_name("report.md").exists():
            raise KeyError("report.md")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refusal(f"{path} is not what a finished run leaves ({error!r}); run its recipe with --workdir={folder} again.") from None
    if name not in questions():
        raise Refusal(f"{path} is of the recipe {name}, which is not there; expected one of {', '.join(questions())}.")
    recipe = importlib.import_module(f"recipes.{name}").RECIPE
    # Flags that are newer than the run have their defaults.
    results["flags"] = {flag.name: given.get(flag.name, flag.default) for flag in recipe.flags}
    if not given.keys() <= results["flags"].keys() or not evidence.keys() <= {claim.name for claim in recipe.claims}:
        raise Refusal(f"{path} has other flags or claims than recipes.{name} now; run it again in a new folder.")
    for claim in (claim for claim in recipe.claims if claim.name in evidence):
        _refuse_other_trainings(path, claim, evidence[claim.name], results["results"])
    remarks = path.with_name(REMARKS)
    return recipe, {**results, "remarks": remarks.read_text().strip() if remarks.exists() else None}


def _evidence(results):
    return {claim["name"]: claim["evidence"] for claim in results["claims"]}


def _refuse_other_trainings(path, claim, evidence, trainings):
    """Raises a Refusal where the numbers of a claim are not of as many trainings as it needs, each of those that it is about, or not what its rule takes."""
    try:
        claim.rule(evidence)
        seeds = max(len(numbers) for numbers in evidence.values())
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Refusal(f"{path} has other numbers for the claim {claim.name} than its rule takes ({error!r}); run it again in a new folder.") from None
    for chosen in claim.evidence.groups:
        of_group = {one.get("seed") for one in trainings if all(one.get(name) == value for name, value in chosen.items())}
        if len(of_group) < seeds:
            raise Refusal(f"{path} has {seeds} numbers for the claim {claim.name}, of {len(of_group)} trainings with {chosen}; run it again in a new folder.")


def command(recipe, results):
    """What to type for these results: the flags that are not as usual."""
    usual = {flag.name: flag.default for flag in recipe.flags}
    given = [f"--{name}={flags.written(value)}" for name, value in results["flags"].items() if value is not None and value != usual[name]]
    return " ".join(["python -m", f"recipes.{recipe.name}", *(one for one in given if not one.startswith("--data_dir="))])


def judged(runs):
    """What is said of each claim by each run, as a list of dicts.

    Args:
        runs: dict, a folder's name to (recipe, results), as of `read`.
    """
    found = []
    for recipe in {recipe.name: recipe for recipe, _ in runs.values()}.values():
        for claim in recipe.claims:
            for folder, (other, results) in runs.items():
                evidence = _evidence(results)
                if other is recipe and claim.name in evidence:
                    found.append({"recipe": recipe, "claim": claim, "said": claim.rule(evidence[claim.name]), "run": folder, "results": results})
    return found


def markdown(runs):
    """The ledger of some runs.

    Args:
        runs: as of `judged`.
    """
    found = judged(runs)
    parts = [
        "# Results",
        "Made by `python -m recipes.ledger` from the results of the runs below, in [results/](results): their reports, pictures and results.json. A verdict "
        "follows from a rule beside the claim in its recipe; means are over seeds, ± is the standard deviation (divisor N-1).",
        _table([_counted(found, recipe) for recipe in {one["recipe"].name: one["recipe"] for one in found}.values()]),
    ]
    differing = [one for one in found if len({other["said"].verdict for other in found if other["claim"] is one["claim"]}) > 1]
    if differing:
        parts += ["## Where runs differ", _table([_row(one) for one in differing])]
    popular = [one for one in found if one["claim"].source.startswith(POPULAR)]
    if popular:
        parts += ["## Often said", _table([_row(one) for one in popular])]
    for recipe in {recipe.name: recipe for recipe, _ in runs.values()}.values():
        of_recipe = {folder: results for folder, (other, results) in runs.items() if other is recipe}
        parts += [f"## {recipe.question} (`recipes.{recipe.name}`)", _table([_row(one) for one in found if one["recipe"] is recipe])]
        parts += [_table([_about(recipe, folder, results) for folder, results in of_recipe.items()])]
        parts += [results["remarks"] for results in of_recipe.values() if results["remarks"]]
        parts += [f"![what was found of each claim](results/{folder}/summary.png)" for folder in of_recipe]
    waiting = [_waiting(recipe, claim) for recipe, claim in _all_claims() if claim not in [one["claim"] for one in found]]
    if waiting:
        parts += ["## No run yet", _table(waiting)]
    return "\n\n".join(parts) + "\n"


def _all_claims():
    recipes = [importlib.import_module(f"recipes.{name}").RECIPE for name in questions()]
    return [(recipe, claim) for recipe in recipes for claim in recipe.claims]


def _waiting(recipe, claim):
    return {"claim": claim.sentence, "source": claim.source, "recipe": f"`python -m recipes.{recipe.name} --help`"}


def _row(one):
    data, said = one["results"]["flags"].get("dataset"), one["said"]
    shown = {"claim": one["claim"].sentence, "source": one["claim"].source, "data": data, "measured": said.measured, "verdict": f"**{said.verdict}**"}
    return {**shown, "why": said.why, "run": f"[{one['run']}](results/{one['run']}/report.md)"}


def _counted(found, recipe):
    verdicts = [one["said"].verdict for one in found if one["recipe"] is recipe]
    return {"question": recipe.question, **{verdict: verdicts.count(verdict) for verdict in (HOLDS, PARTLY, DOES_NOT_HOLD, NOT_TESTABLE)}}


def _about(recipe, folder, results):
    seconds = sum(one["seconds"] for one in results["results"])
    machines = "; ".join(f"{one['cpu']}, {one['cores']} cores; TensorFlow {one['tensorflow']}, Keras {one['keras']}" for one in results["machines"])
    return {
        "run": f"[{folder}](results/{folder}/report.md)",
        "command": f"`{command(recipe, results)}`",
        "nets": recipe.nets(types.SimpleNamespace(**results["flags"])),
        "trainings": len(results["results"]),
        "minutes": f"{seconds / 60:.0f}",
        "machine": machines,
    }


def _table(rows):
    from tabulate import tabulate

    return tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True)


def take(workdir, folder):
    """Copies what a finished run found into a folder of docs/results/."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for earlier in folder.glob("*.png"):
        earlier.unlink()
    for path in pathlib.Path(workdir).glob("*.png"):
        small = io.BytesIO()
        Image.open(path).convert("RGB").quantize(COLOURS).save(small, "PNG", optimize=True)
        files.write(folder / path.name, small.getvalue())
    for name in ("report.md", "results.json"):
        files.write(folder / name, (pathlib.Path(workdir) / name).read_text())


def main(arguments, docs=DOCS):
    """Runs the command; returns its exit status.

    Args:
        arguments: list of str, without the program's name.
        docs: path of the folder that gets results.md and results/.
    """
    values = absl_flags.FlagValues()
    absl_flags.DEFINE_bool("check", False, "Writes nothing, and fails where the file does not follow from the results.", flag_values=values)
    output = docs / "results.md"
    try:
        try:
            workdirs = [pathlib.Path(one) for one in values(["ledger", *arguments])[1:]]
        except absl_flags.Error as error:
            raise Refusal(f"{str(error).splitlines()[0].rstrip('.')}; expected --check, or folders of finished runs.") from error
        if values.check and workdirs:
            raise Refusal(f"--check received {workdirs[0]}; expected it alone: it is about the runs in {docs / 'results'}.")
        places = {workdir: docs / "results" / workdir.resolve().name for workdir in workdirs}
        for workdir, place in places.items():  # All of them, before one is taken.
            recipe, _ = read(workdir)
            if workdir.resolve() == place.resolve():
                raise Refusal(f"{workdir} is in the ledger already; expected the work folder of a run.")
            if list(places.values()).count(place) > 1:
                raise Refusal(f"two of the folders are called {place.name}; rename one.")
            if place.exists() and (there := files.read_json(place / "results.json")["recipe"]) != recipe.name:
                raise Refusal(f"{place} holds a run of recipes.{there}; rename {workdir}, which is of recipes.{recipe.name}.")
        for workdir, place in places.items():
            if (place / REMARKS).exists() and files.read_json(place / "results.json") != files.read_json(workdir / "results.json"):
                print(f"{place / REMARKS} is about other results than the new ones; see whether it is true of them.")
            take(workdir, place)
        folders = sorted(path.parent for path in (docs / "results").glob("*/results.json"))
        if not folders:
            raise Refusal(f"there are no runs in {docs / 'results'}; expected folders of finished runs: python -m recipes.ledger WORKDIR ...")
        made = markdown({folder.name: read(folder) for folder in folders})
        if not values.check:
            files.write(output, made)
        elif not output.exists() or output.read_text() != made:
            raise Refusal(f"{output} does not follow from the runs in {docs / 'results'}; write it again: python -m recipes.ledger")
    except Refusal as refusal:
        print(f"error: {refusal}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
