"""Processes that end with the process that started them, even if that one was killed."""

import os
import signal
import threading
import time

VARIABLE = "TIDEMARK_PARENT"  # process id of the `tidemark up` that started this process
POLL_SECONDS = 1.0  # seconds between two checks


def has_supervisor() -> bool:
    """Return whether `tidemark up` has started this process."""
    return VARIABLE in os.environ


def exit_with_supervisor() -> None:
    """End this process when the `tidemark up` that started it is gone."""
    if has_supervisor():
        exit_with_parent(int(os.environ[VARIABLE]))


def exit_with_parent(parent: int) -> None:
    """End this process when its parent, the process with this id, is gone."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="exit-with-parent", daemon=True).start()
