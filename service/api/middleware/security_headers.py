"""Security headers on every answer, a policy of sources on every page, and the count of all answers by path."""

from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
BOUNDS = "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
PAGE_POLICY = f"default-src 'self'; img-src 'self' data:; {BOUNDS}".encode()
RAW_HEADERS = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
OTHER_PATH = "other"  # the path that requests without a route are counted under, so that their number is bounded


class SecurityHeaders:
    """ASGI middleware that adds the headers as an answer starts, and reports each answer.

    Parameters
    ----------
    answered : Callable[[str, int], None]
        Called with the path of an answer's route, such as `/predictions/{prediction_id}`, and its status.
    paths : frozenset[str]
        The paths without parameters that have a route: requests to them that are refused before they reach it are
        reported under their path too.
    """

    def __init__(
        self, app: ASGIApp, answered: Callable[[str, int], None] | None = None, paths: frozenset[str] = frozenset()
    ) -> None:
        self._app = app
        self._answered = answered
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message["headers"], *RAW_HEADERS]
                for name, value in message["headers"]:
                    if name == b"content-type" and value.startswith(b"text/html"):
                        headers.append((b"content-security-policy", PAGE_POLICY))
                message["headers"] = headers
                if self._answered is not None:
                    self._answered(self._route(scope), message["status"])
            await send(message)

        await self._app(scope, receive, with_headers)

    def _route(self, scope: Scope) -> str:
        path: str = scope["path"]
        if path in self._paths:
            return path
        return getattr(scope.get("route"), "path", OTHER_PATH)
