"""Imports TensorFlow without its greeting: six lines about oneDNN and CUDA on the standard error stream, which no log level suppresses in 2.21."""

import contextlib
import os
import sys
import tempfile


@contextlib.contextmanager
def importing():
    """Holds back what native code writes to the standard error stream; lets it out when an exception passes through."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # Without a GPU, the first use of TensorFlow complains about CUDA, after the import.
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as held_back:
        os.dup2(held_back.fileno(), 2)
        try:
            yield
        except BaseException:
            held_back.seek(0)
            os.write(terminal, held_back.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
