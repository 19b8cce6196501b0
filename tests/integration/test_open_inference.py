"""The Open Inference Protocol as its clients speak it, and that what they ask for is logged as `/predict` does it."""

import json
import re
import struct
from collections.abc import Callable
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from tests.support.images import images, png
from tests.support.open_inference import LENGTH, PIXELS, RAW, binary, logged
from tidemark.api.open_inference.metadata import EXTENSIONS
from tidemark.inference.bundle import Bundle
from tidemark.inference.model import Model

INFER = "/v2/models/pets/infer"


def request(values: np.ndarray, datatype: str = "FP32", **more: Any) -> dict[str, Any]:
    tensor = {"name": "image", "shape": list(values.shape), "datatype": datatype, "data": values.tolist()}
    return {"inputs": [tensor], **more}


def outputs(answer: Any) -> dict[str, Any]:
    """Read an answer as tritonclient does."""
    length = int(answer.headers.get(LENGTH, len(answer.content)))
    head, rest = json.loads(answer.content[:length]), answer.content[length:]
    tensors = {}
    for output in head["outputs"]:
        size = output.get("parameters", {}).get("binary_data_size")
        if size is None:
            values = np.array(output["data"])
        elif output["datatype"] == "BYTES":
            texts: list[str] = []
            at = 0
            while at < size:
                (count,) = struct.unpack_from("<I", rest, at)
                texts.append(rest[at + 4 : at + 4 + count].decode())
                at += 4 + count
            values = np.array(texts)
        else:
            values = np.frombuffer(rest[:size], "<f4")
        if size is not None:
            rest = rest[size:]
        tensors[output["name"]] = values.reshape(output["shape"])
    assert not rest
    return tensors


def test_metadata_and_health(client: TestClient) -> None:
    assert client.get("/v2").json()["extensions"] == EXTENSIONS
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    for path in ("/v2/models/pets", "/v2/models/pets/versions/3"):
        assert client.get(path).json() == {
            "name": "pets",
            "versions": ["3"],
            "platform": "onnxruntime_onnx",
            "inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, 3, 8, 8]}],
            "outputs": [
                {"name": "probabilities", "datatype": "FP32", "shape": [-1, 4]},
                {"name": "label", "datatype": "BYTES", "shape": [-1]},
            ],
        }
        assert client.get(f"{path}/ready").json() == {"name": "pets", "ready": True}


@pytest.mark.parametrize(
    "path", ["/v2/models/other", "/v2/models/pets/versions/4", "/v2/models/pets/nothing", "/v2/nothing"]
)
def test_what_is_not_served_is_404(client: TestClient, path: str) -> None:
    for answer in (client.get(path), client.post(f"{path}/infer", json=request(RAW, "UINT8"))):
        assert answer.status_code == 404
        assert isinstance(answer.json()["error"], str)


@pytest.mark.parametrize("send", ["json", "flat", "binary"])
@pytest.mark.parametrize("datatype", ["FP32", "UINT8"])
@pytest.mark.parametrize("path", [INFER, "/v2/models/pets/versions/3/infer"])
def test_every_form_gives_the_model_s_answer(
    client: TestClient,
    bundle: Bundle,
    send: str,
    datatype: str,
    path: str,
) -> None:
    model = Model(bundle)
    values = RAW if datatype == "UINT8" else model.prepared(PIXELS)
    if send == "binary":
        answer = client.post(path, **binary(values, datatype, id="42"))
    else:
        body = request(values, datatype, id="42")
        if send == "flat":
            body["inputs"][0]["data"] = values.ravel().tolist()
        answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    content = answer.json()
    assert (content["model_name"], content["model_version"], content["id"]) == ("pets", "3", "42")
    assert len({UUID(text) for text in content["parameters"]["ids"].split(",")}) == 5
    expected = model.predict(PIXELS)[0]
    np.testing.assert_allclose(outputs(answer)["probabilities"], expected, rtol=1e-4, atol=1e-6)
    assert outputs(answer)["label"].tolist() == [bundle.labels[row] for row in expected.argmax(axis=1)]


def test_outputs_come_as_asked(client: TestClient, bundle: Bundle) -> None:
    expected = Model(bundle).predict(PIXELS)[0]
    labels = [bundle.labels[row] for row in expected.argmax(axis=1)]

    def ask(*requested: dict[str, Any], **parameters: Any) -> Any:
        answer = client.post(INFER, json=request(RAW, "UINT8", outputs=requested, parameters=parameters))
        assert answer.status_code == 200
        return answer

    in_bytes = {"binary_data": True}
    both = ask({"name": "label", "parameters": in_bytes}, {"name": "probabilities", "parameters": in_bytes})
    assert both.headers["content-type"] == "application/octet-stream"
    assert list(outputs(both)) == ["label", "probabilities"]
    assert outputs(both)["label"].tolist() == labels
    np.testing.assert_allclose(outputs(both)["probabilities"], expected, rtol=1e-4, atol=1e-6)
    mixed = outputs(ask({"name": "probabilities", "parameters": in_bytes}, {"name": "label"}))
    assert mixed["label"].tolist() == labels
    assert outputs(ask(binary_data_output=True))["label"].tolist() == labels
    one = ask({"name": "label"})
    assert LENGTH not in one.headers
    assert list(outputs(one)) == ["label"]
    assert "id" not in one.json()


