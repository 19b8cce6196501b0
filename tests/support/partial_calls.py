"""Calls over gRPC whose messages arrive in part: HTTP/2 frame by frame, as far as the server's flow control allows."""

import socket
import struct
from collections import Counter
from typing import Any

from tests.support.wait import PATIENCE

DATA, HEADERS, SETTINGS, PING, WINDOW_UPDATE = 0, 1, 4, 6, 8  # frame types of RFC 9113
ACK, END_HEADERS = 1, 4  # flags of frames
INITIAL_WINDOW_SIZE = 4  # setting of RFC 9113
FRAME_BYTES = 16_384  # bytes of a frame that every server takes
PREFIX_BYTES = 5  # bytes before a message: whether it is compressed, and its length
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class PartialCalls:
    """A connection whose calls have sent what the server accepts of their messages, all but the last byte.

    Parameters
    ----------
    path : str
        The method that is called.
    size : int
        Bytes of each message.
    """

    def __init__(self, port: int, path: str, size: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._path = path
        self._size = size
        self._windows: Counter[int] = Counter({0: 65_535})  # bytes that the server accepts, by stream; 0: by all
        self._initial = 65_535
        self.sent: dict[int, int] = {}  # bytes of a message that were sent, by stream
        self._socket.sendall(PREFACE + _frame(SETTINGS))

    def __enter__(self) -> "PartialCalls":
        return self

    def __exit__(self, *_: Any) -> None:
        self._socket.close()

    def open(self) -> None:
        """Begin a call."""
        stream = 2 * len(self.sent) + 1
        names = {":method": "POST", ":scheme": "http", ":path": self._path, ":authority": "tests", "te": "trailers"}
        fields = [*names.items(), ("content-type", "application/grpc")]
        block = b"".join(b"\0" + _text(name) + _text(value) for name, value in fields)
        self._windows[stream] += self._initial
        self.sent[stream] = 0
        self._socket.sendall(_frame(HEADERS, END_HEADERS, stream, block))

    def send(self) -> list[int]:
        """Send what the server accepts by now of every message, and return how many bytes it has of each."""
        self._socket.sendall(_frame(SETTINGS))
        while not self._is_acknowledgement(*self._next_frame()):
            pass
        for stream, sent in self.sent.items():
            count = min(self._size - 1 - sent, self._windows[stream], self._windows[0])
            if count > 0 and (sent or count >= PREFIX_BYTES):
                self._send(stream, self._message(sent, count))
        return list(self.sent.values())

    def _message(self, first: int, count: int) -> bytes:
        prefix = b"\0" + struct.pack(">I", self._size - PREFIX_BYTES) if first == 0 else b""
        return prefix + bytes(count - len(prefix))

    def _send(self, stream: int, data: bytes) -> None:
        for first in range(0, len(data), FRAME_BYTES):
            self._socket.sendall(_frame(DATA, 0, stream, data[first : first + FRAME_BYTES]))
        self.sent[stream] += len(data)
        self._windows[stream] -= len(data)
        self._windows[0] -= len(data)

    def _next_frame(self) -> tuple[int, int, int, bytes]:
        head = self._received(9)
        return head[3], head[4], int.from_bytes(head[5:]), self._received(int.from_bytes(head[:3]))

    def _received(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self._socket.recv(count - len(data))
            assert part, "the server has closed the connection"
            data += part
        return data

    def _is_acknowledgement(self, kind: int, flags: int, stream: int, payload: bytes) -> bool:
        """Take account of a frame of the server; return whether it acknowledges settings."""
        if kind == WINDOW_UPDATE:
            self._windows[stream] += int.from_bytes(payload)
        elif kind == SETTINGS and not flags & ACK:
            sizes = dict(struct.iter_unpack(">HI", payload))
            added = sizes.get(INITIAL_WINDOW_SIZE, self._initial) - self._initial
            self._initial += added
            for number in self.sent:
                self._windows[number] += added
            self._socket.sendall(_frame(SETTINGS, ACK))
        elif kind == PING and not flags & ACK:
            self._socket.sendall(_frame(PING, ACK, payload=payload))
        return kind == SETTINGS and bool(flags & ACK)


def _frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _text(value: str) -> bytes:
    """Return a text of HPACK (RFC 7541), neither indexed nor compressed."""
    assert len(value) < 127
    return bytes([len(value)]) + value.encode()
