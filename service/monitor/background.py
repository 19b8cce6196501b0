"""Threads that work for the monitor next to its loop: they test windows and prepare baselines, and never delay it."""

import heapq
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from .rest_periods import RestPeriods

T = TypeVar("T")

URGENT = 0  # priority down from which a task has no rest: an alarm or a stream waits for it

logger = logging.getLogger(__name__)


@dataclass(order=True)
class _Task(Generic[T]):
    priority: int
    number: int
    work: Callable[[], T] = field(compare=False)


class Background(Generic[T]):
    """One daemon thread that does tasks by priority, and keeps their results until they are collected.

    A daemon thread, unlike those of an executor, does not hold up the end of the process. Tasks of priority 0 are
    urgent: others have to wait for them. After one that is not, and where it calls `rest`, the thread rests as
    `RestPeriods` says, so that an image server on the same machine keeps its processors.

    Parameters
    ----------
    name : str
        The name of the thread.
    inline : bool, default False
        Whether `collect` does the tasks in the caller's thread, for tests and replays whose result must not depend on
        timing.
    """

    def __init__(self, name: str, inline: bool = False) -> None:
        self._name = name
        self._inline = inline
        self._tasks: list[_Task[T]] = []
        self._results: deque[T] = deque()
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._busy = False
        self._rests = RestPeriods()
        self._rest_end = -float("inf")  # the monotonic time at which the thread may go on with what is not urgent

    def submit(self, work: Callable[[], T], priority: int = 0) -> None:
        """Add a task, which must not raise; those with lower numbers come first."""
        with self._changed:
            heapq.heappush(self._tasks, _Task(priority, next(self._numbers), work))
            if not self._inline and self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._changed.notify()

    def rest(self) -> None:
        """Rest for as long as the work since the last call requires; for a task that is not urgent, between two parts.

        An urgent task that waits ends the rest, and no further one is taken until it is begun.
        """
        if self._inline:
            return
        with self._changed:
            self._changed.wait_for(lambda: self._has_urgent, self._rests.due())
        self._rests.begin()

    def collect(self) -> list[T]:
        """Return the results since the last call."""
        if self._inline:
            while self._tasks:
                self._results.append(heapq.heappop(self._tasks).work())
        results = []
        while self._results:
            results.append(self._results.popleft())
        return results

    @property
    def idle(self) -> bool:
        """Whether no task waits, none is being done, and no result is to be collected."""
        with self._changed:
            return not self._tasks and not self._busy and not self._results

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def _has_urgent(self) -> bool:
        return bool(self._tasks) and self._tasks[0].priority <= URGENT

    def _run(self) -> None:
        while True:
            task = self._next_task()
            self._rests.begin()
            try:
                self._results.append(task.work())
            except Exception:
                logger.exception("a task of %s failed", self._name)
            if task.priority > URGENT:
                self._rest_end = time.monotonic() + self._rests.due()

    def _next_task(self) -> _Task[T]:
        """Wait for a task, and unless it is urgent for the end of the rest."""
        with self._changed:
            self._busy = False
            while not self._has_urgent:
                rest = self._rest_end - time.monotonic()
                if self._tasks and rest <= 0:
                    break
                self._changed.wait(rest if self._tasks else None)
            self._busy = True
            return heapq.heappop(self._tasks)
