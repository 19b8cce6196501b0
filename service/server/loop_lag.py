"""How late the event loop is: whatever blocks it holds every request up, and shows here."""

import asyncio
from collections.abc import Callable

LAG_SECONDS = 0.5  # seconds between two measurements


async def measure_loop_lag(observe: Callable[[float], None], interval: float = LAG_SECONDS) -> None:
    """Call `observe`, until cancelled, with the seconds by which the loop was late after each interval."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + interval
        await asyncio.sleep(interval)
        observe(max(0.0, loop.time() - due))
