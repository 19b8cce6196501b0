"""A server below a path of a real nginx: pages, their links and files, the API and its documentation."""

import asyncio
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest
import uvicorn

from tests.support.images import png
from tests.support.processes import answers, client_of, free_port
from tests.support.wait import until
from tidemark.inference.bundle import Bundle
from tidemark.server.app import create_app
from tidemark.server.uvicorn_protocol import BoundedHttpProtocol
from tidemark.settings import Settings

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
CONFIGURATION = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location /tidemark/ {{
            proxy_pass http://127.0.0.1:{upstream}/;
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-Prefix /tidemark;
        }}
    }}
}}
"""

pytestmark = pytest.mark.skipif(NGINX is None, reason="needs nginx")


@pytest.fixture
def upstream(bundle: Bundle, settings: Settings, url: str) -> Iterator[int]:
    """The port of a server."""
    app = create_app(settings, (bundle,), url, None, ())
    server = uvicorn.Server(uvicorn.Config(app, port=0, http=BoundedHttpProtocol, ws="none", log_config=None))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    until(lambda: server.started, "the server")
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()


@pytest.fixture
def proxied(upstream: int, tmp_path: Path) -> Iterator[httpx.Client]:
    """A client of the proxy."""
    folder, port = tmp_path / "nginx", free_port()
    folder.mkdir()
    (folder / "nginx.conf").write_text(CONFIGURATION.format(folder=folder, port=port, upstream=upstream))
    with (
        subprocess.Popen([str(NGINX), "-p", str(folder), "-c", str(folder / "nginx.conf")]) as process,
        client_of(port) as client,
    ):
        client.headers["accept"] = "text/html"
        try:
            until(lambda: answers(client, "/tidemark/healthz"), "nginx")
            yield client
        finally:
            process.terminate()


@pytest.mark.parametrize("page", ["/tidemark/", "/tidemark/docs"])
def test_what_a_page_refers_to_is_below_the_path(proxied: httpx.Client, page: str) -> None:
    answer = proxied.get(page)
    assert answer.status_code == 200
    references = set(re.findall(r'(?:href|src|data-url)="(?!data:|https?:|#)([^"]+)"', answer.text))
    assert references
    for reference in references:
        path = urljoin(page, reference)
        assert path.startswith("/tidemark/"), reference
        assert proxied.get(path).status_code == 200, reference


def test_the_api_and_its_description_are_below_the_path(proxied: httpx.Client) -> None:
    assert proxied.get("/tidemark/openapi.json").json()["servers"] == [{"url": "/tidemark"}]
    for path in ("/tidemark/predict", "/tidemark/predict/"):
        answer = proxied.post(path, content=png(), headers={"content-type": "image/png"}, follow_redirects=True)
        assert answer.status_code == 200, path
