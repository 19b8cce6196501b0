"""Adaptive micro-batching: what arrives together, or while a batch runs, makes the next one."""

import asyncio
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..errors import Overloaded
from .thread_clock import time_without_core

INLINE_SECONDS = 0.010  # working seconds of a typical batch in the event loop; longer ones run in a thread
RETURN_SECONDS = 0.005  # working seconds under which a typical batch of the thread runs in the event loop again
RECENT_RUNS = 9  # runs whose median is typical: a few that the operating system has held up change nothing

T = TypeVar("T")
R = TypeVar("R")


class TooLate(Overloaded):
    """An item waited longer than it may; it was not run."""


@dataclass(slots=True, eq=False)
class _QueuedItem(Generic[T, R]):
    item: T
    size: int
    deadline: float
    future: asyncio.Future[R]


class Batcher(Generic[T, R]):
    """Gathers items of concurrent callers into batches for one function; made and used inside a running event loop.

    An idle batcher runs an item at once; under load the items that arrive during a run make the next batch, so
    that batches grow just as far as the load asks for.

    Brief batches run in the event loop: handing one to a thread and its results back costs as much again, and on a
    machine with few cores the two threads wait for each other. While batches prove to take longer, they go to a thread
    of their own, so that the loop still receives requests. Time that a batch waits for a core does not count: on a busy
    machine a thread would wait for it as well, and take a core from the loop. A batch that waits for more items
    (`wait_ms`) does so in the thread.

    Parameters
    ----------
    run : callable
        Takes a list of items, gives as many results; one call at a time. A result that is an exception is raised to its
        own caller, an exception that `run` raises to all of the batch.
    max_batch : int
        Sum of the sizes of one call's items; a larger item is run alone.
    wait_ms : float
        How long a batch that is not full waits for more.
    queue_timeout : float
        Seconds that an item may wait for its run; after them `submit` raises `TooLate`.
    """

    def __init__(
        self,
        run: Callable[[list[T]], Sequence[R | Exception]],
        max_batch: int = 32,
        wait_ms: float = 0.0,
        queue_timeout: float = 30.0,
    ) -> None:
        self._run = run
        self._max_batch = max_batch
        self._wait = wait_ms / 1000
        self._queue_timeout = queue_timeout
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_QueuedItem[T, R]] = deque()
        self._recent: deque[float] = deque(maxlen=RECENT_RUNS)  # seconds of the latest runs
        self._was_long = True  # whether the latest run, if any, took long by the clock on the wall
        self._thread_runs = 0  # runs of the current thread
        self._changed = threading.Condition()  # condition that the thread waits for
        self._closing = False
        self._thread: threading.Thread | None = None
        if self._wait:
            self._start_thread()

    async def submit(self, item: T, size: int = 1, alone: bool = False) -> R:
        """Return the result of `item`, which takes `size` of a batch's places. A cancelled caller's item is not run.

        Parameters
        ----------
        alone : bool
            Whether there is no other caller who could be ready as well, so that a batch in the event loop runs at once.

        Raises
        ------
        TooLate
            Its turn did not come in time; it was not run.
        """
        future: asyncio.Future[R] = self._loop.create_future()
        waiting = _QueuedItem(item, size, time.monotonic() + self._queue_timeout, future)
        if self._thread is None or not self._hand_over(waiting):
            if not self._waiting and not alone:
                self._loop.call_soon(self._run_inline)  # after the callers that are ready as well
            self._waiting.append(waiting)
            if alone:
                self._run_inline()
        try:
            return await future
        except asyncio.CancelledError:
            with self._changed, suppress(ValueError):  # its batch may have begun
                self._waiting.remove(waiting)
            raise
        finally:
            del future, waiting  # an error refers to this frame, and they refer to the error

    @property
    def runs_inline(self) -> bool:
        """Whether batches are so brief that they run in the event loop."""
        return self._thread is None

    async def close(self) -> None:
        """Finish what waits and end the thread."""
        with self._changed:
            self._closing = True  # a thread that is running now ends when the queue is empty
            self._changed.notify()
        while self._thread is None and self._waiting:
            self._run_inline()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    def _hand_over(self, waiting: _QueuedItem[T, R]) -> bool:
        """Give an item to the thread; return False if the thread has ended meanwhile."""
        with self._changed:
            if self._thread is None:
                return False
            self._waiting.append(waiting)
            self._changed.notify()
            return True

    def _run_inline(self) -> None:
        if self._thread is not None or not self._waiting:
            return
        batch = self._next()
        _deliver(batch, self._timed_results(batch))
        if self._was_long and statistics.median(self._recent) > INLINE_SECONDS:
            self._start_thread()
        elif self._waiting:
            self._loop.call_soon(self._run_inline)

    def _timed_results(self, batch: list[_QueuedItem[T, R]]) -> list[R | Exception]:
        """Return the results of a batch, and record the time that it worked.

        How long it waited for a core is read after a long run only, for a brief one cannot have waited long.
        """
        waited = time_without_core() if self._was_long else None
        started = time.perf_counter()
        results = self._results(batch)
        seconds = time.perf_counter() - started
        self._was_long = seconds > RETURN_SECONDS
        if waited is not None:
            seconds -= time_without_core() - waited
        self._recent.append(seconds)
        return results

    def _start_thread(self) -> None:
        self._thread_runs = 0
        self._thread = threading.Thread(target=self._work, name="batcher", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if self._wait:
                    self._changed.wait_for(self._enough, self._wait)
                if not self._waiting:
                    if self._closing:
                        return
                    continue  # all that waited was taken back
                batch = self._next()
            self._loop.call_soon_threadsafe(_deliver, batch, self._timed_results(batch))
            self._thread_runs += 1
            if self._thread_runs >= RECENT_RUNS and self._end_thread():
                return

    def _end_thread(self) -> bool:
        """Let the event loop run what waits and what comes, if batches are brief again; return whether they are."""
        if self._wait or statistics.median(self._recent) > RETURN_SECONDS:
            return False
        with self._changed:
            if self._closing:
                return False
            self._thread = None
            self._loop.call_soon_threadsafe(self._run_inline)
            return True

    def _enough(self) -> bool:
        return self._closing or sum(waiting.size for waiting in self._waiting) >= self._max_batch

    def _next(self) -> list[_QueuedItem[T, R]]:
        """Take a batch from what waits."""
        batch = [self._waiting.popleft()]
        room = self._max_batch - batch[0].size
        while self._waiting and self._waiting[0].size <= room:
            batch.append(self._waiting.popleft())
            room -= batch[-1].size
        return batch

    def _results(self, batch: list[_QueuedItem[T, R]]) -> list[R | Exception]:
        now = time.monotonic()
        timely = [waiting.item for waiting in batch if waiting.deadline >= now]
        try:
            results = self._run(timely) if timely else []
            if len(results) != len(timely):
                raise ValueError(f"{len(results)} results of a batch of {len(timely)}")
        except Exception as error:
            results = [error] * len(timely)
        if len(timely) == len(batch):
            return list(results)
        late, each = TooLate(f"waited for {self._queue_timeout:g} s and was not run"), iter(results)
        return [next(each) if waiting.deadline >= now else late for waiting in batch]


def _deliver(batch: Sequence[_QueuedItem[T, R]], results: Sequence[R | Exception]) -> None:
    for waiting, result in zip(batch, results, strict=True):
        if waiting.future.done():  # its caller has gone
            continue
        if isinstance(result, Exception):
            waiting.future.set_exception(result)
        else:
            waiting.future.set_result(result)
