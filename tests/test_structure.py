"""Who may import whom, held by reading the imports of every file; and that this check would notice a broken one."""

import ast
import json
import pathlib
import sys

import pytest
import setuptools

ROOT = pathlib.Path(__file__).parents[1]
# What the files of a room may import of ours. A room is the first two parts of a module's name, or the first outside of keras_bn.
PUBLIC = {
    "keras_bn",
    "keras_bn.distribute",
    "keras_bn.functional",
    "keras_bn.layers",
    "keras_bn.measures",
    "keras_bn.callbacks",
    "keras_bn.summaries",
    "keras_bn.surgery",
}
ALLOWED = {
    "keras_bn": PUBLIC | {"keras_bn.tensorflow_backend", "keras_bn.version"},
    "keras_bn.__main__": PUBLIC | {"keras_bn.inspection"},
    "keras_bn.tensorflow_backend": set(),
    "keras_bn.version": set(),
    "keras_bn.arithmetic": {"keras_bn.arithmetic", "keras_bn.keras_internals"},
    "keras_bn.keras_internals": set(),
    "keras_bn.distribute": {"keras_bn.keras_internals", "keras_bn.inspection"},
    "keras_bn.functional": {"keras_bn.arithmetic", "keras_bn.keras_internals"},
    "keras_bn.summaries": {"keras_bn.summaries"},
    "keras_bn.layers": {"keras_bn.functional", "keras_bn.layers"},
    "keras_bn.inspection": {"keras_bn.functional", "keras_bn.keras_internals", "keras_bn.inspection"},
    "keras_bn.measures": {"keras_bn.functional", "keras_bn.keras_internals", "keras_bn.inspection", "keras_bn.measures"},
    "keras_bn.callbacks": {
        "keras_bn.keras_internals",
        "keras_bn.inspection",
        "keras_bn.measures",
        "keras_bn.summaries",
        "keras_bn.surgery",
        "keras_bn.callbacks",
    },
    "keras_bn.surgery": {
        "keras_bn.functional",
        "keras_bn.keras_internals",
        "keras_bn.inspection",
        "keras_bn.layers",
        "keras_bn.measures",
        "keras_bn.summaries",
        "keras_bn.surgery",
    },
    "recipes": PUBLIC | {"recipes"},
    "benchmarks": PUBLIC | {"benchmarks", "recipes"},
    "tensorboard_plugin_keras_bn": {"tensorboard_plugin_keras_bn"},
}
OURS = {"keras_bn", "recipes", "benchmarks", "tests", "tensorboard_plugin_keras_bn"}
DRAWERS = {"utils", "helpers", "base", "common"}


def room(module):
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "keras_bn" else parts[0]


def module_name(path, root):
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(path, root):
    """The names of ours that a file imports, each as deep as it can be told to be a module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports relatively"
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if list(root.glob(name.replace(".", "/") + "*")) else node.module for name in inner]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] in OURS)


def broken_arrows(root):
    arrows = []
    for folder in ("keras_bn", "recipes", "benchmarks", "tensorboard_plugin_keras_bn"):
        for path in (root / folder).rglob("*.py"):
            here = room(module_name(path, root))
            for there in imported_modules(path, root):
                is_own = there.split(".")[0] == "keras_bn" and here in {"recipes", "benchmarks"}
                target = there if is_own else room(there)
                if target not in ALLOWED[here]:
                    arrows.append(f"{module_name(path, root)} imports {there}")
    return arrows


def test_no_import_goes_against_the_arrows():
    assert broken_arrows(ROOT) == []


@pytest.mark.parametrize(
    ("path", "line", "complaint"),
    [
        ("keras_bn/functional.py", "from keras_bn.layers import BatchNormalization", "keras_bn.functional imports keras_bn.layers"),
        ("keras_bn/layers/new.py", "from keras_bn import summaries", "keras_bn.layers.new imports keras_bn.summaries"),
        ("keras_bn/layers/new.py", "import recipes.data", "keras_bn.layers.new imports recipes.data"),
        ("keras_bn/summaries/log.py", "def late():\n    from keras_bn import functional", "keras_bn.summaries.log imports keras_bn.functional"),
        ("recipes/new.py", "from keras_bn.layers import batch_normalization", "recipes.new imports keras_bn.layers.batch_normalization"),
        ("recipes/new.py", "import benchmarks.layer", "recipes.new imports benchmarks.layer"),
        ("tensorboard_plugin_keras_bn/new.py", "import keras_bn", "tensorboard_plugin_keras_bn.new imports keras_bn"),
    ],
)
def test_a_broken_arrow_is_noticed(path, line, complaint, tmp_path):
    for package in ("keras_bn/layers", "keras_bn/summaries", "recipes", "benchmarks", "tensorboard_plugin_keras_bn"):
        (tmp_path / package).mkdir(parents=True)
    for name in ("keras_bn/functional.py", "keras_bn/summaries/log.py", "keras_bn/layers/batch_normalization.py", "recipes/data.py", "benchmarks/layer.py"):
        (tmp_path / name).touch()
    assert broken_arrows(tmp_path) == []
    (tmp_path / path).write_text(line)
    assert broken_arrows(tmp_path) == [complaint]


def test_no_file_is_a_drawer():
    assert [path for folder in ALLOWED for path in ROOT.glob(f"{folder.split('.')[0]}/**/*.py") if path.stem in DRAWERS] == []


def test_every_folder_is_a_package_and_is_installed():
    """What setuptools is told to find: folders without an `__init__.py` would be missing in an installation."""
    packages = ["keras_bn*", "tensorboard_plugin_keras_bn"]
    folders = {path.parent for name in packages for path in (ROOT / name.strip("*")).rglob("*.py")}
    assert {".".join(folder.relative_to(ROOT).parts) for folder in folders} == set(setuptools.find_packages(ROOT, include=packages))
    assert f"include = {json.dumps(packages)}" in (ROOT / "pyproject.toml").read_text()


def test_the_tab_imports_what_every_tensorboard_has():
    """And nothing else: neither TensorFlow nor Keras come into TensorBoard's process by it."""
    imported = set()
    for path in (ROOT / "tensorboard_plugin_keras_bn").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module] if isinstance(node, ast.ImportFrom) else []
            imported |= {name.split(".")[0] for name in names}
    assert imported - sys.stdlib_module_names == {"tensorboard", "werkzeug", "tensorboard_plugin_keras_bn"}


def test_only_summaries_writes_summaries():
    writers = [path for folder in ("keras_bn", "recipes") for path in (ROOT / folder).rglob("*.py") if "tf.summary" in path.read_text()]
    assert {path.parent for path in writers} == {ROOT / "keras_bn/summaries"}
