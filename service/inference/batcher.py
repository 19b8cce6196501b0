"""Adaptive micro-batching: one worker thread runs a batch while the next one gathers."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from service.errors import Overloaded

T = TypeVar("T")
R = TypeVar("R")


class TooLate(Overloaded):
    """An item waited longer than it may; it was not run."""


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[T, R]):
    item: T
    size: int
    deadline: float
    future: asyncio.Future[R]


class Batcher(Generic[T, R]):
    """Gathers items of concurrent callers into batches for one function; made and used inside a running event loop.

    An idle batcher runs an item at once; under load the items that arrive during a run make the next batch, so
    that batches grow just as far as the load asks for. A batch goes to the thread and its results come back in one
    step each, however large it is.

    Parameters
    ----------
    run : takes a list of items, gives as many results; called in the batcher's own thread, one call at a time. A
        result that is an exception is raised to its own caller, an exception that `run` raises to all of the batch.
    max_batch : sum of the sizes of one call's items; a larger item is run alone.
    wait_ms : how long a batch that is not full waits for more.
    patience : seconds that an item may wait for its run; after them `submit` raises `TooLate`.
    """

    def __init__(
        self,
        run: Callable[[list[T]], Sequence[R | Exception]],
        max_batch: int = 32,
        wait_ms: float = 0.0,
        patience: float = 30.0,
    ) -> None:
        self._run = run
        self._max_batch = max_batch
        self._wait = wait_ms / 1000
        self._patience = patience
        self._queue: SimpleQueue[_Waiting[T, R] | None] = SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="batcher", daemon=True)
        self._thread.start()

    async def submit(self, item: T, size: int = 1) -> R:
        """Return the result of `item`, which takes `size` of a batch's places.

        Raises
        ------
        TooLate
            Its turn did not come in time; it was not run.
        """
        future: asyncio.Future[R] = self._loop.create_future()
        self._queue.put(_Waiting(item, size, time.monotonic() + self._patience, future))
        return await future

    async def close(self) -> None:
        """Finish what waits and end the thread."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        for batch in self._batches():
            now = time.monotonic()
            late = [waiting for waiting in batch if waiting.deadline < now]
            timely = [waiting for waiting in batch if waiting.deadline >= now] if late else batch
            try:
                results = self._run([waiting.item for waiting in timely]) if timely else []
                if len(results) != len(timely):
                    raise ValueError(f"{len(results)} results of a batch of {len(timely)}")
            except Exception as error:
                results = [error] * len(timely)
            too_late = TooLate(f"waited for {self._patience:g} s and was not run")
            self._loop.call_soon_threadsafe(_deliver, late + timely, [too_late] * len(late) + list(results))

    def _batches(self) -> Iterator[list[_Waiting[T, R]]]:
        following = self._queue.get()
        while following is not None:
            batch, room = [following], self._max_batch - following.size
            closes = time.monotonic() + self._wait
            try:
                while (following := self._before(closes, room)) is not None and following.size <= room:
                    batch.append(following)
                    room -= following.size
                yield batch
            except Empty:
                yield batch
                following = self._queue.get()

    def _before(self, closes: float, room: int) -> _Waiting[T, R] | None:
        if room <= 0:
            raise Empty
        return self._queue.get(timeout=max(closes - time.monotonic(), 0.0)) if self._wait else self._queue.get_nowait()


def _deliver(batch: Sequence[_Waiting[T, R]], results: Sequence[R | Exception]) -> None:
    for waiting, result in zip(batch, results, strict=True):
        if waiting.future.done():  # its caller has gone
            continue
        if isinstance(result, Exception):
            waiting.future.set_exception(result)
        else:
            waiting.future.set_result(result)
