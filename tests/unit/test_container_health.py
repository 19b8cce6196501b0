"""The image's health check, for each command."""

import http.server
import os
import threading
import time
from pathlib import Path

from tidemark.server.container_health import is_healthy


def test_a_monitor_is_healthy_while_it_beats(tmp_path: Path) -> None:
    arguments = ["/opt/tidemark/bin/python", "/opt/tidemark/bin/tidemark", "monitor"]
    assert not is_healthy(arguments, tmp_path)
    beat = tmp_path / "monitor.alive"
    beat.touch()
    assert is_healthy(arguments, tmp_path)
    os.utime(beat, (time.time() - 300, time.time() - 300))
    assert not is_healthy(arguments, tmp_path)


def test_a_server_is_healthy_while_it_answers(tmp_path: Path) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    arguments = ["tidemark", "serve", "--bundle", "/bundle", "--port", str(server.server_port)]
    assert is_healthy(arguments, tmp_path)
    server.shutdown()
    server.server_close()
    assert not is_healthy(arguments, tmp_path)


def test_a_command_that_ends_by_itself_is_healthy(tmp_path: Path) -> None:
    assert is_healthy(["tidemark", "migrate"], tmp_path)
