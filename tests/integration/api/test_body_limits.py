"""Bounds on request bodies: bytes, memory of all bodies, compression, and clients that go in the middle."""

import asyncio
import gzip
import json
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.support.images import images, png
from tests.support.server import state_of
from tidemark.api.bodies.limits import UNCOUNTED_BYTES, BodyLimits
from tidemark.api.bodies.memory_budget import BodyBudget
from tidemark.api.problems import Problem
from tidemark.errors import Overloaded

Serve = Callable[..., TestClient]
PNG = {"Content-Type": "image/png"}
LIMIT = 1_000_000


async def echo_size(scope: Any, receive: Any, send: Any) -> None:
    """Read a body to its end, and answer with its size."""
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})


def received(
    parts: list[bytes], headers: list[tuple[bytes, bytes]] | None = None, budget: BodyBudget | None = None
) -> int:
    """Return the size of a body that arrives in parts, as the application sees it."""
    messages: Iterator[dict[str, Any]] = iter(
        [
            {"type": "http.request", "body": part, "more_body": number < len(parts) - 1}
            for number, part in enumerate(parts)
        ]
    )
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message)

    app = BodyLimits(echo_size, {"/large*": 10 * LIMIT}, budget or BodyBudget(10**9))
    scope = {"type": "http", "method": "POST", "path": "/small", "headers": headers or []}
    asyncio.run(app(scope, receive, send))
    return int(sent[1]["body"])


def test_a_body_is_handed_on_as_it_is() -> None:
    assert received([b"a" * 400_000, b"b" * 600_000]) == LIMIT


def test_a_body_over_the_limit_is_413_after_its_client_has_sent_it() -> None:
    parts = [b"a" * 100_000] * 11
    with pytest.raises(Problem, match="more than 1000000 bytes") as caught:
        received(parts)
    assert caught.value.status == 413


def test_a_body_without_end_is_dropped_up_to_a_bound() -> None:
    with pytest.raises(Problem, match="more than 1000000 bytes"):
        received([b"a" * LIMIT] * 1000)


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", lambda data: zlib.compress(data)[2:-4]),
        ("identity", bytes),
    ],
)
def test_a_compressed_body_is_decompressed(encoding: str, encode: Callable[[bytes], bytes]) -> None:
    data = encode(json.dumps(list(range(100_000))).encode())
    parts = [data[first : first + 10_000] for first in range(0, len(data), 10_000)]
    assert received(parts, [(b"content-encoding", encoding.encode())]) == 688_890


def test_a_bomb_is_413_and_takes_no_memory() -> None:
    bomb = gzip.compress(b"\0" * 200_000_000)
    tracemalloc.start()
    with pytest.raises(Problem, match="more than 1000000 bytes"):
        received([bomb], [(b"content-encoding", b"gzip")])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


@pytest.mark.parametrize("encoding", [b"br", b"zstd", b"gzip, gzip"])
def test_an_unknown_encoding_is_415_and_the_answer_lists_the_supported_ones(encoding: bytes) -> None:
    with pytest.raises(Problem) as caught:
        received([b"abc"], [(b"content-encoding", encoding)])
    assert caught.value.status == 415
    assert caught.value.headers == {"Accept-Encoding": "gzip, deflate"}


@pytest.mark.parametrize(
    "data",
    [b"plain", gzip.compress(b"abc" * 999)[:-4], gzip.compress(b"abc") + b"more", b""],
    ids=["not compressed", "cut off", "followed by more", "empty"],
)
def test_broken_compressed_data_is_400(data: bytes) -> None:
    with pytest.raises(Problem) as caught:
        received([data], [(b"content-encoding", b"gzip")])
    assert caught.value.status == 400


def test_all_bodies_of_a_process_share_its_memory() -> None:
    budget = BodyBudget(500_000)
    budget.reserve(300_000)
    assert received([b"a" * UNCOUNTED_BYTES], budget=budget) == UNCOUNTED_BYTES
    assert received([b"a" * 200_000], budget=budget) == 200_000
    with pytest.raises(Overloaded):
        received([b"a" * 200_001], budget=budget)
    budget.release(300_000)
    assert received([b"a" * 500_000], budget=budget) == 500_000  # what the others held has been given back
    with pytest.raises(Problem, match="at most 500000 are available"):
        received([b"a" * 500_001], budget=budget)


