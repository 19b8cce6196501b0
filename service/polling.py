"""Waits for a state that nobody announces, such as another process's lock or a server that starts."""

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], bool], seconds: float, pause: float) -> bool:
    """Check a condition until it holds; return whether it did within so many seconds.

    Parameters
    ----------
    condition : Callable[[], bool]
        Function without arguments It is called at least once; an error that it raises ends the wait.
    pause : float
        Seconds between two checks.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= end:
            return False
        time.sleep(pause)
    return True
