"""Wait for what other threads and processes do."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")
PATIENCE = 120.0  # seconds that a condition may take, on a machine that does much else
PAUSE = 0.02  # seconds between the first checks of a condition
MAX_PAUSE = 0.2  # seconds between its later ones: checks take processor time from what they wait for
PAUSE_GROWTH = 0.05  # pause as a share of the time waited so far


class RecordedWaits(threading.Event):
    """An event whose waits take no time; it is set after so many of them."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count
        self.seconds: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        if len(self.seconds) == self._count:
            self.set()
        elif timeout is not None:
            self.seconds.append(timeout)
        return self.is_set()


def until(
    condition: Callable[[], Value],
    what: str | Callable[[], str],
    within: float = PATIENCE,
    not_yet: type[Exception] | tuple[type[Exception], ...] = (),
) -> Value:
    """Check a condition again and again until it holds; return its first true value.

    Parameters
    ----------
    condition : Callable[[], Value]
        Called without arguments.
    what : str or Callable[[], str]
        Is waited for, as the failure says it; or a function that describes the state then.
    within : float
        Seconds, after which the test fails.
    not_yet : type[Exception] or tuple[type[Exception], ...]
        Errors of the condition that mean that it does not hold yet.
    """
    start = time.monotonic()
    while True:
        try:
            if value := condition():
                return value
        except not_yet:
            pass
        waited = time.monotonic() - start
        if waited > within:
            raise AssertionError(f"waited {within:g} s for {what if isinstance(what, str) else what()}")
        time.sleep(min(max(PAUSE_GROWTH * waited, PAUSE), MAX_PAUSE))
