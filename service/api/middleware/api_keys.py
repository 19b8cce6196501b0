"""API keys: which scope a request needs, and whether the key that came with it has it."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

from starlette.types import Scope

from ...setting_types import ApiKey
from ..caller import identify
from ..problems import Problem
from .request_head import Head

OPEN_PATHS = frozenset({"/healthz", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"})
OBSERVE_PATHS = ("/observe", "/observe/cloudevents")  # loggers post here, some of which know HTTP Basic only
TOKEN_PREFIX = "/observe/cloudevents/"  # noqa: S105 - a path whose rest is the key of a logger that sends no header
PREDICT_PATHS = ("/predict", *OBSERVE_PATHS)
LABEL_PATHS = ("/feedback", "/label")  # paths that labelling needs, with those below /label and /labels
READ_METHODS = ("GET", "HEAD")


class ApiKeys:
    """The check that a request comes with a key of the right scope.

    A key comes as `X-API-Key`, as `Authorization: Bearer`, or as the password of HTTP Basic: for reading, since a
    browser asks for that, and for what inference loggers post. Such a logger may also have it as the end of the path
    `/observe/cloudevents/{key}`.

    Parameters
    ----------
    keys : Sequence[ApiKey]
        The valid keys; `admin` has every scope.
    """

    def __init__(self, keys: Sequence[ApiKey]) -> None:
        self._keys = keys

    def __call__(self, scope: Scope, head: Head) -> Problem | None:
        method, path = scope["method"], scope["path"]
        if path in OPEN_PATHS or method == "OPTIONS":
            return None
        reading = method in READ_METHODS
        key = key_of(head, path, basic=reading or path in OBSERVE_PATHS or is_page_action(method, path))
        try:
            scopes = self.scopes(key, needed_scopes(method, path))
        except Problem as problem:
            return Problem(401, problem.detail, _challenge(head, reading)) if problem.status == 401 else problem
        identify(scope, hashlib.sha256(key or b"").hexdigest(), scopes)
        return None

    def scopes(self, key: bytes | None, needed: tuple[str, ...]) -> set[str]:
        """Return the scopes of a key, one of which is needed.

        Raises
        ------
        Problem
            401: no valid key; 403: a key without a needed scope.
        """
        scopes = self._scopes(key)
        if not scopes:
            raise Problem(401, "a valid API key is needed: Authorization: Bearer <key>, or X-API-Key")
        if scopes.isdisjoint({*needed, "admin"}):
            raise Problem(403, f"the API key lacks the scope {' or '.join(needed)}")
        return scopes

    def _scopes(self, key: bytes | None) -> set[str]:
        """Return the scopes of a key; every hash is compared, so that the time taken reveals nothing."""
        if key is None:
            return set()
        sha256 = hashlib.sha256(key).hexdigest()
        matching = [valid.scopes for valid in self._keys if hmac.compare_digest(valid.sha256, sha256)]
        return set().union(*matching)


def is_page_action(method: str, path: str) -> bool:
    """Return True if a request is a form of a page, which carries a token of its own against foreign pages."""
    return method == "POST" and (path.startswith("/label/") or (path.startswith("/alerts/") and "/page/" in path))


def needed_scopes(method: str, path: str) -> tuple[str, ...]:
    """Return the scopes of which a request needs one."""
    if method in (*READ_METHODS, "POST") and (path in LABEL_PATHS or path.startswith(("/label/", "/labels/"))):
        return ("feedback",)
    if method in READ_METHODS:
        if path.startswith("/static/"):
            return ("read", "feedback")  # the style and the scripts of the pages
        return ("predict", "read") if path == "/v2" or path.startswith("/v2/") else ("read",)
    if method == "POST":
        if path in PREDICT_PATHS or path.startswith(TOKEN_PREFIX):
            return ("predict",)
        if path.startswith("/v2/models/") and path.endswith("/infer"):
            return ("predict",)
        if path == "/v2/repository/index":
            return ("predict", "read")
    return ("admin",)


def key_of(head: Head, path: str, basic: bool) -> bytes | None:
    """Return the key that a request comes with, and None without one; `basic` allows HTTP Basic."""
    if path.startswith(TOKEN_PREFIX):
        return path.removeprefix(TOKEN_PREFIX).encode()
    if b"x-api-key" in head:
        return head[b"x-api-key"]
    kind, _, credentials = head.get(b"authorization", b"").partition(b" ")
    if kind.lower() == b"bearer":
        return credentials.strip()
    if basic and kind.lower() == b"basic":
        try:
            return base64.b64decode(credentials, validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return None
    return None


def _challenge(head: Head, reading: bool) -> dict[str, str]:
    if reading and b"text/html" in head.get(b"accept", b""):
        return {"WWW-Authenticate": 'Basic realm="Tidemark: the API key is the password", charset="UTF-8"'}
    return {"WWW-Authenticate": 'Bearer realm="Tidemark"'}
