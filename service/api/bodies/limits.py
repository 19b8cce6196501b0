"""Bounds on request bodies before any endpoint sees them: bytes, seconds, compression and the sum of all bodies."""

import asyncio
from collections.abc import Mapping
from typing import NoReturn

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...errors import Overloaded
from ..problems import Problem
from .compression import Inflater
from .memory_budget import BodyBudget

BODY_SECONDS = 30.0  # seconds that a client may take to send its body
DEFAULT_BODY_BYTES = 1_000_000  # bytes of a body whose path has no limit of its own
UNCOUNTED_BYTES = 65_536  # bytes of a body up to which it does not count towards the budget of the process
DRAIN_LIMIT_FACTOR = (
    8  # a refused body is dropped as it arrives up to this multiple of its limit, then the client reads why
)
BODY_TIMEOUT = "the time for the request body is over"  # message of the cancellation that ends a wait for the body
ARRIVED_SCOPE_KEY = "tidemark.arrived"  # key in a request's scope: the server has all of its body
TASKS_SCOPE_KEY = "tidemark.tasks"  # key in a request's scope: the tasks of all requests that the server has received
BODY_SCOPE_KEY = "tidemark.body"  # key under which a request's scope holds its `LimitedBody`


class BodyLimits:
    """ASGI middleware that bounds every request body, compressed or not, whichever endpoint reads it.

    Parameters
    ----------
    limits : Mapping[str, int]
        The limit in bytes of each path that takes more than `DEFAULT_BODY_BYTES`, also after decompression. A path that
        ends with `*` stands for all that start with it.
    budget : BodyBudget
        The memory that all bodies of this process share.
    """

    def __init__(self, app: ASGIApp, limits: Mapping[str, int], budget: BodyBudget) -> None:
        self._app = app
        self._limits = {path: limit for path, limit in limits.items() if not path.endswith("*")}
        self._prefixes = {path[:-1]: limit for path, limit in limits.items() if path.endswith("*")}
        self._budget = budget

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        inflater = Inflater.of_headers(scope["headers"])
        body = LimitedBody(scope, receive, inflater, self._limit(scope["path"]), self._budget)
        scope[BODY_SCOPE_KEY] = body
        try:
            await self._app(scope, body.receive, send)
        finally:
            body.close()
            # The two refer to each other: left to the garbage collector, they would make it stop all requests.
            del scope[BODY_SCOPE_KEY]

    def _limit(self, path: str) -> int:
        limit = self._limits.get(path)
        if limit is None:
            matches = (limit for prefix, limit in self._prefixes.items() if path.startswith(prefix))
            limit = next(matches, DEFAULT_BODY_BYTES)
        return limit


