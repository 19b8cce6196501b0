"""Small classifiers built node by node, each with a head of its own kind."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.support.graphs import build, mlp, random


@pytest.fixture
def make_mlp(tmp_path: Path) -> Callable[..., Path]:
    return lambda **options: mlp(tmp_path / "mlp.onnx", **options)


@pytest.fixture
def make_graph(tmp_path: Path) -> Callable[..., Path]:
    return lambda *arguments, **options: build(tmp_path / "graph.onnx", *arguments, **options)


@pytest.fixture
def weights() -> Callable[..., np.ndarray]:
    return random
