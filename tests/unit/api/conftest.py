"""A whole server on a small RGB classifier and a database of its own."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.unit.inference.conftest import mlp
from tidemark.inference.bundle import AnyBundle, Bundle, load_any
from tidemark.inference.bundle_builder import init_bundle
from tidemark.server.app import create_app
from tidemark.settings import Settings


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

        def start(
            *others: AnyBundle,
            corrections: Any = None,
            shadows: Sequence[Bundle] = (),
            alone: bool = False,
            **changes: Any,
        ) -> TestClient:
            served = others if alone else (bundle, *others)
            app = create_app(Settings(**settings.model_dump() | changes), served, url, corrections, shadows)
            return stack.enter_context(TestClient(app, raise_server_exceptions=False))

        yield start


@pytest.fixture
def client(serve: Callable[..., TestClient]) -> TestClient:
    return serve()


@pytest.fixture
def observed(tmp_path: Path) -> AnyBundle:
    """A model that is served elsewhere."""
    return observed_bundle(tmp_path / "observed")


def observed_bundle(folder: Path, labels: Sequence[str] = ("ant", "bee", "cat"), **output: str) -> AnyBundle:
    """Write the bundle of a model that is served elsewhere: `model.toml` alone."""
    names = {"probabilities": "scores", "embedding": "features"} | output
    text = [f'name = "far"\nversion = "1"\nlabels = {json.dumps(list(labels))}\n[output]']
    folder.mkdir()
    (folder / "model.toml").write_text("\n".join([*text, *(f'{key} = "{name}"' for key, name in names.items())]))
    return load_any(folder)
