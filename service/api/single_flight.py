"""Looks at the database that cannot hold a server up, whatever the database does."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

PATIENCE = 2.0  # seconds that a look may take: probes and scrapers do not wait much longer

R = TypeVar("R")


class SharedLook(Generic[R]):
    """A look at the database that all share who ask while it lasts.

    A database that hangs keeps one thread and one connection waiting, however many ask.

    Parameters
    ----------
    look : called in a thread.
    """

    def __init__(self, look: Callable[[], R]) -> None:
        self._look = look
        self._looking: asyncio.Future[R] | None = None
        self._until = 0.0

    async def __call__(self) -> R:
        """Return what the look finds.

        Raises
        ------
        TimeoutError
            It has taken longer than `PATIENCE`; it goes on.
        """
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(asyncio.to_thread(self._look))
            self._looking.add_done_callback(lambda looked: looked.cancelled() or looked.exception())  # its callers left
            self._until = asyncio.get_running_loop().time() + PATIENCE
        async with asyncio.timeout_at(self._until):
            return await asyncio.shield(self._looking)
