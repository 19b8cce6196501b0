"""Requests of every shape, made from our own OpenAPI: a live server never answers 5xx, and keeps on living."""

import copy
import datetime as dt
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import uuid4

import pytest
import schemathesis
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as examples
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support.images import images
from tests.support.processes import answers, client_of, free_port
from tests.support.wait import until
from tidemark.api.cloud_events.event import REQUEST_TYPES, RESPONSE_TYPES
from tidemark.inference.bundle import AnyBundle, Bundle
from tidemark.server.app import create_app
from tidemark.settings import Settings

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


NUMBERS = {"type": "array", "items": {"type": "number", "minimum": 0, "maximum": 1}}
SCHEMAS_BY_NAME: dict[str, Any] = {
    "name": {"enum": ["pets", "far"]},
    "version": {"enum": ["3", "1"]},
    "model": {"enum": ["pets", "pets:3", "far:1"]},
    "stream": {"enum": ["pets:3"]},
    "ce-specversion": {"const": "1.0"},
    "ce-type": {"enum": [REQUEST_TYPES[0], RESPONSE_TYPES[0]]},
    "ce-time": {"const": dt.datetime.now(dt.UTC).isoformat()},
    "ce-inferenceservicename": {"const": "far"},
    "ce-metadata": {"enum": ["{}", '{"X-Camera":["7"]}', "{", "[]"]},
    "probabilities": {"enum": [[0.5, 0.25, 0.25], [1, 0, 0]]},
    "embedding": NUMBERS | {"minItems": 4, "maxItems": 4},
}
TASK = {
    "type": "object",
    "required": ["prediction_id", "label"],
    "properties": {"prediction_id": {"type": "string", "format": "uuid"}, "label": {"const": "ant"}},
}
EVENT = {
    "type": "object",
    "required": ["predictions"],
    "properties": {
        "predictions": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["scores", "features"],
                "properties": {"scores": SCHEMAS_BY_NAME["probabilities"], "features": SCHEMAS_BY_NAME["embedding"]},
            },
        }
    },
}


def narrowed(schema: dict[str, Any]) -> dict[str, Any]:
    """Return our OpenAPI with names and values that are known here, so that requests get further than to a 404."""
    paths = schema["paths"]
    for operation in (operation for path in paths.values() for operation in path.values()):
        for parameter in operation.get("parameters", ()):
            if parameter["name"] in SCHEMAS_BY_NAME:
                parameter["schema"] = SCHEMAS_BY_NAME[parameter["name"]]
                parameter["required"] = True
    pictures = {"type": "object", "required": ["images"], "properties": {"images": {"const": images(1)["images"]}}}
    paths["/predict"]["post"]["requestBody"]["content"] = {"application/json": {"schema": pictures}}
    feedback = paths["/feedback"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    properties = feedback["properties"]["items"]["items"]["properties"]
    properties["label"], properties["id"] = {"const": "ant"}, {"type": "string", "format": "uuid"}
    observe = paths["/observe"]["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"]
    observe["model"] = {"enum": ["far", "far:1", "pets:3"]}
    prediction = observe["predictions"]["items"]["properties"]
    prediction.update(
        {name: SCHEMAS_BY_NAME[name] for name in ("probabilities", "embedding")} | {"at": {"type": "null"}}
    )
    tasks = paths["/labels/import"]["post"]["requestBody"]["content"]
    tasks["text/csv"]["schema"] = {"const": "id,label\n"}
    tasks["application/json"]["schema"]["items"] = TASK
    for path in ("/observe/cloudevents", "/observe/cloudevents/{token}"):
        paths[path]["post"]["requestBody"]["content"] = {"application/json": {"schema": EVENT}}
    return schema


@contextmanager
def live(app: FastAPI) -> Iterator[str]:
    """Run a server on a port of its own; yield its URL."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, ws="none", log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        with client_of(port) as client:
            until(lambda: answers(client, "/readyz"), "the server")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def statuses(operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode, count: int, base_url: str) -> set[int]:
    """Send up to `count` requests of an operation; return the answers' statuses, which it describes."""
    observed = set()

    @seed(0)
    @examples(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Case[Any]) -> None:
        observed.add(case.call_and_validate(base_url=base_url, checks=CHECKS).status_code)

    with suppress(Unsatisfiable):  # a request without parameters cannot be invalid
        ask()
    return observed


@pytest.mark.parametrize("count", [4, pytest.param(60, marks=pytest.mark.slow)])
def test_no_request_is_answered_5xx(
    bundle: Bundle, observed: AnyBundle, settings: Settings, url: str, count: int
) -> None:
    app = create_app(settings, [bundle, observed], url)
    statuses_by_operation: dict[str, set[int]] = {}
    schemas = [copy.deepcopy(app.openapi()), narrowed(copy.deepcopy(app.openapi()))]
    with live(app) as base_url:
        for schema, mode in ((schemas[0], GenerationMode.NEGATIVE), (schemas[1], GenerationMode.POSITIVE)):
            for candidate in schemathesis.openapi.from_dict(schema).get_all_operations():
                operation = candidate.ok()
                if mode is GenerationMode.NEGATIVE and operation.label.startswith("GET /v2"):
                    continue  # any text may be a name
                statuses_by_operation.setdefault(operation.label, set()).update(
                    statuses(operation, mode, count, base_url)
                )
    refused = {path for path, statuses in statuses_by_operation.items() if min(statuses) >= 400}
    refused -= {"POST /alerts/test"}  # no receiver is configured here
    refused -= {
        "POST /labels/rounds",
        "POST /labels/skip",
        "POST /drift/windows",
        "GET /drift/survival",
    }  # no reference
    assert sorted(path for path in refused if "{" not in path) == []  # but what there is not
    assert len(statuses_by_operation) >= 20


@pytest.mark.parametrize("body", [b"\xff\xfe{}", b'{"by": "\xc3"}', b"[" * 100_000, b"{", b"NaN"])
@pytest.mark.parametrize("path", ["/alerts/{id}/acknowledge", "/alerts/{id}/mute", "/alerts/{id}/accept"])
def test_a_body_that_is_no_json_is_answered_422(client: TestClient, path: str, body: bytes) -> None:
    """FastAPI alone answers 400 to text that is not UTF-8, a status that no endpoint describes."""
    response = client.post(path.format(id=uuid4()), content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 422, response.text
    assert response.headers["Content-Type"] == "application/problem+json"


def test_values_beyond_what_is_stored_are_refused(client: TestClient) -> None:
    """What once was answered 5xx."""
    assert client.get("/predictions/ffffffff-ffff-ffff-ffff-ffffffffffff").status_code == 404
    key = {"id": "ffffffff-ffff-ffff-ffff-ffffffffffff", "label": "ant"}
    assert client.post("/feedback", json={"items": [key]}).json()["unknown"] == [key["id"]]
    for path in (
        "/drift/windows?before=1" + "0" * 40,
        "/drift/windows/1" + "0" * 40,
        "/alerts?stream=%00",
        "/windows/1" + "0" * 40,
    ):
        assert client.get(path).status_code == 422, path
