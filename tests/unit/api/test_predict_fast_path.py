"""The way of an image past the framework's routing and layers."""

from collections.abc import Awaitable, Callable

import pytest
from fastapi import Request, Response
from fastapi.testclient import TestClient
from starlette.middleware import Middleware

from tidemark.api import problems
from tidemark.api.middleware.predict_fast_path import PredictFastPath
from tidemark.api.middleware.security_headers import SecurityHeaders
from tidemark.errors import Overloaded
from tidemark.server.application import Application, is_traced


def client_of(endpoint: Callable[[Request], Awaitable[Response]], answered: list[tuple[str, int]]) -> TestClient:
    app = Application()
    problems.install(app)
    headers = Middleware(
        SecurityHeaders, answered=lambda path, status: answered.append((path, status)), paths=frozenset({"/predict"})
    )
    app.add_layers([headers, Middleware(PredictFastPath, path="/predict", endpoint=endpoint)])
    return TestClient(app, raise_server_exceptions=False)


async def answers(request: Request) -> Response:
    assert request.app is not None
    return Response(b"{}", media_type="application/json")


async def overloaded(_: Request) -> Response:
    raise Overloaded("too much", retry_after=7)


async def broken(_: Request) -> Response:
    raise RuntimeError("secret detail")


@pytest.mark.parametrize(("endpoint", "status"), [(answers, 200), (overloaded, 503), (broken, 500)])
def test_every_answer_is_counted_and_has_the_headers_of_security(
    endpoint: Callable[[Request], Awaitable[Response]], status: int
) -> None:
    answered: list[tuple[str, int]] = []
    answer = client_of(endpoint, answered).post("/predict")
    assert answer.status_code == status
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "secret detail" not in answer.text
    assert answered == [("/predict", status)]
    if status != 200:
        assert answer.headers["content-type"] == "application/problem+json"


def test_other_methods_and_paths_are_the_routers() -> None:
    client = client_of(answers, [])
    assert client.get("/predict").status_code == 404
    assert client.post("/predicted").status_code == 404


def test_requests_are_traced_by_the_framework_where_a_tracer_is_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    trace = pytest.importorskip("opentelemetry.trace", reason="the oldest FastAPI that is accepted does not trace")
    assert not is_traced()
    monkeypatch.setattr(trace, "get_tracer_provider", trace.NoOpTracerProvider)
    assert is_traced()
