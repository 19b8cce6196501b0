"""Predictions of models that are served elsewhere: checked, logged, fed back, as JSON and as binary tensors."""

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, text

from tests.support.images import png
from tests.support.observed import E, P, counted, logged
from tests.support.server import state_of
from tidemark.api.open_inference.infer import JSON_LENGTH
from tidemark.inference.bundle import AnyBundle

Serve = Callable[..., TestClient]
GOOD = {"probabilities": [0.5, 0.25, 0.25], "embedding": [0.0, 1.0, 2.0, 3.0]}
HOUR_AGO = (dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)).replace(microsecond=123_000)


def body(*rows: dict[str, Any], model: str = "far:1") -> dict[str, Any]:
    return {"model": model, "predictions": list(rows)}


def tensors(**changes: Any) -> dict[str, Any]:
    """What a client of the Open Inference Protocol sends: JSON, then the tensors' bytes."""
    values = {"probabilities": P, "embedding": E} | changes
    inputs = [
        {"name": name, "shape": list(a.shape), "datatype": "FP32", "parameters": {"binary_data_size": a.nbytes}}
        for name, a in values.items()
    ]
    head = json.dumps({"inputs": inputs}).encode()
    headers = {JSON_LENGTH: str(len(head)), "Content-Type": "application/octet-stream"}
    return {"content": head + b"".join(a.tobytes() for a in values.values()), "headers": headers}


@pytest.fixture
def far(serve: Serve, observed: AnyBundle) -> TestClient:
    """A server that knows nothing but a model served elsewhere."""
    return serve(observed, alone=True)


def test_rows_are_logged_with_their_time_and_tags_and_can_be_fed_back(far: TestClient, engine: Engine) -> None:
    dated = GOOD | {"at": HOUR_AGO.isoformat(), "tags": {"camera": "7"}}
    answer = far.post("/observe?tag=site:a", json=body(GOOD, dated))
    assert answer.status_code == 202, answer.text
    ids = answer.json()["ids"]
    assert counted(far) == 2
    fed = far.post("/feedback", json={"items": [{"id": ids[1], "label": "bee"}]})  # maybe still in the spool
    assert fed.json() == {"accepted": 1, "unknown": [], "rejected": []}
    batch = logged(engine, 2)
    assert {str(key) for key in batch.uuids} == set(ids)
    assert batch.properties is None
    np.testing.assert_array_equal(batch.embeddings, [GOOD["embedding"]] * 2)
    stored = far.get(f"/predictions/{ids[1]}").json()
    assert dt.datetime.fromisoformat(stored["at"]) == HOUR_AGO
    assert stored["tags"] == {"camera": "7", "site": "a"}
    assert (stored["label"], stored["confidence"], stored["feedback"]) == ("ant", 0.5, "bee")
    assert UUID(ids[1]).version == 7


