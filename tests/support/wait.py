"""Wait for what other threads and processes do."""

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")
PATIENCE = 120.0  # seconds that a condition may take, on a machine that does much else
PAUSE = 0.02  # seconds between two checks of a condition


def until(condition: Callable[[], Value], what: str, within: float = PATIENCE) -> Value:
    """Check a condition again and again until it holds; return its first true value.

    Parameters
    ----------
    condition : called without arguments.
    what : is waited for, as the failure says it.
    within : seconds, after which the test fails.
    """
    end = time.monotonic() + within
    while not (value := condition()):
        assert time.monotonic() < end, f"waited {within:g} s for {what}"
        time.sleep(PAUSE)
    return value
