"""Answered requests are freed at once: the garbage collector, which stops all requests, gets none of their objects."""

import gc
from typing import Any

from fastapi.testclient import TestClient

from tests.support.images import images, large_png, png
from tests.support.open_inference import RAW, binary

PNG = {"Content-Type": "image/png"}
REQUESTS: list[tuple[str, dict[str, Any], int]] = [
    ("/predict", {"content": png(), "headers": PNG}, 200),
    ("/predict", {"json": images(2)}, 200),
    ("/predict", {"files": {"file": ("image.png", png(), "image/png")}}, 200),
    ("/predict", {"content": b"no image", "headers": PNG}, 400),
    ("/predict", {"content": png()[:45], "headers": PNG}, 400),
    ("/predict", {"content": large_png()[:-1000], "headers": PNG}, 400),  # decoded in a thread
    ("/predict", {"content": b"", "headers": PNG}, 400),
    ("/predict", {"content": png(), "headers": {"Content-Type": "audio/ogg"}}, 415),
    ("/predict", {"json": {"images": ["no base64!"]}}, 400),
    ("/predict?model=missing", {"content": png(), "headers": PNG}, 404),
    ("/v2/models/pets/infer", dict(binary((RAW / 255).astype("f4"))), 200),
    ("/observe", {"json": {"predictions": []}}, 422),
    ("/feedback", {"json": {"id": "0", "label": "cat"}}, 422),
]


def test_answered_requests_leave_none_of_their_objects_to_the_garbage_collector(client: TestClient) -> None:
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        statuses = [client.post(path, **request).status_code for path, request, _ in REQUESTS]
        gc.collect()
        kinds = {f"{type(item).__module__}.{type(item).__qualname__}" for item in gc.garbage}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert statuses == [status for _, _, status in REQUESTS]
    assert {kind for kind in kinds if kind.startswith("tidemark.")} == set()
