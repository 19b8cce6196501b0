"""Requests that are answered or refused by their heads: HEAD, prefixes, hosts, origins, loggers' keys."""

import base64
import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import Request
from fastapi.testclient import TestClient

from tests.support.images import png
from tests.support.server import state_of
from tidemark.inference.bundle import AnyBundle

Serve = Callable[..., TestClient]
KEY = "secret"
PREDICT_KEY = "predict:" + hashlib.sha256(KEY.encode()).hexdigest()
READ_KEY = "read:" + hashlib.sha256(b"reader").hexdigest()
PNG = {"Content-Type": "image/png"}


@pytest.fixture
def local(client: TestClient) -> TestClient:
    """A client of a server that listens on the loopback address."""
    return TestClient(client.app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False)


@pytest.mark.parametrize(
    "path",
    [
        "/healthz",
        "/readyz",
        "/metrics",
        "/v2/health/live",
        "/v2/health/ready",
        "/",
        "/drift",
        "/v2",
        "/docs",
        "/static/style.css",
        "/openapi.json",
        "/alerts",
        "/v2/models/pets",
    ],
)
def test_head_is_answered_wherever_get_is(client: TestClient, path: str) -> None:
    answer, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (answer.status_code, b"")
    assert head.headers["content-type"] == answer.headers["content-type"]
    assert client.head("/feedback").status_code == 405


def basic(password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"any:{password}".encode()).decode()}


def test_a_logger_may_have_its_key_in_basic_authentication_or_in_the_path(serve: Serve, observed: AnyBundle) -> None:
    client = serve(observed, api_keys=f"{PREDICT_KEY},{READ_KEY}")
    for path in ("/observe", "/observe/cloudevents"):
        assert client.post(path, headers=basic(KEY)).status_code in (400, 415)  # let through, and then refused
        assert client.post(path, headers=basic("wrong")).status_code == 401
        assert client.post(path, headers=basic("reader")).status_code == 403
    assert client.post(f"/observe/cloudevents/{KEY}", content=b"{}").status_code == 400
    assert client.post("/observe/cloudevents/wrong", content=b"{}").status_code == 401
    assert client.post("/observe/cloudevents/reader", content=b"{}").status_code == 403
    assert client.post("/predict", headers=basic(KEY)).status_code == 401
    assert KEY not in client.get("/metrics").text
    assert "/observe/cloudevents/{token}" in client.get("/metrics").text


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", ""])
def test_a_page_that_rebinds_its_name_to_this_machine_reads_nothing(local: TestClient, host: str) -> None:
    for method, path in (("GET", "/"), ("GET", "/drift"), ("POST", "/predict")):
        answer = local.request(method, path, headers={"Host": host})
        assert answer.status_code == 421
        assert answer.headers["content-type"] == "application/problem+json"
    assert local.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "LOCALHOST:1", "[::1]:8000"])
def test_this_machine_may_be_called_by_its_names(local: TestClient, host: str) -> None:
    assert local.get("/drift", headers={"Host": host}).status_code == 200


def test_further_hosts_may_be_allowed(serve: Serve) -> None:
    app = serve(allowed_hosts="tide.example", public_url="https://mark.example/x").app
    client = TestClient(app, base_url="http://127.0.0.1:8000")
    for host in ("tide.example", "mark.example"):
        assert client.get("/drift", headers={"Host": host}).status_code == 200


FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    {"Origin": "http://testserver:81", "Sec-Fetch-Site": "same-site"},
    {"Origin": "null"},
]


@pytest.mark.parametrize("headers", FOREIGN)
def test_a_page_of_another_origin_cannot_post(client: TestClient, headers: dict[str, str]) -> None:
    for path in ("/predict", "/v2/models/pets/infer", "/feedback", "/observe", "/alerts/test"):
        assert client.post(path, content=png(), headers=headers | PNG).status_code == 403, path


def test_a_page_of_another_origin_cannot_embed_what_it_may_link_to(client: TestClient) -> None:
    foreign = {"Sec-Fetch-Site": "cross-site"}
    assert client.get("/", headers=foreign | {"Sec-Fetch-Mode": "no-cors"}).status_code == 403
    assert client.get("/", headers=foreign | {"Sec-Fetch-Mode": "navigate"}).status_code == 200


