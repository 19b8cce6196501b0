"""Requests that arrive at the same time share a run of the model, those that arrive alone wait for nobody."""

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest
import uvicorn

from tests.support.images import png
from tests.support.wait import PATIENCE, until
from tidemark.inference import batcher, predictor
from tidemark.inference.bundle import Bundle
from tidemark.inference.predictions import predict_images
from tidemark.server.app import create_app
from tidemark.server.uvicorn_protocol import BoundedHttpProtocol
from tidemark.settings import Settings

CLIENTS = 5


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each run of the model had."""
    sizes: list[int] = []

    def recorded(model, images, *arguments):  # type: ignore[no-untyped-def]
        sizes.append(len(images))
        return predict_images(model, images, *arguments)

    monkeypatch.setattr(predictor, "predict_images", recorded)
    monkeypatch.setattr(batcher, "INLINE_SECONDS", PATIENCE)
    return sizes


@pytest.fixture
def server(runs: list[int], bundle: Bundle, settings: Settings, url: str) -> Iterator[uvicorn.Server]:
    app = create_app(settings, (bundle,), url, None, ())
    server = uvicorn.Server(uvicorn.Config(app, port=0, http=BoundedHttpProtocol, ws="none", log_config=None))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    until(lambda: server.started, "the server")
    yield server
    server.should_exit = True
    thread.join()


def send(connection: socket.socket) -> None:
    fields = f"Host: localhost\r\nContent-Type: image/png\r\nContent-Length: {len(png())}\r\n"
    connection.sendall(f"POST /predict HTTP/1.1\r\n{fields}\r\n".encode() + png())


def await_answer(connection: socket.socket) -> None:
    received = b""
    while not received.endswith(b"]}"):
        part = connection.recv(65_536)
        assert part, received
        received += part
    assert received.startswith(b"HTTP/1.1 200")


def test_requests_that_arrive_together_are_one_batch(server: uvicorn.Server, runs: list[int]) -> None:
    listening = server.servers[0]
    clients = [socket.create_connection(listening.sockets[0].getsockname()) for _ in range(CLIENTS)]
    for client in clients:
        send(client)
        await_answer(client)
    assert runs == [1] * CLIENTS
    runs.clear()
    is_held, release = threading.Event(), threading.Event()

    def hold() -> None:
        is_held.set()
        assert release.wait(PATIENCE)

    listening.get_loop().call_soon_threadsafe(hold)
    assert is_held.wait(PATIENCE)
    for client in clients:
        send(client)
    release.set()
    for client in clients:
        await_answer(client)
        client.close()
    assert runs == [CLIENTS]
