"""The demo's webhook receiver: what a user's own would be, a few lines that check the signature."""

import http.server
import json
import threading
from dataclasses import dataclass
from typing import Any

from standardwebhooks.webhooks import Webhook, WebhookVerificationError


@dataclass(frozen=True)
class Received:
    """A webhook as it arrived, its signature verified."""

    id: str
    body: dict[str, Any]


class Receiver:
    """Listens on a free port of loopback and keeps what is signed with its secret."""

    def __init__(self, secret: str) -> None:
        self.received: list[Received] = []
        verifier, received = Webhook(secret), self.received

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                try:
                    content = verifier.verify(body, dict(self.headers.items()))
                except WebhookVerificationError:
                    self.send_error(401)
                    return
                received.append(Received(self.headers["webhook-id"], json.loads(json.dumps(content))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/drift"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def firing(self, since: int = 0) -> list[Received]:
        """Return the alerts among what came after the first `since` webhooks."""
        return [hook for hook in self.received[since:] if hook.body["type"] == "drift.firing"]
