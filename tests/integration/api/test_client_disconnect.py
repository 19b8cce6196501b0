"""Clients that give up while their images wait, against a real server socket."""

import asyncio
import socket
import threading
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
import uvicorn

from tests.support.images import encoded_png
from tests.support.wait import PATIENCE, until
from tidemark.inference import predictor
from tidemark.inference.bundle import Bundle
from tidemark.inference.images import decode
from tidemark.server.app import create_app
from tidemark.server.uvicorn_protocol import BoundedHttpProtocol
from tidemark.settings import Settings

PIXELS = np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)
IMAGE = encoded_png(PIXELS)  # more bytes than are decoded in the event loop


class SlowDecoder:
    """Decodes images once they are released, and counts them."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.begun = 0

    def __call__(self, *arguments: object) -> object:
        self.begun += 1
        assert self.release.wait(PATIENCE)
        return decode(*arguments)  # type: ignore[arg-type]


@pytest.fixture
def decoder(monkeypatch: pytest.MonkeyPatch) -> SlowDecoder:
    """The only decoder of the server."""
    slow = SlowDecoder()
    monkeypatch.setattr(predictor, "decode", slow)
    monkeypatch.setattr(predictor, "cores", lambda: 1)
    return slow


@pytest.fixture
def address(decoder: SlowDecoder, bundle: Bundle, settings: Settings, url: str) -> Iterator[tuple[str, int]]:
    app = create_app(settings, (bundle,), url, None, ())
    server = uvicorn.Server(uvicorn.Config(app, port=0, http=BoundedHttpProtocol, ws="none", log_config=None))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    until(lambda: server.started, "the server")
    yield server.servers[0].sockets[0].getsockname()
    decoder.release.set()
    server.should_exit = True
    thread.join()


def send(address: tuple[str, int]) -> socket.socket:
    connection = socket.create_connection(address)
    fields = f"Host: localhost\r\nContent-Type: image/png\r\nContent-Length: {len(IMAGE)}\r\n"
    connection.sendall(f"POST /predict HTTP/1.1\r\n{fields}\r\n".encode() + IMAGE)
    return connection


def test_images_of_clients_that_gave_up_in_the_queue_are_not_decoded(
    address: tuple[str, int], decoder: SlowDecoder
) -> None:
    def metric(name: str) -> int:
        text = httpx.get(f"http://{address[0]}:{address[1]}/metrics", timeout=PATIENCE).text
        lines = (line.rpartition(" ") for line in text.splitlines() if line.startswith(f"tidemark_{name}{{"))
        return int(sum(float(value) for _, _, value in lines))

    patient = send(address)
    until(lambda: decoder.begun == 1, "the first image")
    for _ in range(3):
        send(address).close()
    until(lambda: metric("images_abandoned_total") == 3, "the end of the three requests")
    decoder.release.set()
    assert b"200 OK" in patient.makefile("rb").readline()
    patient.close()
    until(lambda: metric("images_accepted_total") and metric("batch_size_sum"), "the counts of the first image")
    assert (decoder.begun, metric("images_accepted_total"), metric("batch_size_sum")) == (1, 1, 1)
