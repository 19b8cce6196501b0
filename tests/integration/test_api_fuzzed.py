"""Requests of every shape, made from our own OpenAPI: a live server never answers 5xx, and keeps on living."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import schemathesis
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as examples
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from service.app import create_app
from service.inference.bundle import AnyBundle, Bundle
from service.settings import Settings
from tests.acceptance.ops.live import answers, client_of, free_port, until

EXAMPLES = 20  # of an operation, valid and invalid each
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@contextmanager
def live(app: FastAPI) -> Iterator[str]:
    """Run a server on a port of its own; yield its URL."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        with client_of(port) as client:
            until(lambda: answers(client, "/readyz"), "the server")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def test_no_request_is_answered_5xx(bundle: Bundle, observed: AnyBundle, settings: Settings, url: str) -> None:
    app = create_app(settings, [bundle, observed], url)
    seen = set()
    with live(app) as base_url:
        for found in schemathesis.openapi.from_dict(app.openapi()).get_all_operations():
            operation = found.ok()
            seen.add(operation.label)
            for mode in GenerationMode:

                @seed(0)
                @examples(
                    max_examples=EXAMPLES,
                    deadline=None,
                    database=None,
                    phases=[Phase.generate],
                    suppress_health_check=list(HealthCheck),
                )
                @given(case=operation.as_strategy(generation_mode=mode))
                def ask(case: Case) -> None:
                    case.call_and_validate(base_url=base_url, checks=CHECKS)

                with suppress(Unsatisfiable):  # a request without parameters cannot be invalid
                    ask()
    assert {"POST /predict", "POST /observe", "POST /observe/cloudevents", "GET /drift/windows"} < seen


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
