import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fastapi.testclient import TestClient
from httpx import Response

from tests.support.images import images, png
from tidemark.inference.session import Model, ModelFailed

Serve = Callable[..., TestClient]


def test_more_images_than_the_queue_holds_are_413(serve: Serve) -> None:
    client = serve(queue_limit=3)
    assert client.post("/predict", json=images(3)).status_code == 200
    answer = client.post("/predict", json=images(4))
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == "4 images in one request, at most 3 are accepted"
    assert "retry-after" not in answer.headers


def test_a_model_that_fails_is_told(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ModelFailed("the model answered NaN or infinity")

    monkeypatch.setattr(Model, "run", fail)
    answer = client.post("/predict", content=png(), headers={"Content-Type": "image/png"})
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == "the model answered NaN or infinity"
    assert 'predict_requests_total{model="pets",status="503",version="3"} 1.0' in client.get("/metrics").text


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"queue_limit": 1}, "1 of 1 places are in use, 1 are needed"),
        ({"request_timeout": 0.05}, "waited for 0.05 s and was not run"),
    ],
)
def test_a_model_that_is_busy_is_a_503_that_says_when_to_come_again(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, changes: dict[str, float], detail: str
) -> None:
    client = serve(max_batch=1, batch_wait_ms=0.01, **changes)  # which has a thread run the model
    begun, free, run = threading.Event(), threading.Event(), Model.run

    def run_when_free(model: Model, tensor: np.ndarray) -> object:
        begun.set()
        assert free.wait(10)
        return run(model, tensor)

    monkeypatch.setattr(Model, "run", run_when_free)

    def ask() -> Response:
        answer: Response = client.post("/predict", content=png(), headers={"Content-Type": "image/png"})
        return answer

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask)
        assert begun.wait(10)
        second = pool.submit(ask)
        threading.Timer(0.5, free.set).start()
        refused = second.result()
        assert first.result().status_code == 200
    assert refused.status_code == 503
    assert refused.json()["detail"] == detail
    assert refused.headers["retry-after"] == "1"
    counts = [
        float(line.split()[-1]) for line in client.get("/metrics").text.splitlines() if "predictions_total{" in line
    ]
    assert sum(counts) == 1


def test_keys_and_headers_guard_the_whole_server(serve: Serve) -> None:
    key = "predict:" + "0" * 64
    client = serve(api_keys=key)
    assert client.get("/healthz").status_code == 200
    assert client.get("/metrics").status_code == 200
    for method, path in (("POST", "/predict"), ("GET", "/"), ("GET", "/v2/models/pets"), ("GET", "/docs")):
        answer = client.request(method, path)
        assert answer.status_code == 401, path
        assert answer.headers["x-content-type-options"] == "nosniff"
