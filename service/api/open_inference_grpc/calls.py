"""Calls over gRPC: their API keys, the bounds on their number and messages, and their errors as status codes.

A call's key is checked before its message is read, and a message has a time to arrive, as over HTTP. Both need control
over the reading, which gRPC gives to handlers of client streams alone; on the wire a call with one message is the same.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import Message

from ...errors import Overloaded
from ..bodies.limits import UNCOUNTED_BYTES
from ..middleware.api_keys import ApiKeys, key_of
from ..problems import CLIENT_CLOSED_REQUEST, Problem, problem_of
from ..server_state import ServerState
from .message_reader import MessageKind, MessageReader

CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    503: grpc.StatusCode.UNAVAILABLE,
}  # gRPC's status by the HTTP status of a problem; others are INTERNAL
COMPRESSED_BYTES = 4_096  # bytes of an answer from which compressing it is worth the time

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Method:
    """A method of the service.

    Attributes
    ----------
    name : str
        Its name in the protocol.
    answer : callable
        Returns the answer to a message's bytes.
    message : MessageKind
        What its messages hold.
    scopes : tuple of str
        The scopes of API keys of which a call needs one; none: the method is open.
    """

    name: str
    answer: Callable[[ServerState, bytes], Awaitable[Message]]
    message: MessageKind
    scopes: tuple[str, ...] = ()


class OpenCalls:
    """The calls of one kind of message that are open at a time, at most `limit`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._count = 0

    @contextmanager
    def another(self) -> Iterator[None]:
        """Count a call as open, or raise Overloaded."""
        if self._count >= self._limit:
            raise Overloaded(f"{self._limit} other calls are open")
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1


class CallHandler:
    """Handles the calls of one method.

    Parameters
    ----------
    path : str
        The path that the calls are counted under.
    reader : MessageReader
        Reads the messages of all methods.
    open_calls : OpenCalls
        Bounds the calls of all methods whose messages are of the same kind.
    """

    def __init__(
        self, method: Method, path: str, state: ServerState, reader: MessageReader, open_calls: OpenCalls
    ) -> None:
        self._method = method
        self._path = path
        self._state = state
        self._reader = reader
        self._open_calls = open_calls
        self._keys = ApiKeys(state.settings.api_keys) if state.settings.api_keys and method.scopes else None

    async def handle(self, _: Any, context: Any) -> bytes:
        """Return the answer to a call, or end it with the status of what went wrong.

        Parameters
        ----------
        context : object
            grpc.aio.ServicerContext.
        """
        head = {key.encode(): value for key, value in context.invocation_metadata()}
        try:
            answer = await self._answer(head, context)
        except asyncio.CancelledError:
            self._state.metrics.request_answered(self._path, CLIENT_CLOSED_REQUEST)
            raise
        except Exception as error:
            problem = problem_of(error)
            if problem is None:
                logger.exception("a call of %s failed", self._path)
                problem = Problem(500, "an unexpected error; the server's log has it")
            failure = problem
        else:
            self._state.metrics.request_answered(self._path, 200)
            if len(answer) >= COMPRESSED_BYTES and "gzip" in _text(head.get(b"accept-encoding", "")):
                context.set_compression(grpc.Compression.Gzip)
            return answer
        self._state.metrics.request_answered(self._path, failure.status)
        code = CODES.get(failure.status, grpc.StatusCode.INTERNAL)
        trailing = tuple((name.lower(), value) for name, value in (failure.headers or {}).items())
        await context.abort(code, failure.detail, trailing)
        raise RuntimeError("abort has not ended the call")

    async def _answer(self, head: dict[bytes, str | bytes], context: Any) -> bytes:
        if self._keys is not None:
            texts = {name: _text(value).encode() for name, value in head.items()}
            self._keys.scopes(key_of(texts, self._path, basic=False), self._method.scopes)
        with self._open_calls.another():
            data = await self._reader.read(context, self._method.message)
            reserved = len(data) if len(data) > UNCOUNTED_BYTES else 0
            self._state.body_budget.reserve(reserved)
            try:
                answer: bytes = (await self._method.answer(self._state, data)).SerializeToString()
                return answer
            finally:
                self._state.body_budget.release(reserved)


def _text(value: str | bytes) -> str:
    """Return the value of metadata, which is bytes under names that end with -bin."""
    return value.decode("latin-1") if isinstance(value, bytes) else value
