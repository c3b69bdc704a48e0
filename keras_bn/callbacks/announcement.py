"""`announced_if_slow`: a word in the terminal for who waits."""

import contextlib
import threading

SECONDS = 4.0  # From here on somebody may wonder whether anything still happens.


@contextlib.contextmanager
def announced_if_slow(text: str):
    """Prints the text if what is inside takes longer than SECONDS."""
    timer = threading.Timer(SECONDS, print, [f"\n{text}"], {"flush": True})
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
