"""Tensors instead of images: their predictions are those of the pixels that they stand for."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from tests.support.graphs import Nodes, random
from tests.support.predictors import predictor_of
from tidemark.api.open_inference.inference import network_tensor
from tidemark.inference.bundle import Bundle
from tidemark.inference.bundle_builder import init_bundle
from tidemark.inference.model import Model
from tidemark.inference.predictions import Predictions
from tidemark.inference.properties import measure

Make = Callable[..., Path]


@pytest.fixture
def bundle(make_mlp: Make, tmp_path: Path) -> Bundle:
    return init_bundle(make_mlp(), tmp_path / "bundle")


@pytest.mark.parametrize("preset", ["unit", "imagenet"])
@pytest.mark.parametrize("rows", [3, pytest.param(200, marks=pytest.mark.slow)])
def test_tensors_are_predicted_as_the_pixels_they_stand_for(
    make_mlp: Make, tmp_path: Path, preset: str, rows: int
) -> None:
    bundle = init_bundle(make_mlp(image=("N", 3, 8, 8)), tmp_path / "bundle", preset=preset)
    pixels = np.random.default_rng(7).integers(0, 256, (rows, 8, 8, 3), dtype=np.uint8)

    async def scenario() -> list[Predictions]:
        predictor = predictor_of(bundle, threads=1)
        raw = pixels.transpose(0, 3, 1, 2)
        tensor = predictor.model.prepared(pixels)
        answer = [await predictor.predict_tensor(values, {}) for values in (raw, tensor)]
        await predictor.close()
        return answer

    probabilities, embeddings = Model(bundle, threads=1).predict(pixels)
    measured = measure(pixels, [8] * rows, [8] * rows)
    for answer in asyncio.run(scenario()):
        np.testing.assert_allclose(answer.probabilities, probabilities, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(answer.embeddings, embeddings, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(measure(*answer.image_arrays), measured, rtol=1e-5, atol=1e-6)


def test_float_values_between_the_levels_reach_the_network(bundle: Bundle) -> None:
    tensor = np.random.default_rng(8).uniform(0, 1, (1, 1, 8, 8)).astype(np.float32)

    async def scenario() -> Predictions:
        predictor = predictor_of(bundle, threads=1)
        predictions = await predictor.predict_tensor(tensor, {})
        await predictor.close()
        return predictions

    np.testing.assert_array_equal(asyncio.run(scenario()).probabilities, Model(bundle, threads=1).run(tensor)[0])


def test_a_network_of_double_numbers_is_given_pixels_and_tensors_without_rounding(
    make_graph: Make, tmp_path: Path
) -> None:
    """A rounded value would lie above or below a threshold that it is equal to."""
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    nodes: Nodes = [
        ("Flatten", ["image"], ["flat"], {}),
        ("LessOrEqual", ["flat", "thresholds"], ["low"], {}),
        ("Cast", ["low"], ["hits"], {"to": TensorProto.FLOAT}),
        ("Gemm", ["hits", "w"], ["logits"], {}),
    ]
    weights = {"thresholds": levels.reshape(1, 256) / 255, "w": random(256, 4)}
    graph = make_graph(nodes, weights, ["logits"], image=("N", 1, 16, 16), dtype=TensorProto.DOUBLE)
    bundle = init_bundle(graph, tmp_path / "bundle")

    async def embeddings(values: np.ndarray) -> np.ndarray:
        predictor = predictor_of(bundle, threads=1)
        predictions = await predictor.predict_tensor(network_tensor(values), {})
        await predictor.close()
        return predictions.embeddings

    ones = np.ones((1, 256), np.float32)
    np.testing.assert_array_equal(Model(bundle, threads=1).predict(levels)[1], ones)
    np.testing.assert_array_equal(asyncio.run(embeddings((levels / 255)[:, None])), ones)
