"""What KServe's inference logger sends, as it sends it: binary CloudEvents whose content type is the request's."""

import base64
import datetime as dt
import gzip
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, text

from tests.support.bundles import observed_bundle
from tests.support.inference_log import REQUEST, RESPONSE, URL
from tests.support.observed import E, P, counted, logged
from tests.support.server import state_of
from tidemark.api.cloud_events.event import BATCH, RESPONSE_TYPES, STRUCTURED
from tidemark.inference.bundle import AnyBundle, load_any

Serve = Callable[..., TestClient]
NOW = dt.datetime.now(dt.UTC)


def attributes(kind: str = RESPONSE, **changes: str | None) -> dict[str, str]:
    """The attributes that KServe's worker sets, in the order in which it does."""
    values = {
        "specversion": "1.0",
        "id": "8d3a",
        "type": kind,
        "source": "http://localhost:9081/",
        "time": NOW.isoformat().replace("+00:00", "Z"),
        "inferenceservicename": "far",
        "namespace": "default",
        "component": "predictor",
        "endpoint": "",
        "metadata": '{"X-Camera":["7"]}',
    } | changes
    return {name: value for name, value in values.items() if value is not None}


def binary(data: bytes, **changes: Any) -> dict[str, Any]:
    headers = {f"ce-{name}": value for name, value in attributes(**changes).items()}
    return {"content": data, "headers": headers | {"Content-Type": "application/json"}}


def structured(data: bytes, encoded: bool = False, **changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"data_base64": base64.b64encode(data).decode()} if encoded else {"data": json.loads(data)}
    body |= attributes(**changes)
    return {"content": json.dumps(body), "headers": {"Content-Type": f"{STRUCTURED}; charset=utf-8"}}


def outputs(as_bytes: bool = False, datatype: str = "FP32", **changes: Any) -> bytes:
    """A response of the Open Inference Protocol, with an output that nobody asked us to read."""
    values = {"other": E[:, :1], "scores": P, "features": E} | changes
    dtype = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8"}[datatype]
    tensors, rest = [], b""
    for name, array in values.items():
        output = {"name": name, "shape": list(array.shape), "datatype": datatype}
        part = array.astype(dtype).tobytes()
        if as_bytes:
            rest += part
            tensors.append(output | {"parameters": {"binary_data_size": len(part)}})
        else:
            tensors.append(output | {"data": array.ravel().tolist()})
    return json.dumps({"model_name": "far", "model_version": "1", "id": "8d3a", "outputs": tensors}).encode() + rest


def rows() -> bytes:
    items = [{"scores": p.tolist(), "features": e.tolist()} for p, e in zip(P, E, strict=True)]
    return json.dumps({"predictions": items}).encode()


@pytest.fixture
def far(serve: Serve, observed: AnyBundle) -> TestClient:
    return serve(observed, alone=True)


FORMS: dict[str, Callable[[], dict[str, Any]]] = {
    "json": lambda: binary(outputs()),
    "tensors": lambda: binary(outputs(as_bytes=True)),
    "half": lambda: binary(outputs(as_bytes=True, datatype="FP16")),
    "double": lambda: binary(outputs(as_bytes=True, datatype="FP64")),
    "rows": lambda: binary(rows()),
    "structured": lambda: structured(outputs()),
    "structured tensors": lambda: structured(outputs(as_bytes=True), encoded=True),
}


