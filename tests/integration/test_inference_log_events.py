"""Events of an inference logger that are refused, and odd ones that are logged all the same."""

import datetime as dt
import gzip
import json

import numpy as np
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from tests.support.inference_log import NOW, REQUEST, URL, binary, event_of_row, outputs, structured
from tests.support.observed import E, P, counted, logged
from tests.support.request_content import RequestContent
from tests.support.server import state_of
from tidemark.api.cloud_events.event import BATCH, RESPONSE_TYPES, STRUCTURED


def two(second: bytes) -> bytes:
    return b'{"predictions": [{"scores": [1, 0, 0], "features": [1]}, ' + second + b"]}"


BAD: list[tuple[int, str, RequestContent]] = [
    (400, "specversion 1.0", {"content": b"{}", "headers": {"Content-Type": "application/json"}}),
    (400, "specversion 1.0", binary(outputs(), specversion="2.0")),
    (400, "attribute id", binary(outputs(), id=None)),
    (400, "of type", binary(outputs(), type="dev.knative.ping")),
    (400, "inferenceservicename", binary(outputs(), inferenceservicename=None)),
    (404, "no model near", binary(outputs(), inferenceservicename="near")),
    (404, "no model near", binary(b"", kind=REQUEST, inferenceservicename="near")),
    (415, "expected a binary event", {"content": b"[]", "headers": {"Content-Type": "application/cloudevents+avro"}}),
    (400, "array of events", {"content": b"{}", "headers": {"Content-Type": BATCH}}),
    (413, "101 events in one request", {"content": b"[" + b"{}," * 100 + b"{}]", "headers": {"Content-Type": BATCH}}),
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
    (422, "has 65537 values, expected 1 to 65536", binary(outputs(True, scores=P[:1], features=np.zeros((1, 65_537))))),
    (413, "rows, at most 1000", binary(outputs(scores=np.zeros((1001, 3)), features=np.zeros((1001, 4))))),
]  # fmt: skip


def test_a_malformed_event_is_refused_and_nothing_of_it_is_logged(far: TestClient) -> None:
    for status, says, event in BAD:
        answer = far.post(URL, **event)
        assert answer.status_code == status, (says, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        assert says in answer.json()["detail"]
    assert counted(far) == 0
    assert state_of(far).spool.pending == 0


def headers(count: int, **named: str) -> str:
    return json.dumps({f"X-{number}": ["1"] for number in range(count)} | {key: [v] for key, v in named.items()})


LENIENT: dict[str, RequestContent] = {
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
def test_an_odd_event_is_logged_all_the_same(far: TestClient, engine: Engine, name: str) -> None:
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
