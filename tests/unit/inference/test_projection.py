"""Embeddings of more than 2,048 values are reduced the same way everywhere, and keep the distances between images."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.support.graphs import Nodes, random
from tidemark.inference.bundle_builder import init_bundle
from tidemark.inference.fixed_projection import MAX_EMBEDDING_SIZE, project
from tidemark.inference.model import Model


@pytest.mark.parametrize("size", [1, 64, 2048])
def test_a_small_embedding_is_unchanged(size: int) -> None:
    rows = random(3, size)
    assert project(rows) is rows


@pytest.mark.parametrize("size", [2049, 4096, 25_088])
def test_distances_are_preserved(size: int) -> None:
    rows = random(12, size)
    reduced = project(rows)
    assert reduced.shape == (12, MAX_EMBEDDING_SIZE)
    assert reduced.dtype == np.float32
    before = np.linalg.norm(rows[:, None] - rows, axis=2)[np.triu_indices(12, 1)]
    after = np.linalg.norm(reduced[:, None] - reduced, axis=2)[np.triu_indices(12, 1)]
    assert np.abs(after / before - 1).max() < 0.12


def test_every_coordinate_counts_once() -> None:
    basis = project(np.eye(4096, dtype=np.float32)[:: 4096 // 512])
    np.testing.assert_array_equal(np.abs(basis).sum(axis=1), 1)


def test_the_projection_never_changes() -> None:
    row = project(np.arange(4096, dtype=np.float32)[None])[0]
    assert row[:6].tolist() == [-2183.0, 1409.0, -2017.0, -2233.0, 6710.0, -500.0]


def test_a_model_answers_the_projected_embedding(make_graph: Callable[..., Path], tmp_path: Path) -> None:
    nodes: Nodes = [
        ("Flatten", ["image"], ["flat"], {}),
        ("Gemm", ["flat", "up"], ["wide"], {}),
        ("Gemm", ["wide", "w"], ["logits"], {}),
    ]
    model = make_graph(nodes, {"up": random(64, 3000), "w": random(3000, 4)}, ["logits"])
    notes: list[str] = []
    network = Model(init_bundle(model, tmp_path / "bundle", note=notes.append), threads=1)
    pixels = np.random.default_rng(5).integers(0, 256, (3, 8, 8), dtype=np.uint8)
    wide = (pixels.reshape(3, 64).astype(np.float32) / 255) @ random(64, 3000)
    np.testing.assert_allclose(network.predict(pixels)[1], project(wide), rtol=1e-3, atol=1e-3)
    assert network.embedding_size == MAX_EMBEDDING_SIZE
    assert any("3000 values; a fixed projection reduces it to 2048" in note for note in notes)
