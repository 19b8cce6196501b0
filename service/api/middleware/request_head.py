"""Checks of a request's head, made before its body is read: its path, its host, its origin and its API key."""

import re
from collections.abc import Callable, Sequence
from contextvars import ContextVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..problems import Problem

path_prefix: ContextVar[str] = ContextVar("path_prefix", default="")  # under which a request's client sees this server
PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")

Head = dict[bytes, bytes]  # a request's headers by their lower-case names; the last one of a name
Check = Callable[[Scope, Head], Problem | None]


class RequestHead:
    """ASGI middleware that makes paths canonical, answers HEAD, and refuses requests by their heads.

    A path may end with a slash, and may begin with the prefix that a proxy has not removed. HEAD is answered wherever
    GET is.

    Parameters
    ----------
    prefix : str
        The path under which clients see this server, such as `/tidemark`; without it a proxy may say so with the header
        `X-Forwarded-Prefix`.
    checks : Sequence[Check]
        Each returns the Problem that a request is refused with, or None.
    """

    def __init__(self, app: ASGIApp, prefix: str = "", checks: Sequence[Check] = ()) -> None:
        self._app = app
        self._prefix = prefix
        self._checks = checks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        head: Head = dict(scope["headers"])
        self._canonical_path(scope, head)
        if scope["method"] == "HEAD":
            scope, send = dict(scope, method="GET"), _without_body(send)
        for check in self._checks:
            problem = check(scope, head)
            if problem is not None:
                await problem.response(scope["path"])(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _canonical_path(self, scope: Scope, head: Head) -> None:
        path: str = scope["path"]
        prefix = self._prefix
        if b"x-forwarded-prefix" in head and not prefix:
            forwarded = head[b"x-forwarded-prefix"].decode("latin-1").rstrip("/")
            prefix = forwarded if PREFIX.fullmatch(forwarded) else ""
        if prefix:
            path_prefix.set(prefix)
            if path == prefix or path.startswith(f"{prefix}/"):
                path = path[len(prefix) :] or "/"
        if len(path) > 1 and path.endswith("/"):
            path = path.rstrip("/") or "/"
        scope["path"] = path


def _without_body(send: Send) -> Send:
    async def send_head(message: Message) -> None:
        await send(dict(message, body=b"") if message["type"] == "http.response.body" else message)

    return send_head
