import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from fastapi.testclient import TestClient
from httpx import Response

from tests.support.images import images, png
from tests.support.server import state_of
from tests.support.wait import PATIENCE, until
from tidemark.inference.model import Model, ModelFailed

Serve = Callable[..., TestClient]


def test_more_images_than_the_queue_holds_are_413(serve: Serve) -> None:
    client = serve(queue_limit=3)
    assert client.post("/predict", json=images(3)).status_code == 200
    answer = client.post("/predict", json=images(4))
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == "4 images in one request, at most 3 are accepted"
    assert "retry-after" not in answer.headers


def test_a_model_that_fails_is_a_problem_with_its_reason(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ModelFailed("the model answered NaN or infinity")

    monkeypatch.setattr(Model, "run", fail)
    answer = client.post("/predict", content=png(), headers={"Content-Type": "image/png"})
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == "the model answered NaN or infinity"
    assert 'predict_requests_total{model="pets",status="503",version="3"} 1.0' in client.get("/metrics").text


class PausableModel:
    """Pauses the runs of models between `hold` and the release."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.free, run = threading.Event(), threading.Event(), Model.run
        self.free.set()

        def run_when_free(model: Model, tensor: np.ndarray) -> object:
            self.begun.set()
            assert self.free.wait(PATIENCE)
            return run(model, tensor)

        monkeypatch.setattr(Model, "run", run_when_free)

    def hold(self) -> None:
        self.free.clear()
        self.begun.clear()


@pytest.fixture
def pausable_model(monkeypatch: pytest.MonkeyPatch) -> Iterator[PausableModel]:
    pausable_model = PausableModel(monkeypatch)
    yield pausable_model
    pausable_model.free.set()


def ask(client: TestClient) -> Response:
    answer: Response = client.post("/predict", content=png(), headers={"Content-Type": "image/png"})
    return answer


def assert_refused(client: TestClient, answer: Response, detail: str) -> None:
    """Check a 503 that says when to come again, next to a request that was answered."""
    assert answer.status_code == 503
    assert answer.json()["detail"] == detail
    assert answer.headers["retry-after"] == "1"
    counts = [
        float(line.split()[-1]) for line in client.get("/metrics").text.splitlines() if "predictions_total{" in line
    ]
    assert sum(counts) == 1


def test_a_queue_without_a_place_is_a_503_that_says_when_to_come_again(
    serve: Serve, pausable_model: PausableModel
) -> None:
    client = serve(max_batch=1, batch_wait_ms=0.01, queue_limit=1)  # which has a thread run the model
    pausable_model.hold()
    with ThreadPoolExecutor() as pool:
        first = pool.submit(ask, client)
        assert pausable_model.begun.wait(PATIENCE)
        refused = ask(client)
        pausable_model.free.set()
        assert first.result().status_code == 200
    assert_refused(client, refused, "1 of 1 places are in use, 1 are needed")


def test_a_request_that_waited_too_long_is_a_503_that_says_when_to_come_again(
    serve: Serve, pausable_model: PausableModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = [0.0]
    clock = SimpleNamespace(monotonic=lambda: 3600 * hours[0], perf_counter=time.perf_counter)
    monkeypatch.setattr("tidemark.inference.batcher.time", clock)
    client = serve(max_batch=1, batch_wait_ms=0.01, request_timeout=60)
    waiting = state_of(client).models.answering[0].predictor._batcher._waiting
    pausable_model.hold()
    with ThreadPoolExecutor() as pool:
        first = pool.submit(ask, client)
        assert pausable_model.begun.wait(PATIENCE)
        second = pool.submit(ask, client)
        until(lambda: waiting, "the second request in the queue")
        hours[0] = 1
        pausable_model.free.set()
        assert first.result().status_code == 200
        assert_refused(client, second.result(), "waited for 60 s and was not run")


def test_keys_and_headers_guard_the_whole_server(serve: Serve) -> None:
    key = "predict:" + "0" * 64
    client = serve(api_keys=key)
    assert client.get("/healthz").status_code == 200
    assert client.get("/metrics").status_code == 200
    for method, path in (("POST", "/predict"), ("GET", "/"), ("GET", "/v2/models/pets"), ("GET", "/docs")):
        answer = client.request(method, path)
        assert answer.status_code == 401, path
        assert answer.headers["x-content-type-options"] == "nosniff"
