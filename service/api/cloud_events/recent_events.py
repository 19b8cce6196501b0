"""The events that this process has logged last, so that one that is sent again is not counted again."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

REMEMBERED_EVENTS = 10_000

EventKey = tuple[str, ...]


class RecentEvents:
    """Logs each event once, and forgets the oldest where there are too many; Postgres keeps a row once in any case."""

    def __init__(self) -> None:
        self._logged: OrderedDict[EventKey, None] = OrderedDict()
        self._running: dict[EventKey, asyncio.Future[None]] = {}

    async def log_once(self, key: EventKey, log: Callable[[], Awaitable[None]]) -> None:
        """Call `log` unless the event has been logged; a delivery that comes meanwhile waits for its outcome."""
        while (running := self._running.get(key)) is not None:
            await asyncio.wait([running])
        if key in self._logged:
            return
        self._running[key] = asyncio.get_running_loop().create_future()
        try:
            await log()
            self._logged[key] = None
            if len(self._logged) > REMEMBERED_EVENTS:
                self._logged.popitem(last=False)
        finally:
            self._running.pop(key).set_result(None)
