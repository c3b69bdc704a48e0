"""The command line of `keras_bn.surgery`: `python -m keras_bn TOOL MODEL`, or `keras-bn TOOL MODEL`."""

import contextlib
import json
import pathlib
import sys
import warnings
import zipfile

import keras
import numpy as np
from absl import flags

from keras_bn import surgery
from keras_bn.inspection.errors import in_a_line
from keras_bn.surgery.diagnosis import report
from keras_bn.surgery.whole_files import whole

USAGE = """{program} diagnose MODEL --data=XY.npz                   what is wrong, and what mends it; exit status 2 if something is
{program} foldable MODEL                                    which batch normalisation layers fold, and why the others do not
{program} fold MODEL --output=FOLDED.keras                   folds them
{program} convert MODEL --output=OURS.keras                  Keras's layers become keras_bn's
{program} revert MODEL --output=KERAS.keras                  and back
{program} recalibrate MODEL --data=X.npz --output=NEW.keras  population statistics of these data

MODEL is a .keras file, or an .h5 file of Keras 2; XY.npz holds `x` and `y`, as `fit` takes them. What is written is a file that was not there before. Needs
what the model needs to be loaded.
"""
TEXT, MARKDOWN, JSON = "text", "markdown", "json"
WRITING = "fold", "convert", "revert", "recalibrate"
TOOLS = "diagnose", "foldable", *WRITING
FOUND = 2  # Exit status of diagnose where something is wrong; hints alone are not.
SUFFIXES = ".keras", ".h5", ".hdf5"


class Refusal(Exception):  # noqa: N818 - it is said to the user, as that of recipes.
    """What cannot be done, in one sentence."""


def defined_flags() -> flags.FlagValues:
    """Of this program alone: a process may import others that have some of these names."""
    values = flags.FlagValues()
    flags.DEFINE_bool("help", False, "Shows this.", flag_values=values)
    flags.DEFINE_string("output", None, "The .keras file that is written; of diagnose a report: .txt, .md, .json, .png, .pdf or .svg.", flag_values=values)
    flags.DEFINE_string(
        "data", None, "An .npz file with `x`, or an array for each of the model's inputs by its name; for diagnose with `y`, or of outputs.", flag_values=values
    )
    flags.DEFINE_enum("format", TEXT, (TEXT, MARKDOWN, JSON), "How results are shown.", flag_values=values)
    flags.DEFINE_bool("trust", False, "Load code that the model's file holds, as Lambda layers do: only files of your own.", flag_values=values)
    flags.DEFINE_enum("method", "sequential", ("sequential", "batch"), "recalibrate: as of surgery.recalibrate.", flag_values=values)
    flags.DEFINE_bool("dropout", False, "recalibrate: whether Dropout acts meanwhile.", flag_values=values)
    flags.DEFINE_integer("batch_size", 32, "recalibrate, diagnose: examples a batch, as in training.", lower_bound=1, flag_values=values)
    flags.DEFINE_string("options", "{}", 'convert: options of the new layers as JSON, such as {"synchronized": true, "momentum": null}.', flag_values=values)
    return values


def main(arguments: list[str]) -> int:
    """Runs one command.

    Args:
        arguments: the program's name, and what follows it.

    Returns:
        The exit status: 0, 2 where `diagnose` found something, or 1 after an error, which is said in one sentence.
    """
    settings, program = defined_flags(), pathlib.Path(arguments[0]).name
    program = "python -m keras_bn" if program == "__main__.py" else program
    try:
        with _warnings_in_a_line():
            positional = _parsed(settings, arguments)
            if settings.help or not positional:
                print(f"{USAGE.format(program=program)}\n{settings.get_help()}")
                return 0 if settings.help else 1
            tool, path = _tool_and_path(positional)
            return _conduct(tool, path, settings)
    except Refusal as refusal:
        print(f"error: {refusal}", file=sys.stderr)
        return 1


def run() -> None:
    """What the console script calls."""
    sys.exit(main(sys.argv))


def _parsed(settings, arguments):
    try:
        return settings(arguments)[1:]
    except flags.Error as error:
        raise Refusal(f"{str(error).splitlines()[0].rstrip('.')}; expected what --help shows.") from error


def _tool_and_path(positional):
    if positional[0] not in TOOLS:
        raise Refusal(f"{positional[0]!r} is no tool; expected {', '.join(TOOLS)}: see --help.")
    if len(positional) != 2:
        raise Refusal(f"{positional[0]} received {len(positional) - 1} files; expected one, the model.")
    return positional[0], pathlib.Path(positional[1])


