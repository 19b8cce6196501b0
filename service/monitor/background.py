"""Threads that work for the monitor next to its loop: they test windows and prepare baselines, and never delay it."""

import heapq
import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")

logger = logging.getLogger(__name__)


@dataclass(order=True)
class _Task(Generic[T]):
    priority: int
    number: int
    work: Callable[[], T] = field(compare=False)


class Background(Generic[T]):
    """One daemon thread that does tasks by priority, and keeps their results until they are collected.

    A daemon thread, unlike those of an executor, does not hold up the end of the process.

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

    def submit(self, work: Callable[[], T], priority: int = 0) -> None:
        """Add a task, which must not raise; those with lower numbers come first."""
        with self._changed:
            heapq.heappush(self._tasks, _Task(priority, next(self._numbers), work))
            if not self._inline and self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._changed.notify()

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

    def _run(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                while not self._tasks:
                    self._changed.wait()
                task = heapq.heappop(self._tasks)
                self._busy = True
            try:
                self._results.append(task.work())
            except Exception:
                logger.exception("a task of %s failed", self._name)