class LimitedBody:
    """The body of one request as it arrives: counted, timed and decompressed.

    Parameters
    ----------
    scope : Scope
        The request's; its `ARRIVED_SCOPE_KEY` says that nothing of the body is awaited any more.
    source : Receive
        ASGI's `receive`, which gives the body as the client sends it.
    inflate : Inflater or None
        What decompresses it; None for a body that is not compressed.
    limit : int
        Bytes, also after decompression.
    budget : BodyBudget
        What larger bodies take their memory from.
    """

    __slots__ = (
        "_arrived",
        "_budget",
        "_complete",
        "_compressed",
        "_deadline",
        "_inflate",
        "_reserved",
        "_scope",
        "_size",
        "_source",
        "limit",
    )

    def __init__(self, scope: Scope, source: Receive, inflate: Inflater | None, limit: int, budget: BodyBudget) -> None:
        self._scope = scope
        self._source = source
        self._inflate = inflate
        self.limit = limit
        self._budget = budget
        self._size = 0  # bytes so far, after decompression
        self._reserved = 0  # bytes of the budget
        self._compressed = b""  # bytes that have arrived and are not decompressed yet
        self._arrived = False  # True once the client has sent the whole body
        self._complete = False  # True once the endpoint has the whole body
        self._deadline = 0.0  # seconds of the event loop's clock; 0 before the first wait

    async def receive(self) -> Message:
        """Return the next part of the body, as ASGI's `receive` does.

        Raises
        ------
        Problem
            400: broken compressed data; 408: too slow; 413: too large; 415: an unknown encoding.
        Overloaded
            The bodies of other requests leave no memory for this one.
        """
        if self._complete:
            return await self._source()
        if self._inflate is not None:
            return await self._receive_compressed(self._inflate)
        message = await self._next()
        if message["type"] == "http.request":
            self._complete = self._arrived
            self._size += len(message.get("body", b""))
            if self._size > UNCOUNTED_BYTES or self._size > self.limit:
                await self._check_size()
        return message

    async def read(self) -> bytes:
        """Return the whole body.

        Raises
        ------
        Problem, Overloaded
            As `receive` does.
        ClientDisconnect
            The client has gone before its end.
        """
        parts: list[bytes] = []
        while not self._complete:
            message = await self.receive()
            if message["type"] != "http.request":
                raise ClientDisconnect
            parts.append(message.get("body", b""))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def reserve(self, count: int) -> None:
        """Reserve memory for what a parser makes of the body, until the request has been answered."""
        self._budget.reserve(count, self._reserved)
        self._reserved += count

    def close(self) -> None:
        """Give back what the body holds of the budget."""
        if self._reserved:
            self._budget.release(self._reserved)
            self._reserved = 0

    async def _next(self) -> Message:
        """Return the client's next message."""
        if ARRIVED_SCOPE_KEY in self._scope:
            message = await self._source()
        else:
            message = await self._next_in_time()
        self._arrived = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    async def _next_in_time(self) -> Message:
        """Return the client's next message, or raise a Problem when the time for the body is over."""
        loop = asyncio.get_running_loop()
        if not self._deadline:
            self._deadline = loop.time() + BODY_SECONDS
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a body is received in a task")
        # The same as asyncio.timeout_at, which takes 3 microseconds longer.
        timer = loop.call_at(self._deadline, task.cancel, BODY_TIMEOUT)
        try:
            return await self._source()
        except asyncio.CancelledError as cancelled:
            if cancelled.args != (BODY_TIMEOUT,) or task.uncancel():
                raise
            raise Problem(408, f"the body took more than {BODY_SECONDS:.0f} s to arrive") from None
        finally:
            timer.cancel()

    async def _receive_compressed(self, inflate: Inflater) -> Message:
        try:
            inflate.check_encoding()
            while not self._compressed and not self._arrived:
                message = await self._next()
                if message["type"] != "http.request":
                    return message
                self._compressed = message.get("body", b"")
            piece = b""
            if self._compressed:
                piece, self._compressed = inflate(self._compressed)
            self._complete = self._arrived and not self._compressed
            if self._complete:
                inflate.check_end()
        except Problem as problem:
            await self._refuse(problem)
        self._size += len(piece)
        await self._check_size()
        await asyncio.sleep(0)  # lets the event loop serve others between two pieces
        return {"type": "http.request", "body": piece, "more_body": not self._complete}

    async def _check_size(self) -> None:
        """Refuse a body that is too large, and take what it needs from the budget."""
        if self._size > self.limit:
            await self._refuse(Problem(413, f"the body has more than {self.limit} bytes"))
        if self._size > UNCOUNTED_BYTES:
            try:
                self.reserve(self._size - self._reserved)
            except (Problem, Overloaded) as error:
                await self._refuse(error)

    async def _refuse(self, error: Problem | Overloaded) -> NoReturn:
        """Drop the rest of the body as it arrives, up to a bound, and raise `error`."""
        self._compressed = b""
        self.close()
        while not self._arrived and self._size <= DRAIN_LIMIT_FACTOR * self.limit:
            self._size += len((await self._next()).get("body", b""))
        self._complete = True
        raise error


def body_of(request: Request) -> LimitedBody:
    """Return the body of a request whose size and memory are bounded."""
    body: LimitedBody = request.scope[BODY_SCOPE_KEY]
    return body
