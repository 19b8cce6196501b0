"""Adaptive micro-batching: one worker thread runs a batch while the next one gathers."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from service.errors import Overloaded

T = TypeVar("T")
R = TypeVar("R")


class QueueFull(Overloaded):
    """More items wait than are allowed."""


class Batcher(Generic[T, R]):
    """Gathers items of concurrent callers into batches for one function.

    An idle batcher runs an item at once; under load the items that arrive during a run make the next batch, so
    that batches grow just as far as the load asks for.

    Parameters
    ----------
    run : takes a list of items, gives as many results; called in the batcher's own thread, one call at a time.
    max_batch : items of one call.
    wait_ms : how long a batch that is not full waits for more.
    queue_limit : items that may wait; beyond it `submit` raises `QueueFull`.
    """

    def __init__(
        self,
        run: Callable[[list[T]], Sequence[R]],
        max_batch: int = 32,
        wait_ms: float = 0.0,
        queue_limit: int = 1024,
    ) -> None:
        self._run = run
        self._max_batch = max_batch
        self._wait = wait_ms / 1000
        self._queue_limit = queue_limit
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batcher")
        self._worker: asyncio.Task[None] | None = None

    async def submit(self, items: Sequence[T]) -> list[R]:
        """Return the results of `items`, in order.

        Raises
        ------
        QueueFull
            The queue has no room for all of them; none was taken.
        """
        if len(self._waiting) + len(items) > self._queue_limit:
            raise QueueFull(f"{len(self._waiting)} of {self._queue_limit} places are taken, {len(items)} are needed")
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[R]] = [loop.create_future() for _ in items]
        self._waiting.extend(zip(items, futures, strict=True))
        if self._worker is None or self._worker.done():
            self._worker = loop.create_task(self._work())
        if len(futures) == 1:
            return [await futures[0]]
        return await asyncio.gather(*futures)

    async def close(self) -> None:
        """Finish what waits and end the thread."""
        if self._worker is not None:
            await self._worker
        self._thread.shutdown()

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            if self._wait and len(self._waiting) < self._max_batch:
                await asyncio.sleep(self._wait)
            batch = [self._waiting.popleft() for _ in range(min(self._max_batch, len(self._waiting)))]
            items = [item for item, _ in batch]
            try:
                results = await loop.run_in_executor(self._thread, self._run, items)
                for (_, future), result in zip(batch, results, strict=True):
                    if not future.done():
                        future.set_result(result)
            except Exception as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
