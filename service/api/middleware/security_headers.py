"""Headers that tell browsers to keep to what an answer is: on every answer, with a policy of sources on every page."""

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
RAW = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]


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
                headers = [*message["headers"], *RAW]
                if any(name == b"content-type" and value.startswith(b"text/html") for name, value in headers):
                    policy = DOCS if scope["path"] in DOCS_PATHS else PAGES
                    headers.append((b"content-security-policy", policy.encode()))
                message["headers"] = headers
            await send(message)

        await self._app(scope, receive, with_headers)
