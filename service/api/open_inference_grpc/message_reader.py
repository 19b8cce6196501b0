"""Reads the messages of calls, a bounded number at a time.

gRPC receives a whole message before its bytes can be counted, and tells nobody its size before. So what bounds the
memory is how many messages arrive at a time; of a call whose turn has not come, `UNREAD_BYTES` are received.
"""

import asyncio
from typing import Any

from ...errors import Overloaded
from ...settings import Settings
from ..bodies.limits import BODY_SECONDS, UNCOUNTED_BYTES
from ..problems import Problem

MIN_ARRIVALS = 8  # messages that may arrive at a time however large: a few slow ones must not stop all others
UNREAD_BYTES = UNCOUNTED_BYTES  # bytes of a message that are received before it is read: HTTP/2's flow-control window


class MessageReader:
    """Reads as many messages at a time as `TIDEMARK_MAX_REQUEST_MEMORY` has room for, and at least `MIN_ARRIVALS`.

    Parameters
    ----------
    settings : Settings
        Bounds on a message and on all, and the seconds that a call may wait for its turn.
    """

    def __init__(self, settings: Settings) -> None:
        self._limit = max(MIN_ARRIVALS, settings.max_request_memory // settings.max_request_bytes)
        self._turns = asyncio.Semaphore(self._limit)
        self._patience = settings.request_timeout

    async def read(self, context: Any) -> bytes:
        """Return the message of a call.

        Parameters
        ----------
        context : object
            grpc.aio.ServicerContext.

        Raises
        ------
        Problem
            400: the call has no message; 408: the message takes too long.
        Overloaded
            Other messages arrive all the time that the call may wait.
        """
        await self._take_turn()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                data = await context.read()
        except TimeoutError:
            raise Problem(408, f"the message took more than {BODY_SECONDS:.0f} s to arrive") from None
        finally:
            self._turns.release()
        if not isinstance(data, bytes):
            raise Problem(400, "the call ended without a message")
        return data

    async def _take_turn(self) -> None:
        try:
            async with asyncio.timeout(self._patience):
                await self._turns.acquire()
        except TimeoutError:
            raise Overloaded(f"{self._limit} other messages were arriving for {self._patience:g} s") from None
