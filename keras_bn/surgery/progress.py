"""A bar that shows how far a tool is."""

from collections.abc import Callable

import keras


def bar(unit: str, is_shown: bool) -> Callable[[int, int | None], None]:
    """A function that shows how many of how many are done; the latter may be None. unit: what is counted; is_shown: whether it shows anything."""
    if not is_shown:
        return lambda done, number: None
    progress = keras.utils.Progbar(None, unit_name=unit)

    def show(done, number):
        progress.target = number
        progress.update(done, finalize=done == number)

    return show
