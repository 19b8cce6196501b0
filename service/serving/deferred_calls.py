"""Calls that no answer waits for: the event loop makes them in its next turn, when the answer is on its way."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any


class DeferredCalls:
    """Makes calls in their order: those of an event loop in its next turn, those of other threads at once.

    Whatever the loop begins later, such as the answer to a reading of the counters, comes after them.
    """

    def __init__(self) -> None:
        self._calls: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._is_due = False  # whether the event loop is going to make them

    def add(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call a function with arguments, soon."""
        self._calls.append((function, arguments))
        if self._is_due:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # this thread runs no event loop
            self._run()
            return
        self._is_due = True
        loop.call_soon(self._run)

    def _run(self) -> None:
        self._is_due = False
        while True:
            try:
                function, arguments = self._calls.popleft()
            except IndexError:  # all are made, the last one perhaps by another thread
                return
            function(*arguments)
