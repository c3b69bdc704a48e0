"""Each wrong variant still fits the code, and its tests exist; whether those notice it, `python tests/mutants.py` says."""

import pytest

import mutants


@pytest.mark.parametrize("name", mutants.MUTANTS)
def test_variant_fits_the_code(name):
    assert mutants.misfit(name) is None


@pytest.mark.parametrize(
    ("variant", "reason"),
    [
        (("README.md", "no such text", "", []), "README.md holds 'no such text' 0 times; expected once"),
        (("no_such_file.py", "text", "", []), "no_such_file.py holds 'text' 0 times; expected once"),
        (("setup.py", "setup()", "", ["tests/test_mutants.py::test_of_nothing"]), "tests/test_mutants.py::test_of_nothing does not exist"),
        (("setup.py", "setup()", "", ["tests/test_nothing.py"]), "tests/test_nothing.py does not exist"),
    ],
)
def test_a_variant_that_does_not_fit_is_noticed(variant, reason, monkeypatch):
    monkeypatch.setitem(mutants.MUTANTS, "new", variant)
    assert mutants.misfit("new") == reason
