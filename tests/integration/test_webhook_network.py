"""Webhooks through a proxy, and to receivers whose certificate is from an authority of their own."""

import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tidemark.alerts import receivers
from tidemark.alerts.receivers import Reachability, reach_all
from tidemark.alerts.webhook_network import WebhookNetwork
from tidemark.errors import ConfigurationError
from tidemark.setting_types import WebhookReceiver
from tidemark.settings import Settings

PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
REMOTE = "http://receiver.invalid/hook"  # a name that only a proxy resolves


class Server:
    """An HTTP server that keeps the targets it was asked for; as a proxy it answers for every receiver."""

    def __init__(self, certificate: Path | None = None) -> None:
        self.targets: list[str] = []
        targets = self.targets

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                targets.append(self.path)
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        scheme = "http" if certificate is None else "https"
        self.url = f"{scheme}://localhost:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.http.shutdown()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of `localhost` that no public authority has signed, with its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl")
    folder = tmp_path_factory.mktemp("certificate")
    key, pem = folder / "key.pem", folder / "certificate.pem"
    command = [
        openssl,
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        str(key),
        "-out",
        str(pem),
        "-days",
        "2",
    ]
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, *subject], check=True, capture_output=True)
    pem.write_text(pem.read_text() + key.read_text())
    return pem


def outcome(url: str, network: WebhookNetwork) -> str | None:
    (reachability,) = reach_all([WebhookReceiver(url=url)], network)
    return reachability.error


def test_receivers_are_reached_through_the_proxy_of_the_environment(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url)
    assert outcome(REMOTE, WebhookNetwork()) is None
    assert server.targets == [REMOTE]
    monkeypatch.setenv("NO_PROXY", "receiver.invalid")
    assert outcome(REMOTE, WebhookNetwork()) is not None
    assert server.targets == [REMOTE]


def test_receivers_are_reached_through_the_proxy_of_the_settings(server: Server) -> None:
    network = WebhookNetwork.from_settings(Settings(webhook_proxy=server.url))
    assert outcome(REMOTE, network) is None
    assert server.targets == [REMOTE]


def test_receivers_on_this_machine_are_reached_without_a_proxy(server: Server) -> None:
    nowhere = WebhookNetwork(proxy="http://127.0.0.1:9")
    assert outcome(f"{server.url}/hook", nowhere) is None
    assert outcome(f"{server.url}/hook".replace("localhost", "127.0.0.1"), nowhere) is None
    assert server.targets == ["/hook", "/hook"]


def test_an_authority_of_the_settings_or_the_environment_is_trusted(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(certificate)
    try:
        assert "certificate" in str(outcome(server.url, WebhookNetwork())).lower()
        assert outcome(server.url, WebhookNetwork.from_settings(Settings(webhook_ca=certificate))) is None
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert outcome(server.url, WebhookNetwork()) is None
    finally:
        server.http.shutdown()


def test_public_authorities_stay_trusted_with_a_private_one(certificate: Path) -> None:
    authorities = WebhookNetwork(ca=certificate).ssl_context.get_ca_certs()
    assert len(authorities) > len(httpx.create_ssl_context().get_ca_certs())


@pytest.mark.parametrize(("name", "value"), [("WEBHOOK_PROXY", "proxy:s3cret@host"), ("WEBHOOK_CA", "/nowhere.pem")])
def test_a_value_that_cannot_be_used_is_one_line(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"TIDEMARK_{name}", value)
    with pytest.raises(ConfigurationError, match=f"TIDEMARK_{name}") as error:
        Settings.load()
    assert "s3cret" not in str(error.value)


def test_receivers_are_asked_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receivers, "MAX_PARALLEL", 2)
    three = threading.Barrier(3)

    def ask(receiver: WebhookReceiver, _: WebhookNetwork) -> Reachability:
        with suppress(threading.BrokenBarrierError):
            three.wait(0.3)
            return Reachability(receiver.url, "three at a time")
        return Reachability(receiver.url, None)

    monkeypatch.setattr(receivers, "_try_receiver", ask)
    asked = reach_all([WebhookReceiver(url=f"http://{number}.example/") for number in range(6)])
    assert asked == [Reachability(f"http://{number}.example/", None) for number in range(6)]
