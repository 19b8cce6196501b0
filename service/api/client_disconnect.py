"""The end of work whose client has gone: what still waits for its turn is dropped."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

T = TypeVar("T")


async def until_disconnect(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of work, or cancel it once the client closes the connection.

    Parameters
    ----------
    request : Request
        Its body has been read, so that nothing but the end of the connection can still come.
    work : Coroutine

    Raises
    ------
    ClientDisconnect
        The client has gone before the work was done.
    """
    task = asyncio.ensure_future(work)
    disconnect = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait((task, disconnect), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientDisconnect
    finally:
        disconnect.cancel()
        task.cancel()
        del disconnect, task  # an error refers to this frame, and a task to its error
