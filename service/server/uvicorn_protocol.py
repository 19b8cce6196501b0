"""uvicorn's HTTP protocol, with bounds on what a client may hold: heads, bodies that nobody reads, unread answers.

Bodies that endpoints read are bounded in `api.bodies.limits`, idle connections between two requests by uvicorn.

What a small request costs is kept low: a head that arrives in one piece needs no timer, a body that has arrived with it
needs no deadline, and an answer is one write to the socket instead of two.
"""

import asyncio
import resource
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ..api.bodies.limits import ARRIVED_SCOPE_KEY, TASKS_SCOPE_KEY
from .joined_writes import JoinedWrites

HEAD_SECONDS = 10.0  # seconds from the connection, or from a further request's first byte, to the end of its head
MAX_HEAD_BYTES = 65_536  # bytes of a request line and its headers
UNREAD_BODY_SECONDS = 30.0  # wait after the answer to a request whose body the client has not sent in full
WRITE_CHECK_SECONDS = 10.0  # time between two checks whether a client reads its answer
MIN_READ_BYTES = 65_536  # bytes that a client must read of its answer between two checks
CLOSE_SECONDS = 5.0  # time for the rest of an answer to reach the client before a connection is closed
RESERVED_DESCRIPTORS = 128  # files and sockets that a process needs in addition to its clients' connections
MAX_CONNECTIONS = 4_096
HEAD_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: text/plain; charset=utf-8\r\ncontent-length: 30\r\nconnection: close\r\n\r\n"
    b"The request head is too large\n"
)


def max_connections() -> int:
    """Return how many connections one process accepts, so that file descriptors are left for everything else."""
    soft_limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft_limit == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(16, min(MAX_CONNECTIONS, soft_limit - RESERVED_DESCRIPTORS))


class BoundedHttpProtocol(HttpToolsProtocol):
    """Closes the connection of a client that does not send its request, or does not read its answer, in time."""

    _head_timer: asyncio.TimerHandle | None = None  # runs while a head is awaited
    _body_timer: asyncio.TimerHandle | None = None  # runs while the rest of a body that nobody reads is awaited
    _write_timer: asyncio.TimerHandle | None = None  # runs while the client is to read what was written
    _head_bytes = 0
    _received_bytes = 0  # bytes of the data that is being parsed
    _unwritten_bytes = 0
    _receiving_head = False
    _receiving_body = False
    _head_refused = False

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > max_connections():
            transport.abort()
            return
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._head_timer, self._body_timer, self._write_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._head_refused:
            return
        self._received_bytes = len(data)
        if self._head_timer is not None:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._head_timer is not None:
            # As long as its timer runs the head has not ended, and all that has come belongs to it.
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse_head()
        elif self._receiving_head and not self.transport.is_closing():
            self._start_head_timer()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._receiving_head = True

    def on_headers_complete(self) -> None:
        self._receiving_head = False
        is_large = False
        if self._head_timer is not None or self._received_bytes > MAX_HEAD_BYTES:
            self._stop_head_timer()
            is_large = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > MAX_HEAD_BYTES
        if self._head_refused or is_large:
            self._refuse_head()
            return
        self._receiving_body = True
        earlier = self.cycle
        super().on_headers_complete()
        if self.cycle is not earlier and self.scope["method"] != "HEAD":
            self.cycle.transport = JoinedWrites(self.transport)  # type: ignore[assignment]

    def on_body(self, body: bytes) -> None:
        if not self._head_refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._head_refused:
            return
        self._receiving_body = False
        if self._body_timer is not None:
            self._body_timer.cancel()
            self._body_timer = None
        self.scope[ARRIVED_SCOPE_KEY] = True  # type: ignore[literal-required]
        self.scope[TASKS_SCOPE_KEY] = self.tasks  # type: ignore[literal-required]
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._receiving_body and not self.transport.is_closing():
            self._body_timer = self.loop.call_later(UNREAD_BODY_SECONDS, self._close)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unwritten_bytes = self.transport.get_write_buffer_size()
        self._write_timer = self.loop.call_later(WRITE_CHECK_SECONDS, self._check_writing)

    def resume_writing(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        self._close()

    def _check_writing(self) -> None:
        """Break the connection of a client that has read next to nothing of its answer."""
        unwritten = self.transport.get_write_buffer_size()
        if unwritten > self._unwritten_bytes - MIN_READ_BYTES:
            self.transport.abort()
            return
        self._unwritten_bytes = unwritten
        self._write_timer = self.loop.call_later(WRITE_CHECK_SECONDS, self._check_writing)

    def _refuse_head(self) -> None:
        if not self._head_refused:
            self._head_refused = True
            self._stop_head_timer()
            self.transport.write(HEAD_TOO_LARGE)
            self._close()

    def _start_head_timer(self) -> None:
        self._head_bytes = 0
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._close)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _close(self) -> None:
        """Close the connection once what was written has been sent, and break it if the client does not read that."""
        if not self.transport.is_closing():
            self.transport.close()
        if self.transport.get_write_buffer_size():
            self.loop.call_later(CLOSE_SECONDS, self.transport.abort)
