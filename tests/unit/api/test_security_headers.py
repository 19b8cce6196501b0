from collections.abc import Iterator

import pytest
from fastapi.responses import HTMLResponse
from fastapi.testclient import TestClient
from starlette.middleware import Middleware

from tidemark.api import problems
from tidemark.api.middleware.security_headers import SecurityHeaders
from tidemark.server.application import Application


@pytest.fixture
def client() -> Iterator[TestClient]:
    app = Application()
    problems.install(app)
    app.add_layers([Middleware(SecurityHeaders)])

    @app.get("/page")
    def page() -> HTMLResponse:
        return HTMLResponse("<p>")

    @app.get("/data")
    def data() -> dict[str, int]:
        return {"a": 1}

    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("secret detail")

    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.mark.parametrize("path", ["/page", "/data", "/missing", "/broken", "/docs"])
def test_every_answer_has_the_headers(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "secret detail" not in answer.text


def test_a_page_keeps_to_its_own_origin(client: TestClient) -> None:
    policy = client.get("/page").headers["content-security-policy"]
    assert policy.startswith("default-src 'self'; ")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "content-security-policy" not in client.get("/data").headers
