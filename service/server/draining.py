"""The time between SIGTERM and the end: load balancers are informed, and requests are still served.

A load balancer continues to send requests until it has noticed that `/readyz` answers 503.
"""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import FrameType
from typing import Any

from fastapi import FastAPI

logger = logging.getLogger(__name__)


def drain_on_sigterm(app: FastAPI, grace: float, announce: Callable[[], None]) -> None:
    """Let SIGTERM end the server of an application after a time of grace; a second signal ends it at once.

    Parameters
    ----------
    grace : float
        Seconds in which new requests are served after SIGTERM.
    announce : Callable
        Called on SIGTERM, makes `/readyz` answer 503.
    """
    original = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(application: Any) -> AsyncIterator[Any]:
        async with original(application) as state:
            _install(grace, announce)
            yield state

    app.router.lifespan_context = lifespan


def _install(grace: float, announce: Callable[[], None]) -> None:
    """Put the grace before uvicorn's own handler of SIGTERM, which is installed by now."""
    loop = asyncio.get_running_loop()
    end = signal.getsignal(signal.SIGTERM)
    if not callable(end):  # the application runs in a test, without a server
        return

    def on_sigterm(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, end)
        announce()
        if grace == 0:
            end(number, frame)
            return
        logger.info("stopping: new requests are served for %g s more", grace)
        loop.call_soon_threadsafe(loop.call_later, grace, end, number, None)

    signal.signal(signal.SIGTERM, on_sigterm)
