"""The short way of an image to its endpoint, past the framework's routing and layers, which it does not need."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ..problems import problem_of, unexpected


class PredictFastPath:
    """ASGI middleware that hands `POST path` straight to an endpoint; its route in the router only describes it.

    Parameters
    ----------
    endpoint : Callable[[Request], Awaitable[Response]]
        Returns the response of a request, or raises an error that `problem_of` knows.
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
        except Exception as error:
            problem = problem_of(error)
            if problem is None:
                await unexpected(self._path)(scope, receive, send)
                raise  # the server logs it
            response = problem.response(self._path)
        await response(scope, receive, send)
