"""How long work of low importance rests, so that an image server on the same machine keeps its processors."""

import time
from collections.abc import Callable

SHARE_OF_CORE = 0.05  # share of a core that each of two threads takes while others want it: 5 % of two cores in all
CONTENDED = 1.5  # seconds that a processor second lasts where others want the processor; about 1.1 where none does


class RestPeriods:
    """Rests of one thread, from how much longer its work took than the processor time that it needed.

    The importance that the operating system gives to a process does not suffice: a network that runs on all cores waits
    for the one that a less important thread has for a moment. On a machine with a processor to spare nothing rests.

    Parameters
    ----------
    clock : callable, default time.perf_counter
        Returns the time in seconds.
    processor_clock : callable, default time.thread_time
        Returns the processor time of the calling thread in seconds.

    References
    ----------
    Douceur and Bolosky (1999), Progress-based regulation of low-importance processes, SOSP.

    Examples
    --------
    >>> now, processor = 0.0, 0.0
    >>> rests = RestPeriods(lambda: now, lambda: processor)
    >>> now, processor = 1.0, 0.9  # nobody else wanted the processor
    >>> rests.due()
    0.0
    >>> rests.begin()
    >>> now, processor = 4.0, 1.9  # the work took three times as long as it would have alone
    >>> round(rests.due(), 6)
    17.0
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.perf_counter,
        processor_clock: Callable[[], float] = time.thread_time,
    ) -> None:
        self._clock, self._processor_clock = clock, processor_clock
        self.begin()

    def begin(self) -> None:
        """Begin a part of the work, in the thread that does it."""
        self._begun_at, self._processor_begun_at = self._clock(), self._processor_clock()

    def due(self) -> float:
        """Return the seconds to rest after the part of the work since it began."""
        elapsed, processor = self._clock() - self._begun_at, self._processor_clock() - self._processor_begun_at
        if elapsed <= CONTENDED * processor:
            return 0.0
        return max(processor / SHARE_OF_CORE - elapsed, 0.0)
