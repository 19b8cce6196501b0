"""Calls over gRPC: their API keys, the bounds on their messages, and their errors as status codes.

A call's key is checked before its message is read, and a message has a time to arrive, as over HTTP. Both need control
over the reading, which gRPC gives to handlers of client streams alone; on the wire a call with one message is the same.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import Message

from ..bodies.limits import UNCOUNTED_BYTES
from ..middleware.api_keys import ApiKeys, key_of
from ..problems import CLIENT_CLOSED_REQUEST, Problem, problem_of
from ..server_state import ServerState
from .message_reader import MessageReader

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
    scopes : tuple of str
        The scopes of API keys of which a call needs one; none: the method is open.
    """

    name: str
    answer: Callable[[ServerState, bytes], Awaitable[Message]]
    scopes: tuple[str, ...] = ()


class CallHandler:
    """Handles the calls of one method.

    Parameters
    ----------
    path : str
        The path that the calls are counted under.
    reader : MessageReader
        Reads the messages of all methods.
    """

    def __init__(self, method: Method, path: str, state: ServerState, reader: MessageReader) -> None:
        self._method = method
        self._path = path
        self._state = state
        self._reader = reader
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
        data = await self._reader.read(context)
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