def test_rows_are_logged_as_predict_logs_them(client: TestClient, engine: Engine, bundle: Bundle) -> None:
    tensor = Model(bundle).prepared(np.full((1, 8, 8, 3), 7, np.uint8))
    image = client.post("/predict", json=images(1), params={"tag": "camera:7"}).json()["predictions"][0]["id"]
    ids = [image]
    for body in (binary(tensor), binary(np.full((1, 3, 8, 8), 7, np.uint8), "UINT8")):
        ids.append(client.post(INFER, params={"tag": "camera:7"}, **body).json()["parameters"]["ids"])
    batch = logged(engine, 3)
    assert [str(prediction) for prediction in batch.uuids] == ids
    for values in (batch.embeddings, batch.probabilities, batch.properties):
        assert values is not None
        np.testing.assert_allclose(values, values[[0, 0, 0]], rtol=1e-3, atol=1e-3)
    for prediction in ids:
        assert client.get(f"/predictions/{prediction}").json()["tags"] == {"camera": "7"}
    label = client.get(f"/predictions/{ids[1]}").json()["label"]
    fed = client.post("/feedback", json={"items": [{"id": ids[1], "label": label}]})
    assert fed.json() == {"accepted": 1, "unknown": [], "rejected": []}
    text = client.get("/metrics").text
    assert 'predict_requests_total{model="pets",status="200",version="3"} 3.0' in text


GOOD = request(RAW[:1], "UINT8")
TENSOR = GOOD["inputs"][0]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"content": b""}),
        (400, {"content": b"\x00" * 100}),
        (400, {"content": png(), "headers": {"Content-Type": "image/png"}}),
        (400, {"content": b"[" * 100_000}),
        (400, {"json": {}}),
        (400, {"json": {"inputs": []}}),
        (400, {"json": {"inputs": [TENSOR, TENSOR]}}),
        (400, {"json": {"inputs": [TENSOR | {"name": "pixels"}]}}),
        (400, {"json": {"inputs": [TENSOR | {"datatype": "BOOL"}]}}),
        (400, {"json": {"inputs": [TENSOR | {"datatype": "INT64", "data": [-1] * 192}]}}),
        (400, {"json": GOOD | {"outputs": [{"name": "label", "parameters": {"classification": 2}}]}}),
        (400, {"json": GOOD | {"outputs": [{"name": "label", "parameters": {"shared_memory_region": "a"}}]}}),
        (400, {"json": GOOD | {"parameters": {"classification": 2}}}),
        (400, {"json": {"inputs": [TENSOR | {"shape": [1, 8, 8, 3]}]}}),
        (400, {"json": {"inputs": [TENSOR | {"shape": [10**30, 3, 8, 8]}], "id": 7}}),
        (400, {"json": {"inputs": [TENSOR | {"data": ["x"] * 192}]}}),
        (400, {"json": GOOD | {"outputs": [{"name": "embedding"}]}}),
        (400, {"json": GOOD | {"id": 7}}),
        (400, {"json": GOOD, "headers": {LENGTH: "-3"}}),
        (400, {"json": GOOD, "headers": {LENGTH: "10"}}),
        (400, binary(np.full((1, 3, 8, 8), np.inf, np.float32))),
        (400, binary(RAW[:1], "FP32")),
        (413, {"json": {"inputs": [TENSOR | {"shape": [65, 3, 8, 8]}]}}),
        (400, {"content": b" " * 3_000_000}),
        (422, {"json": GOOD, "params": {"tag": "no-colon\n:x"}}),
        (503, binary(np.full((1, 3, 8, 8), 3e38, np.float32))),
    ],
)
def test_bad_requests_get_the_protocol_s_error_and_log_nothing(
    client: TestClient,
    status: int,
    body: dict[str, Any],
) -> None:
    answer = client.post(INFER, **body)
    assert answer.status_code == status, answer.text
    assert isinstance(answer.json()["error"], str)
    metrics = client.get("/metrics").text
    assert f'predict_requests_total{{model="pets",status="{status}",version="3"}} 1.0' in metrics
    counts = re.findall(r"^tidemark_predictions_total\{.*\} (.*)$", metrics, re.MULTILINE)
    assert counts == ["0.0"] * 4


def test_a_queue_smaller_than_the_request_is_413(serve: Callable[..., TestClient]) -> None:
    answer = serve(queue_limit=4).post(INFER, json=request(RAW, "UINT8"))
    assert answer.status_code == 413
    assert answer.json()["error"] == "5 images in one request, at most 4 are accepted"
