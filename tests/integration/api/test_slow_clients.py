"""Clients that take their time, against a real server socket."""

import asyncio
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest
import uvicorn
from fastapi.testclient import TestClient

from tests.support.images import png
from tests.support.wait import PATIENCE, until
from tidemark.api.bodies import limits as bodies
from tidemark.server import uvicorn_protocol as slow_clients
from tidemark.server.uvicorn_protocol import BoundedHttpProtocol

Serve = Callable[..., TestClient]
SECONDS = 0.3


@pytest.fixture
def address(serve: Serve) -> Iterator[tuple[str, int]]:
    """A server whose bounds on time are those of a real one; a test shortens the one that it is about."""
    config = uvicorn.Config(
        serve().app,
        port=0,
        http=BoundedHttpProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        timeout_keep_alive=300,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    until(lambda: server.started, "the server")
    yield server.servers[0].sockets[0].getsockname()
    server.should_exit = True
    thread.join()


def head(length: int) -> bytes:
    fields = f"Host: localhost\r\nContent-Type: image/png\r\nContent-Length: {length}\r\n"
    return f"POST /predict HTTP/1.1\r\n{fields}\r\n".encode()


def received_until(connection: socket.socket, end: bytes) -> bytes:
    """Return an answer, whose last bytes are given."""
    received = b""
    while not received.endswith(end):
        part = connection.recv(65536)
        assert part, f"closed after {received!r}"
        received += part
    return received


def is_cut_off(connection: socket.socket, further: bytes) -> bool:
    """Send a part of a request; return whether the server then closes the connection without an answer."""
    with suppress(ConnectionError):  # it may be closed before all of the part has arrived
        connection.sendall(further)
        return connection.recv(65536) == b""
    return True


@pytest.mark.parametrize("part", [b"", b"POST /pre", b"GET /healthz HTTP/1.1\r\nHost: x\r\n"])
def test_a_head_that_does_not_end_is_cut_off(
    address: tuple[str, int], part: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slow_clients, "HEAD_SECONDS", SECONDS)
    with socket.create_connection(address, timeout=PATIENCE) as connection:
        assert is_cut_off(connection, part)


def test_so_is_that_of_a_second_request(address: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_connection(address, timeout=PATIENCE) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" in received_until(connection, b'"ok"}')
        monkeypatch.setattr(slow_clients, "HEAD_SECONDS", SECONDS)
        time.sleep(2 * SECONDS)  # idle in between, which no bound on heads ends
        assert is_cut_off(connection, b"GET /hea")


def test_a_body_that_trickles_is_answered_with_408(address: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", SECONDS)
    with socket.create_connection(address, timeout=PATIENCE) as connection:
        connection.sendall(head(len(png())) + png()[:20])
        response = received_until(connection, b"}")
    assert b"408" in response.split(b"\r\n", 1)[0]
    assert b"application/problem+json" in response


def test_a_head_that_is_too_large_is_431(address: tuple[str, int]) -> None:
    whole = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Large: " + b"a" * 70_000 + b"\r\n\r\n"
    for request in (whole, b"GET /" + b"a" * 70_000):
        with socket.create_connection(address, timeout=PATIENCE) as connection:
            connection.sendall(request)
            assert received_until(connection, b"too large\n").startswith(b"HTTP/1.1 431 ")


def test_a_head_without_end_is_431_before_it_fills_the_memory(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slow_clients, "HEAD_SECONDS", 10 * PATIENCE)
    with socket.create_connection(address, timeout=PATIENCE) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\n")
        received = b""
        with suppress(ConnectionError):
            for number in range(200):
                connection.sendall(b"X-%d: " % number + b"a" * 4_000 + b"\r\n")
            received = connection.recv(65536)
        assert received == b"" or received.startswith(b"HTTP/1.1 431 ")


def test_a_connection_beyond_the_limit_is_cut_off_until_another_one_has_ended(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slow_clients, "MAX_CONNECTIONS", 16)
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with ExitStack() as stack:
        connections = [stack.enter_context(socket.create_connection(address, timeout=PATIENCE)) for _ in range(16)]
        for connection in connections:
            connection.sendall(request)
            received_until(connection, b'"ok"}')

        def is_refused() -> bool:
            with socket.create_connection(address, timeout=PATIENCE) as further:
                return is_cut_off(further, request)

        assert is_refused()
        connections[0].close()
        until(lambda: not is_refused(), "a connection in place of the one that has ended")


@pytest.mark.parametrize(
    ("descriptors", "connections"),
    [(100, 16), (1024, 1024 - 128), (1_000_000, 4096), (resource.RLIM_INFINITY, 4096)],
)
def test_connections_leave_file_descriptors_for_everything_else(
    descriptors: int, connections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (descriptors, resource.RLIM_INFINITY))
    assert slow_clients.max_connections() == connections


def test_a_body_that_nobody_reads_is_cut_off_after_the_answer(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slow_clients, "UNREAD_BODY_SECONDS", SECONDS)
    with socket.create_connection(address, timeout=PATIENCE) as connection:
        connection.sendall(b"POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n")
        assert b"404" in received_until(connection, b"}").split(b"\r\n", 1)[0]
        assert is_cut_off(connection, b"a")  # which stops the timer of idle connections


def test_an_answer_that_nobody_reads_is_broken_off(address: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_clients, "WRITE_CHECK_SECONDS", SECONDS)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(PATIENCE)
        connection.connect(address)
        request = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
        connection.sendall(request * 1000)  # answers of 60 MB in all
        until(lambda: connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0 or _is_reset(connection), "reset")


def _is_reset(connection: socket.socket) -> bool:
    try:
        connection.send(b"x")
    except (ConnectionResetError, BrokenPipeError):
        return True
    except TimeoutError:
        return False
    return False


def test_a_client_may_send_a_large_body_and_then_read_why_it_is_refused(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", PATIENCE)
    length = 65_000_000
    with socket.create_connection(address, timeout=PATIENCE) as connection:
        connection.sendall(head(length).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        for _ in range(length // 1_000_000):
            connection.sendall(b"a" * 1_000_000)
        assert b"413" in received_until(connection, b"}").split(b"\r\n", 1)[0]


def test_requests_that_arrive_together_are_answered_in_their_order(address: tuple[str, int]) -> None:
    get = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    refused = head(len(png())).replace(b"/predict", b"/nothing") + png()
    last = get.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    with socket.create_connection(address, timeout=PATIENCE) as connection:
        connection.sendall(b"".join([get, refused, get.replace(b"GET", b"HEAD"), get, last]))
        received = b""
        while part := connection.recv(65536):
            received += part
    assert [part[:3] for part in received.split(b"HTTP/1.1 ")[1:]] == [b"200", b"404", b"200", b"200", b"200"]
    assert received.count(b'"ok"}') == 3
