"""How late the event loop is."""

import asyncio
import time

from tidemark.server.loop_lag import measure_loop_lag

BLOCKED = 0.05  # seconds


def test_what_blocks_the_event_loop_is_detected() -> None:
    seen: list[float] = []

    async def scenario() -> None:
        measured = asyncio.Event()

        def observe(seconds: float) -> None:
            seen.append(seconds)
            measured.set()

        measuring = asyncio.create_task(measure_loop_lag(observe, interval=0.001))
        await asyncio.sleep(0)
        time.sleep(BLOCKED)  # noqa: ASYNC251 - it is to block
        await measured.wait()
        measuring.cancel()

    asyncio.run(scenario())
    assert seen[0] >= BLOCKED - 0.01
    assert min(seen) >= 0