def test_every_form_of_a_response_is_logged_once_however_often_it_comes(
    serve: Serve, observed: AnyBundle, engine: Engine
) -> None:
    replicas = [serve(observed, alone=True), serve(observed, alone=True)]
    far = replicas[0]
    for number, (name, form) in enumerate(FORMS.items(), start=1):
        event = form()
        if "ce-id" in event["headers"]:
            event["headers"]["ce-id"] = name
        else:
            event["content"] = event["content"].replace('"8d3a"', f'"{name}"', 1)
        for client in (far, far, replicas[1]):
            answer = client.post(URL, **event)
            assert (answer.status_code, answer.content) == (202, b""), (name, answer.text)
        assert counted(far) == 5 * number
        assert len(logged(engine, 5 * number)) == 5 * number
    for client in replicas:
        client.__exit__(None)  # both spools are in Postgres now
    batch = logged(engine, 5 * len(FORMS))
    assert len(batch) == 5 * len(FORMS)
    order = np.argsort(batch.embeddings[:5, 0]), np.argsort(E[:, 0])
    np.testing.assert_allclose(batch.embeddings[:5][order[0]], E[order[1]], atol=1e-2)
    np.testing.assert_allclose(batch.probabilities[:5][order[0]], P[order[1]], atol=1e-3)
    with engine.connect() as connection:
        stored = connection.execute(text("SELECT at, tags FROM predictions WHERE tags->>'event' = 'json'")).all()
    assert {(abs(row.at - NOW) < dt.timedelta(seconds=0.01), row.tags["X-Camera"]) for row in stored} == {(True, "7")}


def test_a_request_is_accepted_and_logs_nothing(far: TestClient, engine: Engine) -> None:
    request_body = json.dumps({"inputs": [{"name": "image", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0]}]})
    assert far.post(URL, **binary(outputs())).status_code == 202  # the response may come first
    for content in (request_body.encode(), b"\x89PNG anything"):
        answer = far.post(URL, **binary(content, kind=REQUEST))
        assert (answer.status_code, answer.content) == (202, b"")
    assert (counted(far), len(logged(engine, 5))) == (5, 5)


def test_logits_and_maps_are_brought_into_form(serve: Serve, tmp_path: Path, engine: Engine) -> None:
    bundle = observed_bundle(tmp_path / "logits", activation="softmax")
    far = serve(bundle, alone=True)
    maps = np.repeat(E[:, :, None], 6, axis=2).reshape(5, 4, 2, 3)
    answer = far.post(
        f"{URL}?model=far:1", **binary(outputs(scores=np.log(P), features=maps), inferenceservicename=None)
    )
    assert answer.status_code == 202, answer.text
    batch = logged(engine, 5)
    np.testing.assert_allclose(np.sort(batch.probabilities, axis=None), np.sort(P, axis=None), atol=1e-3)
    assert batch.embeddings.shape == (5, 4)


def test_the_version_in_the_answer_counts_where_there_are_several(
    serve: Serve, observed: AnyBundle, tmp_path: Path
) -> None:
    other = observed_bundle(tmp_path / "other")
    spec = other.folder / "model.toml"
    spec.write_text(spec.read_text().replace('version = "1"', 'version = "2"'))
    client = serve(observed, load_any(other.folder), alone=True)
    assert (
        client.post(URL, **binary(outputs().replace(b'"model_version": "1"', b'"model_version": "2"'))).status_code
        == 202
    )
    metrics = client.get("/metrics").text
    assert 'tidemark_confidence_count{model="far",version="2"} 5.0' in metrics
    assert 'tidemark_confidence_count{model="far",version="1"} 0.0' in metrics
    assert (
        client.post(URL, **binary(outputs().replace(b'"model_version": "1"', b'"model_version": "3"'))).status_code
        == 404
    )


def two(second: bytes) -> bytes:
    return b'{"predictions": [{"scores": [1, 0, 0], "features": [1]}, ' + second + b"]}"