def test_feedback_finds_a_prediction_that_is_only_in_the_spool(far: TestClient, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE predictions RENAME TO elsewhere"))
        connection.execute(text("CREATE VIEW predictions AS SELECT * FROM elsewhere"))  # reads go on, COPY fails
    (key,) = far.post("/observe", json=body(GOOD)).json()["ids"]
    fed = far.post("/feedback", json={"items": [{"id": key, "label": "cat"}]})
    assert fed.json() == {"accepted": 1, "unknown": [], "rejected": []}


def test_binary_tensors_are_the_same_predictions(far: TestClient, engine: Engine) -> None:
    answer = far.post("/observe?model=far:1&tag=camera:7", **tensors())
    assert answer.status_code == 202, answer.text
    batch = logged(engine, 5)
    assert [str(key) for key in batch.uuids] == answer.json()["ids"]
    np.testing.assert_allclose(batch.probabilities, P, atol=1e-3)
    np.testing.assert_allclose(batch.embeddings, E, atol=1e-2)
    assert far.get(f"/predictions/{batch.uuids[0]}").json()["tags"] == {"camera": "7"}


def soon(hours: float) -> str:
    return (dt.datetime.now(dt.UTC) + dt.timedelta(hours=hours)).isoformat()


OFF = P * np.array([[1], [1], [0.5], [1], [1]], np.float32)
NAN = np.full((5, 4), np.nan, np.float32)


def bad(**changes: Any) -> dict[str, Any]:
    return {"json": body(GOOD, GOOD | changes)}


def bad_tensors(**changes: Any) -> dict[str, Any]:
    return {"params": {"model": "far"}, **tensors(**changes)}


BAD: list[tuple[int, str, dict[str, Any]]] = [
    (422, "prediction 1: probabilities add up to 0.9", bad(probabilities=[0.5, 0.2, 0.2])),
    (422, "prediction 1: probabilities outside of 0..1", bad(probabilities=[1.5, -0.5, 0.0])),
    (422, "prediction 0: 2 probabilities, far:1 has 3 labels", {"json": body(GOOD | {"probabilities": [0.5, 0.5]})}),
    (422, "prediction 1: probabilities has 2 values", bad(probabilities=[0.5, 0.5])),
    (422, "prediction 1: embedding has 3 values", bad(embedding=[0.0, 1.0, 2.0])),
    (422, "prediction 1: embedding holds NaN", bad(embedding=[1e39, 1.0, 2.0, 3.0])),
    (422, "lies in the future", bad(at=soon(0.5))),
    (422, "older than the 30 days", bad(at=soon(-24 * 31))),
    (422, "predictions.1.at", bad(at="2026-01-01T00:00:00")),
    (422, "predictions.1.tags", bad(tags={"a b": "c"})),
    (422, "predictions.1.embedding.2", bad(embedding=[0.0, 1.0, "2", 3.0])),
    (422, "predictions", {"json": body()}),
    (404, "no model near:1", {"json": body(GOOD, model="near:1")}),
    (413, "at most 1000", {"json": body(*[GOOD] * 1001)}),
    (422, "at most 65536 items", {"json": body(GOOD | {"embedding": [0.0] * 65_537})}),
    (415, "expected application/json", {"content": png(), "headers": {"Content-Type": "image/png"}}),
    (400, "Invalid JSON", {"content": b"{", "headers": {"Content-Type": "application/json"}}),
    (404, "no model near", {"params": {"model": "near"}, **tensors()}),
    (422, "expected ?model=", tensors()),
    (400, "expected the inputs probabilities and embedding", bad_tensors(other=E)),
    (400, "expected shape [-1, 3]", bad_tensors(probabilities=P[:, :2].copy())),
    (400, "with d in 1..65536", bad_tensors(embedding=np.zeros((5, 65_537), np.float32))),
    (400, "probabilities have 4 rows, embedding has 5", bad_tensors(probabilities=P[:4])),
    (400, "NaN", bad_tensors(embedding=NAN)),
    (422, "prediction 2: probabilities add up", bad_tensors(probabilities=OFF)),
]


def test_an_invalid_prediction_is_refused_and_nothing_is_logged(far: TestClient) -> None:
    for status, says, request in BAD:
        answer = far.post("/observe", **request)
        assert answer.status_code == status, (says, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        assert says in answer.json()["detail"]
    assert counted(far) == 0
    assert state_of(far).spool.pending == 0


def test_an_embedding_keeps_its_size_over_restarts(serve: Serve, observed: AnyBundle) -> None:
    first, second = serve(observed, alone=True), serve(observed, alone=True)  # two workers that have seen nothing
    longer = GOOD | {"embedding": [0.0] * 5}
    assert first.post("/observe", json=body(GOOD)).status_code == 202
    for client in (first, second, serve(observed, alone=True)):
        answer = client.post("/observe", json=body(longer))
        assert answer.status_code == 422
        assert answer.json()["detail"] == "prediction 0: embedding has 5 values, those of far:1 have 4"
    assert second.post("/observe", json=body(GOOD)).status_code == 202


def test_a_model_served_elsewhere_does_not_answer(far: TestClient) -> None:
    says = "far:1 is served elsewhere: send what it answers there to POST /observe"
    for query in ("", "?model=far", "?model=far:1"):
        answer = far.post(f"/predict{query}", content=png(), headers={"Content-Type": "image/png"})
        assert (answer.status_code, answer.json()["detail"]) == (404, says)
    row = {"inputs": [{"name": "image", "shape": [1, 4], "datatype": "FP32", "data": [0.0] * 4}]}
    for answer in (
        far.get("/v2/models/far"),
        far.get("/v2/models/far/ready"),
        far.post("/v2/models/far/infer", json=row),
    ):
        assert (answer.status_code, answer.json()["error"]) == (404, says)
    assert far.get("/readyz").json()["models"] == ["far:1"]
    assert far.get("/v2").status_code == 200


def test_an_observed_model_and_a_served_model_share_a_server(
    serve: Serve, observed: AnyBundle, engine: Engine, tmp_path: Path
) -> None:
    client = serve(observed)
    assert (
        client.post("/predict", content=png(), headers={"Content-Type": "image/png"}).json()["model"]["name"] == "pets"
    )
    wrong = client.post("/observe", json=body({"probabilities": [0.25] * 4, "embedding": [0.0] * 4}, model="pets"))
    assert wrong.json()["detail"] == "prediction 0: embedding has 4 values, those of pets:3 have 6"
    right = client.post("/observe", json=body({"probabilities": [0.25] * 4, "embedding": [0.0] * 6}, model="pets:3"))
    assert right.status_code == 202
    assert (counted(client, "pets"), counted(client)) == (2, 0)
