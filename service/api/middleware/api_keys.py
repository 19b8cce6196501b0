"""API keys: which scope a request needs, and whether the key that came with it has it."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ...settings import ApiKey
from ..caller import identify
from ..problems import Problem

OPEN = frozenset({"/healthz", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"})
PREDICTING = ("/predict", "/observe", "/observe/cloudevents")
READING = ("GET", "HEAD")


class ApiKeys:
    """ASGI middleware that lets a request through with a key of the right scope, before its body is read.

    A key comes as `X-API-Key`, as `Authorization: Bearer`, or, for reading only, as the password of HTTP Basic: that
    is what a browser asks for, and what it would also send with a form of another site.

    Parameters
    ----------
    keys : what may be used; `admin` has every scope.
    """

    def __init__(self, app: ASGIApp, keys: Sequence[ApiKey]) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            problem = self._problem(scope)
            if problem is not None:
                await problem.response(scope["path"])(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _problem(self, scope: Scope) -> Problem | None:
        method, path = scope["method"], scope["path"]
        if path in OPEN:
            return None
        headers = Headers(scope=scope)
        reading = method in READING
        key = _key(headers, basic=reading or is_page_action(method, path))
        scopes = self._scopes(key)
        if not scopes:
            challenge = _challenge(headers, reading)
            return Problem(401, "a valid API key is needed: Authorization: Bearer <key>, or X-API-Key", challenge)
        wanted = needed(method, path)
        if scopes.isdisjoint({*wanted, "admin"}):
            return Problem(403, f"the API key lacks the scope {' or '.join(wanted)}")
        identify(scope, hashlib.sha256(key or b"").hexdigest(), scopes)
        return None

    def _scopes(self, key: bytes | None) -> set[str]:
        """Return what a key may do; every known hash is compared, so that the time tells nothing."""
        if key is None:
            return set()
        sha256 = hashlib.sha256(key).hexdigest()
        matching = [known.scopes for known in self._keys if hmac.compare_digest(known.sha256, sha256)]
        return set().union(*matching)


def is_page_action(method: str, path: str) -> bool:
    """Check whether a request is a form of an alert's page, which carries a token of its own against foreign pages."""
    return method == "POST" and path.startswith("/alerts/") and "/page/" in path


def needed(method: str, path: str) -> tuple[str, ...]:
    """Return the scopes of which a request needs one."""
    if method in READING:
        return ("predict", "read") if path == "/v2" or path.startswith("/v2/") else ("read",)
    if method == "POST":
        if path in PREDICTING or (path.startswith("/v2/models/") and path.endswith("/infer")):
            return ("predict",)
        if path == "/feedback":
            return ("feedback",)
    return ("admin",)


def _key(headers: Headers, basic: bool) -> bytes | None:
    if "x-api-key" in headers:
        return headers["x-api-key"].encode("latin-1")
    kind, _, credentials = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return credentials.strip().encode("latin-1")
    if basic and kind.lower() == "basic":
        try:
            return base64.b64decode(credentials, validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return None
    return None


def _challenge(headers: Headers, reading: bool) -> dict[str, str]:
    if reading and "text/html" in headers.get("accept", ""):
        return {"WWW-Authenticate": 'Basic realm="Tidemark: the API key is the password", charset="UTF-8"'}
    return {"WWW-Authenticate": 'Bearer realm="Tidemark"'}
