"""Queries whose result concurrent callers share, so that a database that hangs cannot hold the server up."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

QUERY_TIMEOUT = 2.0  # seconds that callers wait for a query: probes and scrapers do not wait much longer

R = TypeVar("R")


class SingleFlight(Generic[R]):
    """Runs one query at a time in a thread; callers that come while it runs share its result.

    A database that hangs keeps one thread and one connection waiting, however many callers there are.

    Parameters
    ----------
    query : Callable[[], R]
        Called in a thread.
    """

    def __init__(self, query: Callable[[], R]) -> None:
        self._query = query
        self._running: asyncio.Future[R] | None = None
        self._deadline = 0.0

    async def __call__(self) -> R:
        """Return the result of the query.

        Raises
        ------
        TimeoutError
            The query has taken longer than `QUERY_TIMEOUT`; it still runs.
        """
        if self._running is None or self._running.done():
            self._running = asyncio.ensure_future(asyncio.to_thread(self._query))
            # Reads the result, so that asyncio does not log an error of which all callers have gone.
            self._running.add_done_callback(lambda future: future.cancelled() or future.exception())
            self._deadline = asyncio.get_running_loop().time() + QUERY_TIMEOUT
        async with asyncio.timeout_at(self._deadline):
            return await asyncio.shield(self._running)
