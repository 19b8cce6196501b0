"""A bounded pool of threads in which large request bodies are parsed, so that the event loop continues to serve."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from ...errors import Overloaded

INLINE_BYTES = 16_384  # bytes of a body up to which parsing takes less time than the way to a thread and back
THREADS = 2  # parsing holds Python's global lock most of the time, so that more threads would not be faster
MAX_WAITING = 64  # bodies that wait for a thread, or are being parsed

P = ParamSpec("P")
R = TypeVar("R")


class ParsingPool:
    """Runs parsers of small bodies at once, and those of larger ones in threads of their own."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="parse")
        self._waiting = 0

    async def run(self, size: int, parse: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Return what `parse` returns for a body of `size` bytes.

        Raises
        ------
        Overloaded
            Too many bodies wait to be parsed.
        """
        if size <= INLINE_BYTES:
            return parse(*args, **kwargs)
        if self._waiting >= MAX_WAITING:
            raise Overloaded(f"{self._waiting} request bodies wait to be parsed")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, lambda: parse(*args, **kwargs))
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Wait for what is being parsed, and end the threads."""
        self._executor.shutdown()
