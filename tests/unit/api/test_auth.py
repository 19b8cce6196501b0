import asyncio
import base64
import hashlib
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from tidemark.api.middleware.api_keys import ApiKeys, needed_scopes
from tidemark.api.middleware.request_head import RequestHead
from tidemark.errors import ConfigurationError
from tidemark.setting_types import ApiKey
from tidemark.settings import Settings

KEYS = {"p": "predict", "f": "feedback", "r": "read", "pf": "predict+feedback", "a": "admin"}


def sha256(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


SETTING = ",".join(f"{scopes}:{sha256(key)}" for key, scopes in KEYS.items())


@pytest.fixture
def client() -> TestClient:
    app = FastAPI(openapi_url=None)

    @app.api_route("/{path:path}", methods=["GET", "HEAD", "POST", "PUT", "DELETE"])
    async def anything(request: Request) -> str:
        return request.method

    app.add_middleware(RequestHead, checks=[ApiKeys(Settings(api_keys=SETTING).api_keys)])
    return TestClient(app)


def statuses(client: TestClient, method: str, path: str) -> dict[str, int]:
    return {key: client.request(method, path, headers={"X-API-Key": key}).status_code for key in KEYS}


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"])
def test_health_and_metrics_are_open(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/predict", "p pf a"),
        ("POST", "/v2/models/m/infer", "p pf a"),
        ("POST", "/v2/models/m/versions/1/infer", "p pf a"),
        ("GET", "/v2", "p r pf a"),
        ("GET", "/v2/models/m", "p r pf a"),
        ("POST", "/observe", "p pf a"),
        ("POST", "/observe/cloudevents", "p pf a"),
        ("POST", "/feedback", "f pf a"),
        ("GET", "/drift", "r a"),
        ("GET", "/drift/windows/7", "r a"),
        ("GET", "/alerts", "r a"),
        ("GET", "/predictions/0192", "r a"),
        ("GET", "/", "r a"),
        ("HEAD", "/", "r a"),
        ("GET", "/static/style.css", "f r pf a"),
        ("GET", "/label", "f pf a"),
        ("POST", "/label/answer", "f pf a"),
        ("GET", "/labels/next", "f pf a"),
        ("POST", "/labels/import", "f pf a"),
        ("DELETE", "/labels/next", "a"),
        ("GET", "/openapi.json", "r a"),
        ("POST", "/alerts/0192/deliver", "a"),
        ("POST", "/healthzz", "a"),
        ("GET", "/v2x", "r a"),
        ("POST", "/predict/", "p pf a"),
        ("DELETE", "/alerts/0192", "a"),
    ],
)
def test_each_request_needs_its_scope(client: TestClient, method: str, path: str, allowed: str) -> None:
    expected = {key: 200 if key in allowed.split() else 403 for key in KEYS}
    assert statuses(client, method, path) == expected
    assert client.request(method, path).status_code == 401


def test_a_key_comes_in_two_headers(client: TestClient) -> None:
    for headers in ({"X-API-Key": "p"}, {"Authorization": "Bearer p"}, {"Authorization": "bearer  p "}):
        assert client.post("/predict", headers=headers).status_code == 200, headers


def basic(credentials: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(credentials.encode()).decode()}


def test_a_browser_may_read_with_the_key_as_password_but_not_post(client: TestClient) -> None:
    assert client.get("/", headers=basic("anybody:r")).status_code == 200
    assert client.get("/drift", headers=basic(":a")).status_code == 200
    assert client.post("/alerts/0192/deliver", headers=basic("anybody:a")).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": ""},
        {"X-API-Key": "wrong"},
        {"X-API-Key": sha256("a")},
        {"X-API-Key": "\xe9".encode("latin-1")},
        {"X-API-Key": "wrong", "Authorization": "Bearer a"},
        {"Authorization": "a"},
        {"Authorization": "Bearer"},
        {"Authorization": "Digest a"},
        {"Authorization": "Basic a"},
        {"Authorization": "Basic \xe9".encode("latin-1")},
        basic("a"),
        basic("a:wrong"),
    ],
)
def test_without_a_valid_key_the_answer_is_401(client: TestClient, headers: dict[str, str]) -> None:
    answer = client.get("/drift", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="Tidemark"'
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == 401


def test_a_browser_is_asked_for_the_key(client: TestClient) -> None:
    answer = client.get("/", headers={"Accept": "text/html,*/*;q=0.8"})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic realm=")


def test_403_names_the_scope_that_is_missing(client: TestClient) -> None:
    answer = client.post("/predict", headers={"X-API-Key": "r"})
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == "the API key lacks the scope predict"
    answer = client.post("/v2/models/m/infer", headers={"X-API-Key": "r"})
    assert answer.json()["error"] == "the API key lacks the scope predict"


def test_a_refused_body_is_not_read(client: TestClient) -> None:
    app = RequestHead(client.app, checks=[ApiKeys(Settings(api_keys=SETTING).api_keys)])
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> dict[str, object]:
        raise AssertionError("the body is read")

    asyncio.run(app({"type": "http", "method": "POST", "path": "/predict", "headers": []}, receive, send))
    assert sent[0]["status"] == 401


def test_the_setting_is_read() -> None:
    keys = Settings.load(api_keys=f" predict+READ:{sha256('k').upper()} , admin:{sha256('x')}").api_keys
    assert keys == (
        ApiKey(scopes=frozenset({"predict", "read"}), sha256=sha256("k")),
        ApiKey(scopes=frozenset({"admin"}), sha256=sha256("x")),
    )


def test_unset_or_empty_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.load().api_keys == ()
    monkeypatch.setenv("TIDEMARK_API_KEYS", "")
    assert Settings.load().api_keys == ()


@pytest.mark.parametrize(
    "text",
    [
        ",",
        " ",
        "admin",
        "secret-key",
        "admin:secret-key",
        f"root:{sha256('k')}",
        f"admin+:{sha256('k')}",
        f"admin:{sha256('k')},",
        f"admin:{sha256('k')[:-1]}",
    ],
)
def test_a_setting_that_cannot_be_is_reported_without_its_text(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("TIDEMARK_API_KEYS", text)
    with pytest.raises(ConfigurationError, match=r"TIDEMARK_API_KEYS: .*entry \d is not scope") as caught:
        Settings.load()
    assert "secret-key" not in str(caught.value)


def test_reading_v2_needs_either_scope() -> None:
    assert needed_scopes("GET", "/v2/models/m") == ("predict", "read")
