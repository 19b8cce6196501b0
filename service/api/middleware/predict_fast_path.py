"""The short way of an image to its endpoint: past the routing and the layers of the framework that it does not need."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ..problems import Problem


class HotPath:
    """ASGI middleware that hands `POST path` straight to an endpoint; its route in the router only describes it.

    Parameters
    ----------
    endpoint : gives the response of a request, or raises a `Problem`.
    """

    def __init__(self, app: ASGIApp, path: str, endpoint: Callable[[Request], Awaitable[Response]]) -> None:
        self._app = app
        self._path = path
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != self._path or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        try:
            response = await self._endpoint(Request(scope, receive, send))
        except Problem as problem:
            response = problem.response(self._path)
        await response(scope, receive, send)
