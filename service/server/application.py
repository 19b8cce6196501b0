"""A FastAPI application whose own layers come before the framework's."""

from collections.abc import Sequence

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send


class Application(FastAPI):
    """FastAPI behind layers of ours: what these answer by themselves does not pass the framework's, which take 10 µs.

    The layers also see the answers to errors of the program, which FastAPI makes outside of its own middleware.
    """

    _layers: ASGIApp | None = None

    def add_layers(self, layers: Sequence[Middleware]) -> None:
        """Put ASGI middleware before the application, the first one outermost."""
        app: ASGIApp = super().__call__
        for layer in reversed(layers):
            app = layer.cls(app, *layer.args, **layer.kwargs)
        self._layers = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._layers is None or scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        scope["app"] = self
        await self._layers(scope, receive, send)


def is_traced() -> bool:
    """Return whether OpenTelemetry is set up to trace requests in this process, which FastAPI then does."""
    try:
        from opentelemetry import trace
    except ImportError:  # releases of FastAPI that do not trace do not need it
        return False
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
