"""A bound on the processor time of work that can be left out: a share of one core, with a reserve for urgent work."""

import time
from collections.abc import Callable

SHARE_OF_CORE = 0.05  # processor seconds that are earned a second: an image server on two cores keeps 97.5 % of them
MAX_ALLOWANCE = 6.0  # processor seconds that unused shares add up to: about ten tests of 1,000 classes, 20 of ten
RESERVE = 3.0  # processor seconds that routine work leaves to the first windows of an incident


class ProcessorAllowance:
    """Processor time that accumulates at a share of one core, up to a maximum, and that work spends.

    Parameters
    ----------
    clock : callable, default time.monotonic
        Returns the time in seconds.

    Examples
    --------
    >>> now = 0.0
    >>> allowance = ProcessorAllowance(clock=lambda: now)
    >>> allowance.spend(MAX_ALLOWANCE + 1)
    >>> allowance.permits()
    False
    >>> now = 21.0
    >>> allowance.permits(), allowance.permits(reserve=RESERVE)
    (True, False)
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seconds = MAX_ALLOWANCE
        self._updated_at = clock()

    def spend(self, seconds: float) -> None:
        """Take processor seconds off the allowance, which may become negative."""
        self._update()
        self._seconds -= seconds

    def permits(self, reserve: float = 0.0) -> bool:
        """Check whether more than a reserve, in processor seconds, is left."""
        self._update()
        return self._seconds > reserve

    def _update(self) -> None:
        now = self._clock()
        self._seconds = min(self._seconds + SHARE_OF_CORE * (now - self._updated_at), MAX_ALLOWANCE)
        self._updated_at = now
