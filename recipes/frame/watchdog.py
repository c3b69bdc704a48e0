"""Ends a process that waits for workers which do not come; a process itself, as TensorFlow waits without letting other threads of its process run.

python -m recipes.frame.watchdog PID SECONDS ADDRESS ...
"""

import os
import signal
import socket
import sys
import time


def silent(addresses):
    """Those of the addresses, each host:port, at which nobody answers."""

    def answers(address):
        host, port = address.rsplit(":", 1)
        try:
            socket.create_connection((host, int(port)), timeout=2).close()
        except OSError:
            return False
        return True

    return [address for address in addresses if not answers(address)]


def main(pid, seconds, *addresses):
    time.sleep(float(seconds))
    while os.getppid() == int(pid) and not (missing := silent(addresses)):
        time.sleep(float(seconds))  # All are there, and begin.
    if os.getppid() == int(pid):
        print(
            f"error: no worker answers at {', '.join(missing)} within {seconds} seconds; start it, or take it out of TF_CONFIG.",
            file=sys.stderr,
            flush=True,
        )
        os.kill(int(pid), signal.SIGKILL)  # TensorFlow keeps SIGTERM for itself.


if __name__ == "__main__":
    main(*sys.argv[1:])