def _conduct(tool, path, settings):
    output = _output(tool, path, settings.output)
    options = _options(tool, settings.options)
    if tool in ("recalibrate", "diagnose") and settings.data is None:
        raise Refusal(f"{tool} received no --data; expected an .npz file with the training inputs as `x`.")
    model = _loaded(path, settings.trust)
    data = _data(pathlib.Path(settings.data), model) if settings.data is not None else None
    try:
        if tool == "diagnose":
            return _diagnosed(model, data, output, settings)
        rows = surgery.foldable(model) if tool in ("fold", "foldable") else []
        if tool == "recalibrate":
            is_shown = settings.format == TEXT
            rows = surgery.recalibrate(model, data, method=settings.method, dropout=settings.dropout, batch_size=settings.batch_size, verbose=is_shown)
        elif tool != "foldable":
            model = getattr(surgery, tool)(model, **options)
    except ValueError as error:
        raise Refusal(str(error)) from error
    if output is not None:
        with _writing(output), whole(output) as temporary:
            model.save(temporary)
    _show([row._asdict() for row in rows] or [{"written": str(output)}], settings.format)
    return 0


def _diagnosed(model, data, output, settings):
    diagnosis = surgery.diagnose(model, data, batch_size=settings.batch_size, verbose=settings.format == TEXT)
    print({TEXT: diagnosis.__str__, MARKDOWN: diagnosis.markdown, JSON: lambda: json.dumps(diagnosis.to_dict(), indent=2)}[settings.format]())
    if output is not None:
        with _writing(output):
            diagnosis.write(output)
    return FOUND if diagnosis.faults else 0


def _output(tool, path, output):
    if path.suffix not in SUFFIXES:
        raise Refusal(f"{path} is no model by its name; expected a file that ends in {', '.join(SUFFIXES)}: save it by model.save.")
    if not path.is_file():
        raise Refusal(f"{path} is not there; expected a saved model.")
    if output is None:
        if tool in WRITING:
            raise Refusal(f"{tool} received no --output; expected the .keras file to write.")
        return None
    output, ends = pathlib.Path(output), {"diagnose": report.SUFFIXES, "foldable": ()}.get(tool, (".keras",))
    if not ends:
        raise Refusal(f"{tool} received --output={output}; expected none, as it writes nothing: leave it out.")
    if output.suffix not in ends:
        raise Refusal(f"--output={output} does not end in {', '.join(ends)}; expected a file that does.")
    if output.exists():
        raise Refusal(f"--output={output} is there already; expected a new file: choose another name.")
    if not output.parent.is_dir():
        raise Refusal(f"the folder of --output={output} is not there; expected one that is: make it.")
    return output


def _options(tool, text):
    try:
        options = json.loads(text)
    except json.JSONDecodeError as error:
        raise Refusal(f'--options={text} is no JSON ({error}); expected such as {{"synchronized": true}}.') from error
    if not isinstance(options, dict):
        raise Refusal(f'--options={text} is no object; expected such as {{"synchronized": true}}.')
    if options and tool != "convert":
        raise Refusal(f"{tool} received --options={text}; expected none, as they are of convert.")
    return options


def _loaded(path, trust):
    try:
        return keras.saving.load_model(path, safe_mode=not trust)
    except Exception as error:
        if "Lambda" in str(error) and not trust:
            raise Refusal(f"{path} holds code, in a Lambda layer, which may do anything; expected none: --trust loads it, if the file is your own.") from error
        raise Refusal(f"{path} cannot be loaded ({in_a_line(error)}); expected a model that keras.saving.load_model loads.") from error


def _data(path, model):
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise Refusal(f"--data={path} cannot be read as .npz of numbers ({error}); expected numpy.savez of `x`.") from error
    names = [tensor.name for tensor in getattr(model, "inputs", None) or []]
    outputs = {name: arrays[name] for name in getattr(model, "output_names", ()) if name in arrays}
    y = arrays.get("y", next(iter(outputs.values())) if len(outputs) == 1 else outputs or None)
    if "x" in arrays:
        return arrays["x"], y, arrays.get("sample_weight")
    if names and set(names) <= arrays.keys():
        return {name: arrays[name] for name in names}, y, arrays.get("sample_weight")
    expected = "`x`" if len(names) < 2 else " and ".join(f"`{name}`" for name in names)
    raise Refusal(f"--data={path} holds {', '.join(sorted(arrays)) or 'nothing'}; expected {expected}.")


@contextlib.contextmanager
def _writing(output):
    try:
        yield
    except OSError as error:
        raise Refusal(f"--output={output} cannot be written ({error}); expected a folder with room for it.") from error


def _show(rows, form):
    if form == JSON:
        print(json.dumps(rows, indent=2))
        return
    columns = list(rows[0])
    cells = [columns, *([report.shown(row[column]) for column in columns] for row in rows)]
    print(*report.table(cells, form == MARKDOWN), sep="\n")


@contextlib.contextmanager
def _warnings_in_a_line():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        finally:
            for each in caught:
                if issubclass(each.category, UserWarning) and "keras_bn" in each.filename:  # Not what TensorFlow says to its developers.
                    print(f"warning: {each.message}", file=sys.stderr)


if __name__ == "__main__":
    run()
