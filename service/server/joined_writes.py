"""Writes the head of an answer together with its body, which is one system call and one packet less."""

import asyncio

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"  # what uvicorn writes before an answer, for a client that waits for it


class JoinedWrites:
    """The transport that uvicorn writes one answer to, in place of the connection's own.

    The first write, the answer's head, waits for the second, the first part of its body. uvicorn has nothing to write
    after the head only of answers to HEAD, which are written to the transport itself.
    """

    __slots__ = ("_head", "_is_joined", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""
        self._is_joined = False

    def write(self, data: bytes) -> None:
        """Write data, but for a head, which is kept until the next call."""
        if self._is_joined or data == CONTINUE:
            self._transport.write(data)
        elif not self._head:
            self._head = data
        else:
            self._is_joined = True
            self._transport.writelines((self._head, data))

    def close(self) -> None:
        """Write a head that is still kept, and close the connection."""
        if self._head and not self._is_joined:
            self._transport.write(self._head)
        self._transport.close()

    def is_closing(self) -> bool:
        """Return whether the connection is closed or closes."""
        return self._transport.is_closing()
