"""A webhook receiver that answers what the test tells it to."""

import http.server
import threading
from typing import Any


class Receiver:
    """Keeps every request; answers with `statuses` in turn, the last one for ever.

    `hang` keeps every answer back until the receiver is closed; `drip` sends a header line every so many seconds and
    never ends.
    """

    def __init__(
        self,
        *statuses: int,
        headers: dict[str, str] | None = None,
        hang: bool = False,
        drip: float | None = None,
        address: str = "127.0.0.1",
    ) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.accepted: list[tuple[dict[str, str], bytes]] = []  # those that were answered with a 2xx status
        self.delay = 0.0  # seconds before each answer
        self._statuses = list(statuses) or [204]
        self._headers = headers or {}
        self._closed = threading.Event()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                request = {key.lower(): value for key, value in self.headers.items()}, body
                receiver.requests.append(request)
                if hang:
                    receiver._closed.wait()
                    return
                receiver._closed.wait(receiver.delay)
                statuses = receiver._statuses
                status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
                if 200 <= status < 300:
                    receiver.accepted.append(request)
                self.send_response(status)
                for name, value in receiver._headers.items():
                    self.send_header(name, value)
                while drip and not receiver._closed.wait(drip):
                    self.send_header("x-more", "to come")
                    self.flush_headers()
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer((address, 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://{address}:{self._server.server_port}/hook"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()
