"""Headers that tell browsers to keep to what an answer is: on every answer, with a policy of sources on every page."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
BOUNDS = "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
PAGES = f"default-src 'self'; img-src 'self' data:; {BOUNDS}"
CDN = "https://cdn.jsdelivr.net"  # FastAPI's description pages load their scripts and styles from there
DOCS = (
    f"default-src 'self'; script-src 'self' 'unsafe-inline' {CDN}; style-src 'self' 'unsafe-inline' {CDN}; "
    f"img-src 'self' data: https:; worker-src blob:; {BOUNDS}"
)
DOCS_PATHS = ("/docs", "/docs/oauth2-redirect", "/redoc")


class SecurityHeaders:
    """ASGI middleware that adds the headers as an answer starts."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                if headers.get("content-type", "").startswith("text/html"):
                    headers["Content-Security-Policy"] = DOCS if scope["path"] in DOCS_PATHS else PAGES
            await send(message)

        await self._app(scope, receive, with_headers)