BAD: list[tuple[int, str, dict[str, Any]]] = [
    (400, "specversion 1.0", {"content": b"{}", "headers": {"Content-Type": "application/json"}}),
    (400, "specversion 1.0", binary(outputs(), specversion="2.0")),
    (400, "attribute id", binary(outputs(), id=None)),
    (400, "of type", binary(outputs(), type="dev.knative.ping")),
    (400, "inferenceservicename", binary(outputs(), inferenceservicename=None)),
    (404, "no model near", binary(outputs(), inferenceservicename="near")),
    (404, "no model near", binary(b"", kind=REQUEST, inferenceservicename="near")),
    (415, "expected a binary event", {"content": b"[]", "headers": {"Content-Type": "application/cloudevents+avro"}}),
    (400, "array of events", {"content": b"{}", "headers": {"Content-Type": BATCH}}),
    (400, "Invalid JSON", {"content": b"{", "headers": {"Content-Type": STRUCTURED}}),
    (404, "no version 7 of far", binary(outputs().replace(b'"model_version": "1"', b'"model_version": "7"'))),
    (400, "data_base64", structured(b"{}", data_base64=7)),
    (400, "response: expected JSON", binary(b"\xff\xfe")),
    (400, "outputs or predictions", binary(b'{"error": "no model"}')),
    (400, "outputs or predictions", binary(b"{}")),
    (400, "outputs or predictions", binary(b'{"outputs": []}')),
    (400, "response: outputs.0", binary(b'{"outputs": [7]}')),
    (422, "lacks the output 'features', it has other, scores", binary(outputs().replace(b'"features"', b'"scores"'))),
    (422, "5 rows, the embedding has 4", binary(outputs(features=E[:4]))),
    (400, "positive numbers", binary(outputs().replace(b"[5, 4]", b"[5, -2, -2]"))),
    (400, "belong to no tensor", binary(outputs() + b"\x00")),
    (400, "binary_data_size", binary(outputs(as_bytes=True)[:-1])),
    (422, "prediction 0: 4 probabilities, far:1 has 3 labels", binary(outputs(scores=E))),
    (422, "prediction 3: probabilities", binary(outputs(scores=P * np.array([[1], [1], [1], [0.2], [1]])))),
    (422, "prediction 1 of the response lacks 'features'", binary(two(b'{"scores": [1, 0, 0]}'))),
    (422, "not one row of numbers", binary(b'{"predictions": [{"scores": "x", "features": [1]}]}')),
    (422, "not numbers", binary(b'{"predictions": [{"scores": [1, [0], 0], "features": [1]}]}')),
    (413, "rows, at most 1000", binary(outputs(scores=np.zeros((1001, 3)), features=np.zeros((1001, 4))))),
]  # fmt: skip


