"""Reads the messages of calls, a bounded number at a time.

gRPC receives a whole message before its bytes can be counted, and tells nobody its size before. So what bounds the
memory is how many messages arrive at a time; of a call whose turn has not come, `UNREAD_BYTES` are received. Slow
messages of inference must not hold up the calls that tell whether the server lives: these are answered without their
messages, and messages that only name a model have a turn of their own.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from enum import Enum
from typing import Any

from ...errors import Overloaded
from ...settings import Settings
from ..bodies.limits import BODY_SECONDS, UNCOUNTED_BYTES
from ..problems import Problem

MIN_ARRIVALS = 8  # messages that may arrive at a time however large: a few slow ones must not stop all others
NAME_ARRIVALS = 1  # messages among them that only name a model: those of inference leave them this turn
NAME_SECONDS = 5.0  # seconds for a message that only names a model to arrive: it has few bytes
UNREAD_BYTES = UNCOUNTED_BYTES  # bytes of a message that are received before it is read: HTTP/2's flow-control window


class MessageKind(Enum):
    """What the messages of a method hold."""

    EMPTY = "no field"
    NAME = "the name of a model"
    TENSORS = "tensors"


class MessageReader:
    """Reads as many messages at a time as `TIDEMARK_MAX_REQUEST_MEMORY` has room for, and at least `MIN_ARRIVALS`.

    Parameters
    ----------
    settings : Settings
        Bounds on a message and on all, and the seconds that a call may wait for its turn.
    """

    def __init__(self, settings: Settings) -> None:
        limit = max(MIN_ARRIVALS, settings.max_request_memory // settings.max_request_bytes)
        turns = asyncio.Semaphore(limit)
        self._turns = {
            MessageKind.NAME: (turns,),
            MessageKind.TENSORS: (asyncio.Semaphore(limit - NAME_ARRIVALS), turns),
        }
        self._patience = settings.request_timeout

    async def read(self, context: Any, kind: MessageKind) -> bytes:
        """Return the message of a call; one without fields is not read, and empty.

        Parameters
        ----------
        context : object
            grpc.aio.ServicerContext.

        Raises
        ------
        Problem
            400: the call has no message; 408: the message takes too long; 413: it is too large to be a model's name.
        Overloaded
            Other messages arrive all the time that the call may wait.
        """
        if kind is MessageKind.EMPTY:
            return b""
        seconds = NAME_SECONDS if kind is MessageKind.NAME else BODY_SECONDS
        async with self._turn(kind):
            try:
                async with asyncio.timeout(seconds):
                    data = await context.read()
            except TimeoutError:
                raise Problem(408, f"the message took more than {seconds:g} s to arrive") from None
        if not isinstance(data, bytes):
            raise Problem(400, "the call ended without a message")
        if kind is MessageKind.NAME and len(data) > UNREAD_BYTES:
            raise Problem(413, f"a message that names a model has at most {UNREAD_BYTES} bytes, got {len(data)}")
        return data

    @asynccontextmanager
    async def _turn(self, kind: MessageKind) -> AsyncIterator[None]:
        async with AsyncExitStack() as turns:
            try:
                async with asyncio.timeout(self._patience):
                    for semaphore in self._turns[kind]:
                        await turns.enter_async_context(semaphore)
            except TimeoutError:
                raise Overloaded(f"other messages were arriving for {self._patience:g} s") from None
            yield
