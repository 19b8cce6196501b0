"""The gRPC server of a server process: it shares the process' event loop, models and log with the HTTP server."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
from fastapi import FastAPI

from ..api.open_inference_grpc.message_reader import UNREAD_BYTES, MessageKind
from ..api.open_inference_grpc.service import MAX_CALLS, service_handlers
from ..errors import ConfigurationError
from ..settings import Settings
from .serve_options import ServeOptions

ALL_CALLS = (len(MessageKind) + 1) * MAX_CALLS  # calls at a time: of every kind, and those that are being refused
STOP_SECONDS = 2.0  # seconds for open calls to end, after the HTTP server has ended

logger = logging.getLogger(__name__)


def serve_over_grpc(app: FastAPI, settings: Settings, options: ServeOptions) -> None:
    """Let an application's models also be served over gRPC, on the port of `options`, while the application runs.

    Several worker processes listen on the same port; the kernel spreads connections among them.
    """
    original = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(application: Any) -> AsyncIterator[Any]:
        async with original(application) as state:
            server = grpc.aio.server(options=_arguments(settings, options), maximum_concurrent_rpcs=ALL_CALLS)
            server.add_generic_rpc_handlers((service_handlers(app.state.server),))
            _listen(server, options)
            await server.start()
            try:
                yield state
            finally:
                await server.stop(STOP_SECONDS)

    app.router.lifespan_context = lifespan


def _arguments(settings: Settings, options: ServeOptions) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", settings.max_request_bytes),  # also after decompression
        ("grpc.http2.lookahead_bytes", UNREAD_BYTES),
        ("grpc.http2.bdp_probe", 0),  # it would let the windows of all calls grow to several megabytes
        ("grpc.max_connection_idle_ms", 1000 * settings.keep_alive),
        ("grpc.so_reuseport", int(options.workers > 1)),
    ]


def _listen(server: grpc.aio.Server, options: ServeOptions) -> None:
    host = f"[{options.host}]" if ":" in options.host else options.host or "[::]"
    address = f"{host}:{options.grpc_port}"
    try:
        server.add_insecure_port(address)
    except RuntimeError as error:
        raise ConfigurationError(f"cannot listen on {address}: {error}; try another --grpc-port") from None
    logger.info("the Open Inference Protocol is served over gRPC on %s", address)
