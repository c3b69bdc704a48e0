"""Files that are there whole or not at all."""

import json
import math
import os
import pathlib

from recipes.frame.refusal import Refusal

TEMPORARY = ".tmp"


def local(flag, value):
    """The path that a flag gives, on this machine. `~` is the user's home.

    Args:
        flag: its name, for the message.
        value: str.

    Raises:
        Refusal: it has a scheme, which Python would take for the name of a local folder.
    """
    if "://" in str(value):
        raise Refusal(f"--{flag}={value} is not on this machine; expected a local path: mount that storage, or copy what is written afterwards.")
    return pathlib.Path(value).expanduser()


def is_temporary(path):
    """Whether a file is what a killed `write` has left."""
    return path.name.startswith(".") and path.name.endswith(TEMPORARY)


def write(path, content):
    """Writes a file under a temporary name and renames it: whoever reads `path`, also after a kill or on a full disk, finds the old content or the new.

    Args:
        path: of the file; its folder exists.
        content: str or bytes.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(f".{path.name}{TEMPORARY}")
    try:
        with open(temporary, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path, value):
    """Writes JSON; numbers that are not finite are refused, since JSON has none (use None)."""
    write(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def finite(value):
    """The same, within dicts and lists, with None for what is not finite, as JSON has no such numbers."""
    if isinstance(value, dict):
        return {name: finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path):
    return json.loads(pathlib.Path(path).read_text())
