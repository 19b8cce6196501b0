"""A server that answers over gRPC, and Triton's client of it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from fastapi.testclient import TestClient
from tritonclient import grpc as triton

from tests.support.grpc_calls import Served, triton_client
from tests.support.processes import free_port
from tidemark.inference.bundle import Bundle
from tidemark.server.app import create_app
from tidemark.server.grpc_server import serve_over_grpc
from tidemark.server.serve_options import ServeOptions
from tidemark.settings import Settings


@pytest.fixture
def serve(bundle: Bundle, settings: Settings, url: str) -> Iterator[Callable[..., Served]]:
    """Start a server with settings of its own; return its HTTP client and its port for gRPC."""
    with ExitStack() as stack:

        def start(**changes: Any) -> Served:
            changed = Settings(**settings.model_dump() | changes)
            app = create_app(changed, [bundle], url)
            port = free_port()
            serve_over_grpc(app, changed, ServeOptions((bundle.folder,), grpc_port=port))
            return stack.enter_context(TestClient(app)), port

        yield start


@pytest.fixture
def client(serve: Callable[..., Served]) -> Iterator[triton.InferenceServerClient]:
    with triton_client(serve()[1]) as connected:
        yield connected
