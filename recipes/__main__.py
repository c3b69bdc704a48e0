"""`python -m recipes` lists the recipes with their questions."""

import ast
import pathlib


def questions():
    """Name of each recipe -> its question, the first line of its page. The pages are read, not run."""
    pages = sorted(path for path in pathlib.Path(__file__).parent.glob("*.py") if not path.stem.startswith("_"))
    first_lines = {path.stem: ast.get_docstring(ast.parse(path.read_text())).splitlines()[0] for path in pages}
    return {name: line for name, line in first_lines.items() if line.endswith("?")}


if __name__ == "__main__":
    listed = questions()
    width = max(map(len, listed))
    print("python -m recipes.NAME runs an experiment, --help shows its flags.\n")
    print(*(f"{name:{width}}  {question}" for name, question in listed.items()), sep="\n")