@pytest.mark.parametrize("headers", [{}, {"Origin": "http://testserver"}, {"Sec-Fetch-Site": "same-origin"}])
def test_pages_of_the_same_origin_and_programs_may_post(client: TestClient, headers: dict[str, str]) -> None:
    assert client.post("/predict", content=png(), headers=headers | PNG).status_code == 200


def test_listed_origins_may_use_the_api(serve: Serve) -> None:
    client = serve(cors_origins="https://app.example", api_keys=PREDICT_KEY)
    headers = {"Origin": "https://app.example", "Sec-Fetch-Site": "cross-site", "X-API-Key": KEY}
    answer = client.post("/predict", content=png(), headers=headers | PNG)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    headers = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
    preflight = client.options("/predict", headers={"Origin": "https://app.example"} | headers)
    assert preflight.status_code == 200
    assert client.options("/predict", headers={"Origin": "https://evil.example"} | headers).status_code == 400


def test_behind_a_prefix_every_path_is_found_with_and_without_it(serve: Serve) -> None:
    client = serve(root_path="/tidemark/")
    for path in ("/healthz", "/tidemark/healthz", "/tidemark/", "/tidemark", "/tidemark/static/style.css"):
        assert client.get(path).status_code == 200, path
    assert client.post("/tidemark/predict/", content=png(), headers=PNG).status_code == 200
    assert client.get("/tidemarkhealthz").status_code == 404
    assert client.get("/openapi.json").json()["servers"] == [{"url": "/tidemark"}]


def test_a_proxy_may_tell_the_prefix(client: TestClient) -> None:
    headers = {"X-Forwarded-Prefix": "/tide/mark"}
    assert client.get("/openapi.json", headers=headers).json()["servers"] == [{"url": "/tide/mark"}]
    assert 'href="/tide/mark/static/style.css"' in client.get("/docs", headers=headers).text
    strange = {"X-Forwarded-Prefix": '/"><script>'}
    assert "<script>" not in client.get("/docs", headers=strange).text
    assert client.get("/openapi.json").json()["servers"] == [{"url": "/"}]


def test_the_description_needs_no_script_and_no_other_server(client: TestClient) -> None:
    answer = client.get("/docs")
    assert answer.status_code == 200
    assert "<script" not in answer.text
    assert "http" not in answer.headers["content-security-policy"]
    for path in client.get("/openapi.json").json()["paths"]:
        assert path in answer.text


def test_the_description_says_which_requests_need_a_key(serve: Serve) -> None:
    paths = serve(api_keys=PREDICT_KEY).app.openapi()["paths"]  # type: ignore[attr-defined]
    assert paths["/healthz"]["get"]["security"] == []
    assert paths["/predict"]["post"]["security"] == [{"bearer": []}, {"header": []}]


def test_large_answers_are_compressed_for_clients_that_ask(client: TestClient) -> None:
    assert client.get("/openapi.json").headers["content-encoding"] == "gzip"
    assert "content-encoding" not in client.get("/openapi.json", headers={"Accept-Encoding": "identity"}).headers
    assert "content-encoding" not in client.get("/healthz").headers


def test_a_server_that_stops_is_not_ready(client: TestClient) -> None:
    state_of(client).stopping.set()
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["stopping"]) == (503, True)
    assert client.get("/v2/health/ready").status_code == 503
    assert client.get("/healthz").status_code == 200


def test_the_links_of_pages_keep_a_proxy_s_prefix(client: TestClient) -> None:
    page = client.get("/", headers={"X-Forwarded-Prefix": "/tidemark"}).text
    assert 'href="/tidemark/static/style.css"' in page
    assert 'href="/tidemark/"' in page
    assert 'href="/static' in client.get("/").text


@pytest.mark.parametrize(("trusted", "scheme"), [("testclient", "https"), ("192.0.2.1", "http")])
def test_a_proxy_tells_the_scheme_where_its_address_is_trusted(
    trusted: str, scheme: str, serve: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", trusted)
    client = serve()

    def scheme_of(request: Request) -> str:
        return request.url.scheme

    app: Any = client.app
    app.add_api_route("/scheme", scheme_of)
    assert client.get("/scheme", headers={"X-Forwarded-Proto": "https"}).json() == scheme