def test_uploads_that_hold_all_memory_hold_up_no_probe(serve: Serve) -> None:
    client = serve(max_request_memory=LIMIT)
    state_of(client).body_budget.reserve(LIMIT)
    assert client.post("/predict", content=png() + bytes(UNCOUNTED_BYTES), headers=PNG).status_code == 503
    assert client.post("/predict", content=png(), headers=PNG).status_code == 200
    for path in ("/healthz", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready", "/v2/models/pets"):
        assert client.get(path).status_code == 200, path


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/feedback", b'{"items": [' + b"1," * 5_000_000 + b"1]}"),
        ("/observe", b"[" + b"1," * 20_000_000 + b"1]"),
        ("/predict", b'{"images": [' + b'"",' * 30_000_000 + b'""]}'),
        ("/v2/models/pets/infer", b'{"inputs": [' + b"1," * 40_000_000 + b"1]}"),
        ("/alerts/test", b"x" * 1_000_001),
    ],
)
def test_a_body_of_too_many_values_is_413_before_they_are_made(client: TestClient, path: str, content: bytes) -> None:
    answer = client.post(path, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code in (409, 413), answer.text


def test_one_error_is_reported_of_many(client: TestClient) -> None:
    body = json.dumps(images(1) | {f"key{number}": number for number in range(60_000)})
    assert client.post("/predict", content=body, headers={"Content-Type": "application/json"}).status_code == 200
    answer = client.post("/v2/models/pets/infer", json={"inputs": [1] * 60_000})
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("inputs.0: ")
    answer = client.post("/observe", json={"model": "pets", "predictions": [1] * 900})
    assert answer.json()["detail"].startswith("predictions.0: ")


def test_a_list_of_texts_is_refused_without_an_array_of_them(client: TestClient) -> None:
    row = {"name": "image", "shape": [1, 3, 8, 8], "datatype": "FP32", "data": ["a" * 60_000] + [""] * 191}
    tracemalloc.start()
    answer = client.post("/v2/models/pets/infer", json={"inputs": [row]})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert answer.status_code == 400
    assert peak < 5_000_000


def test_a_client_that_disconnects_is_counted_as_499_and_nothing_is_logged(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> list[Any]:
        messages = [
            {"type": "http.request", "body": png()[:20], "more_body": True},
            {"type": "http.disconnect"},
        ]
        sent: list[Any] = []

        async def receive() -> Any:
            return messages.pop(0)

        async def send(message: Any) -> None:
            sent.append(message)

        for path in ("/predict", "/feedback"):
            messages[:] = [
                {"type": "http.request", "body": png()[:20], "more_body": True},
                {"type": "http.disconnect"},
            ]
            scope = {
                "type": "http",
                "method": "POST",
                "path": path,
                "raw_path": path.encode(),
                "query_string": b"",
                "headers": [(b"content-type", b"image/png"), (b"host", b"testserver")],
                "server": ("testserver", 80),
                "client": ("testclient", 1),
                "scheme": "http",
                "http_version": "1.1",
                "root_path": "",
                "asgi": {"version": "3.0"},
            }
            await client.app(scope, receive, send)
        return [message["status"] for message in sent if message["type"] == "http.response.start"]

    assert client.portal is not None
    assert client.portal.call(scenario) == [499, 499]
    text = client.get("/metrics").text
    assert 'predict_requests_total{model="pets",status="499",version="3"} 1.0' in text
    assert 'status="500"' not in text
    assert "tidemark_images_refused_total{" not in text
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_a_large_upload_needs_no_thread_that_the_database_may_hold(client: TestClient) -> None:
    """Forms are parsed in memory: no temporary file is written in the threads that endpoints of the database use."""
    import anyio.to_thread

    async def take_all() -> None:
        limiter = anyio.to_thread.current_default_thread_limiter()
        limiter.total_tokens = 1
        await limiter.acquire_on_behalf_of("database")

    async def give_back() -> None:
        limiter = anyio.to_thread.current_default_thread_limiter()
        limiter.release_on_behalf_of("database")
        limiter.total_tokens = 40

    assert client.portal is not None
    client.portal.call(take_all)
    try:
        padded = png() + b"\0" * 3_000_000
        assert client.post("/predict", files={"file": ("a.png", padded)}).status_code == 200
    finally:
        client.portal.call(give_back)