def test_a_malformed_event_is_told_and_nothing_of_it_is_logged(far: TestClient) -> None:
    for status, says, event in BAD:
        answer = far.post(URL, **event)
        assert answer.status_code == status, (says, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        assert says in answer.json()["detail"]
    assert counted(far) == 0
    assert state_of(far).spool.pending == 0


def event_of_row(**changes: Any) -> dict[str, Any]:
    """An event with one prediction."""
    return binary(outputs(scores=P[:1], features=E[:1], other=E[:1, :1]), **changes)


def headers(count: int, **named: str) -> str:
    return json.dumps({f"X-{number}": ["1"] for number in range(count)} | {key: [v] for key, v in named.items()})


LENIENT: dict[str, dict[str, Any]] = {
    "a long header": event_of_row(metadata=headers(0, Traceparent="x" * 300, Camera="7")),
    "a secret": event_of_row(metadata=headers(0, Authorization="Bearer abc", Camera="7")),
    "17 headers": event_of_row(metadata=headers(17, Camera="7")),
    "a tab": event_of_row(metadata=headers(0, Camera="7", Other="a\tb")),
    "an empty list": event_of_row(metadata='{"Camera": ["7"], "Empty": []}'),
    "a strange name": event_of_row(metadata=headers(0, Camera="7").replace("}", ', ":path": ["/"]}')),
    "a number": event_of_row(metadata='{"Camera": 7}'),
    "metadata that is not JSON": event_of_row(metadata="{"),
    "a clock that is ahead by an hour": event_of_row(time=(NOW + dt.timedelta(hours=1)).isoformat()),
    "a clock that is ahead by a minute": event_of_row(time=(NOW + dt.timedelta(seconds=62)).isoformat()),
    "a clock that starts in 1970": event_of_row(time="1970-01-01T00:00:00Z"),
    "no time": event_of_row(time=None),
    "a time without a zone": event_of_row(time="2026-01-01T00:00:00"),
    "a long id": event_of_row(id="x" * 300),
    "Seldon's type": event_of_row(kind=RESPONSE_TYPES[1]),
    "no batch axis": binary(outputs(scores=P[0], features=E[0], other=E[:1, :1])),
    "no batch axis, in bytes": binary(outputs(as_bytes=True, scores=P[0], features=E[0], other=E[:1, :1])),
    "a version as a number": binary(event_of_row()["content"].replace(b'"model_version": "1"', b'"model_version": 1')),
    "probabilities of 8 bits": binary(outputs(scores=np.array([[128, 64, 63]]) / 256, features=E[:1], other=E[:1, :1])),
    "gzip whose header was dropped": {**event_of_row(), "content": gzip.compress(event_of_row()["content"])},
    "gzip": {
        "content": gzip.compress(event_of_row()["content"]),
        "headers": event_of_row()["headers"] | {"Content-Encoding": "gzip"},
    },
}


@pytest.mark.parametrize("name", LENIENT)
def test_an_event_is_logged_whatever_is_odd_about_it(far: TestClient, engine: Engine, name: str) -> None:
    event = LENIENT[name]
    if "a long id" not in name:
        event = {**event, "headers": event["headers"] | {"ce-id": name}}
    answer = far.post(URL, **event)
    assert answer.status_code == 202, answer.text
    batch = logged(engine, 1)
    np.testing.assert_allclose(batch.embeddings, E[:1], atol=1e-2)
    assert abs(float(batch.probabilities.sum()) - 1) < 1e-3
    tags = far.get(f"/predictions/{batch.uuids[0]}").json()["tags"]
    assert "Authorization" not in tags
    assert len(tags) <= 16
    if '"Camera"' in event["headers"].get("ce-metadata", "") and "17" not in name:
        assert tags["Camera"] == "7"


def test_a_batch_of_events_is_logged(far: TestClient, engine: Engine) -> None:
    events = [json.loads(structured(event_of_row()["content"], id=str(number))["content"]) for number in range(3)]
    answer = far.post(URL, content=json.dumps(events), headers={"Content-Type": BATCH})
    assert answer.status_code == 202, answer.text
    assert len(logged(engine, 3)) == 3


def test_the_channels_of_a_feature_map_are_those_that_model_toml_names(
    serve: Serve, tmp_path: Path, engine: Engine
) -> None:
    far = serve(observed_bundle(tmp_path / "maps", embedding_layout="NHWC"), alone=True)
    maps = np.arange(1, 9).reshape(1, 2, 2, 2)
    assert far.post(URL, **binary(outputs(scores=P[:1], features=maps, other=maps))).status_code == 202
    np.testing.assert_array_equal(logged(engine, 1).embeddings, [[4, 5]])


def test_the_channels_of_a_feature_map_are_the_axis_of_the_known_size(far: TestClient, engine: Engine) -> None:
    assert far.post(URL, **event_of_row(id="vector")).status_code == 202
    maps = np.repeat(E[:1, None], 6, axis=1).reshape(1, 2, 3, 4)
    event = binary(outputs(scores=P[:1], features=maps, other=E[:1, :1]), id="map")
    assert far.post(URL, **event).status_code == 202
    np.testing.assert_allclose(logged(engine, 2).embeddings, np.repeat(E[:1], 2, axis=0), atol=1e-2)


def test_tensorflow_serving_has_its_channels_last(far: TestClient, engine: Engine) -> None:
    row = {"scores": P[0].tolist(), "features": np.repeat(E[:1], 6, axis=0).reshape(2, 3, 4).tolist()}
    assert far.post(URL, **binary(json.dumps({"predictions": [row]}).encode())).status_code == 202
    np.testing.assert_allclose(logged(engine, 1).embeddings, E[:1], atol=1e-2)


def test_two_deliveries_of_an_event_at_the_same_time_are_counted_once(far: TestClient, engine: Engine) -> None:
    event = event_of_row()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: far.post(URL, **event).status_code, range(8)))
    assert answers == [202] * 8
    assert counted(far) == 1
