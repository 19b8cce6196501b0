"""A whole server on a small RGB classifier and a database of its own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.inference.bundle import Bundle
from service.inference.graph import init_bundle
from service.settings import Settings
from tests.unit.inference.conftest import mlp


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    labels = tmp_path / "labels.txt"
    labels.write_text("ant\nbee\ncat\nLöwe\n", encoding="utf-8")
    model = mlp(tmp_path / "mlp.onnx", image=("N", 3, 8, 8))
    return init_bundle(model, tmp_path / "bundle", name="pets", version="3", labels=labels, preset="imagenet")


@pytest.fixture
def serve(bundle: Bundle, settings: Settings, url: str) -> Iterator[Callable[..., TestClient]]:
    """Start a server with settings of its own; return its client."""
    with ExitStack() as stack:

        def start(*others: Bundle, corrections: Any = None, **changes: Any) -> TestClient:
            app = create_app(Settings(**settings.model_dump() | changes), [bundle, *others], url, corrections)
            return stack.enter_context(TestClient(app, raise_server_exceptions=False))

        yield start


@pytest.fixture
def client(serve: Callable[..., TestClient]) -> TestClient:
    return serve()
