"""A network that doubles numbers and records its batches, and a clock that stands still, for tests of the batcher."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from tests.support.wait import PATIENCE
from tidemark.inference.batcher import Batcher


class Clock:
    """The batcher's clock, which stands still unless a test moves it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.without_core = 0.0  # seconds of `now` in which the thread had no core

    def monotonic(self) -> float:
        return self.now

    perf_counter = monotonic


class Recorder:
    """Doubles numbers, remembers the batches, and can be held up."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.free = threading.Event()
        self.free.set()
        self.begun = threading.Event()

    def __call__(self, items: list[int]) -> Sequence[int]:
        self.batches.append(items)
        self.begun.set()
        assert self.free.wait(PATIENCE)
        if 13 in items:
            raise ValueError("unlucky")
        return [2 * item for item in items]

    async def until_begun(self) -> None:
        await asyncio.to_thread(self.begun.wait, PATIENCE)


def in_thread(run: Recorder, **parameters: Any) -> Batcher[int, int]:
    """Return a batcher that has found its batches to take long."""
    batcher = Batcher(run, **parameters)
    batcher._start_thread()
    return batcher


def drive(scenario: Callable[[Recorder], Coroutine[Any, Any, None]]) -> Recorder:
    run = Recorder()
    asyncio.run(scenario(run))
    return run
