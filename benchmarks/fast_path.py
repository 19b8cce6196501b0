"""Processor time of a request to `/predict` on the fast path and through the router, in turn in one process."""

import asyncio
import io
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from starlette.types import Message

from benchmarks.world import World
from tidemark.api.middleware.predict_fast_path import PredictFastPath
from tidemark.demo.make_model import MODEL
from tidemark.inference import bundle as bundles
from tidemark.inference.bundle_builder import init_bundle
from tidemark.server.app import create_app
from tidemark.settings import Settings
from tidemark.store import engine as engines
from tidemark.store import schema

ROUNDS = 20  # pairs of measurements, of which the median ratio is printed
REQUESTS = 200  # requests of one measurement


def run(_: World) -> None:
    """Print the processor time of a request both ways, and their ratio."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = Settings(data_dir=folder / "data")
        init_bundle(MODEL, folder / "bundle")
        with engines.database(settings) as url:
            engine = engines.connect(url)
            schema.migrate(engine)
            engine.dispose()
            app = create_app(settings, [bundles.load(folder / "bundle")], url)
            fast, routed = asyncio.run(_compare(app))
    ratio = statistics.median(slow / quick for quick, slow in zip(fast, routed, strict=True))
    print(f"fast path {statistics.median(fast):.0f} µs, router {statistics.median(routed):.0f} µs, ratio {ratio:.2f}")


async def _compare(app: Any) -> tuple[list[float], list[float]]:
    """Return microseconds of processor time a request, one value a round, on the fast path and through the router."""
    image = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8)).astype(np.uint8)).save(image, "PNG")
    times: dict[bool, list[float]] = {True: [], False: []}
    async with app.router.lifespan_context(app):
        await _post(app, image.getvalue())
        layer = app._layers
        while not isinstance(layer, PredictFastPath):
            layer = getattr(layer, "app", None) or layer._app
        path = layer._path
        for _ in range(ROUNDS):
            for fast in (True, False):
                layer._path = path if fast else "/nowhere"
                started = time.process_time()
                for _ in range(REQUESTS):
                    await _post(app, image.getvalue())
                times[fast].append((time.process_time() - started) / REQUESTS * 1e6)
    return times[True], times[False]


async def _post(app: Any, body: bytes) -> None:
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": "/predict",
        "raw_path": b"/predict",
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "headers": [
            (b"content-type", b"image/png"),
            (b"content-length", str(len(body)).encode()),
            (b"host", b"127.0.0.1"),
        ],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "state": {},
    }
    messages = [{"type": "http.request", "body": body, "more_body": False}]
    statuses: list[int] = []

    async def receive() -> Message:
        return messages.pop() if messages else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await app(scope, receive, send)
    if statuses != [200]:
        raise RuntimeError(f"/predict answered {statuses}")
