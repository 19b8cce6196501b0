"""What KServe's inference logger sends, as it sends it: binary CloudEvents whose content type is the request's."""

import datetime as dt
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from fastapi.testclient import TestClient
from sqlalchemy import Engine, text

from tests.support.bundles import observed_bundle
from tests.support.inference_log import NOW, REQUEST, URL, binary, event_of_row, outputs, rows, structured
from tests.support.observed import E, P, counted, logged
from tests.support.request_content import RequestContent
from tidemark.api.cloud_events.event import BATCH
from tidemark.inference.bundle import AnyBundle, load_any

Serve = Callable[..., TestClient]


FORMS: dict[str, Callable[[], RequestContent]] = {
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
            event["content"] = event["content"].replace(b'"8d3a"', f'"{name}"'.encode(), 1)
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


def test_the_channels_of_a_feature_map_are_the_axis_with_the_size_of_the_embedding(
    far: TestClient, engine: Engine
) -> None:
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
