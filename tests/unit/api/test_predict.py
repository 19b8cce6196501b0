import base64
import io
from collections.abc import Callable

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from service.inference.session import Model, ModelFailed

Serve = Callable[..., TestClient]


def png(value: int = 7) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def images(count: int) -> dict[str, list[str]]:
    return {"images": [base64.b64encode(png()).decode()] * count}


def test_more_images_than_the_queue_holds_are_413(serve: Serve) -> None:
    client = serve(queue_limit=3)
    assert client.post("/predict", json=images(3)).status_code == 200
    answer = client.post("/predict", json=images(4))
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == "4 images in one request, at most 3 are taken"
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


def test_keys_and_headers_guard_the_whole_server(serve: Serve) -> None:
    key = "predict:" + "0" * 64
    client = serve(api_keys=key)
    assert client.get("/healthz").status_code == 200
    assert client.get("/metrics").status_code == 200
    for method, path in (("POST", "/predict"), ("GET", "/"), ("GET", "/v2/models/pets"), ("GET", "/docs")):
        answer = client.request(method, path)
        assert answer.status_code == 401, path
        assert answer.headers["x-content-type-options"] == "nosniff"
