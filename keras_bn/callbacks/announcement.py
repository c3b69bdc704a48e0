"""`announced_if_slow`: a word in the terminal for who waits."""

import contextlib
import threading
import time

SECONDS = 4.0  # From here on somebody may wonder whether anything still happens.


@contextlib.contextmanager
def announced_if_slow(text: str):
    """Prints the text if what is inside takes longer than SECONDS, and how long it took when it is done."""
    begin, timer = time.monotonic(), threading.Timer(SECONDS, print, [f"\n{text}"], {"flush": True})
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if time.monotonic() - begin > SECONDS:
            print(f"It took {time.monotonic() - begin:.0f} s.", flush=True)
