from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tidemark.demo.make_model import MODEL
from tidemark.inference import subnormal_weights
from tidemark.inference.bundle_builder import init_bundle
from tidemark.inference.model import Model
from tidemark.inference.subnormal_weights import clear_subnormals

Make = Callable[..., Path]

TINY = 1e-40  # a subnormal number in single precision
SMALLEST_NORMAL = np.finfo(np.float32).smallest_normal
NODES: list[Any] = [("Flatten", ["image"], ["flat"], {}), ("Gemm", ["flat", "w"], ["logits"], {})]


def weights_with(value: float) -> np.ndarray:
    """Return weights of a layer from 64 pixels to 3 classes, one of which is `value`."""
    weights = np.random.default_rng(0).normal(0, 0.3, (64, 3)).astype(np.float32)
    weights[5, 1] = value
    return weights


def graph_with(make_graph: Make, weights: np.ndarray, external: bool = False) -> Path:
    """Return the file of a graph with these weights, in a file of their own if `external`."""
    path = make_graph(NODES, {"w": weights}, ["logits"])
    if external:
        onnx.save(onnx.load(path), path, save_as_external_data=True, location="weights.data", size_threshold=0)
    return path


def stored_weights(proto: onnx.ModelProto) -> np.ndarray:
    """Return the weights that are inside the graph."""
    [tensor] = proto.graph.initializer
    return numpy_helper.to_array(tensor)


@pytest.mark.parametrize("external", [False, True])
@pytest.mark.parametrize("sign", [1, -1])
def test_subnormal_weights_become_zero_and_no_others_change(make_graph: Make, external: bool, sign: int) -> None:
    weights = weights_with(sign * TINY)
    weights[6, 1] = sign * SMALLEST_NORMAL
    path = graph_with(make_graph, weights, external)
    proto = onnx.load(path, load_external_data=False)
    assert clear_subnormals(proto, path.parent)
    weights[5, 1] = 0
    np.testing.assert_array_equal(stored_weights(proto), weights)


@pytest.mark.parametrize("external", [False, True])
def test_a_graph_without_subnormal_weights_stays_as_it_is(make_graph: Make, external: bool) -> None:
    path = graph_with(make_graph, weights_with(0.0), external)
    proto = onnx.load(path, load_external_data=False)
    before = proto.SerializeToString(deterministic=True)
    assert not clear_subnormals(proto, path.parent)
    assert proto.SerializeToString(deterministic=True) == before


def test_external_weights_stay_outside_beyond_the_bound(make_graph: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subnormal_weights, "MAX_MOVED_BYTES", 100)
    path = graph_with(make_graph, weights_with(TINY), external=True)
    proto = onnx.load(path, load_external_data=False)
    assert not clear_subnormals(proto, path.parent)
    assert proto.graph.initializer[0].data_location == onnx.TensorProto.EXTERNAL


@pytest.mark.parametrize("external", [False, True])
def test_a_model_computes_without_its_subnormal_weights(make_graph: Make, tmp_path: Path, external: bool) -> None:
    weights = np.zeros((64, 3), np.float32)
    weights[5, 1] = TINY
    path = graph_with(make_graph, weights, external)
    model = Model(init_bundle(path, tmp_path / "bundle"))
    tensor = np.zeros((1, 1, 8, 8), np.float32)
    tensor[0, 0, 0, 5] = 1e38
    probabilities, _ = model.run(tensor)
    np.testing.assert_allclose(probabilities, 1 / 3, rtol=1e-6)  # with the weight one logit would be 0.01


def test_the_demo_network_has_subnormal_weights_that_its_model_leaves_out() -> None:
    proto = onnx.load(MODEL)
    assert clear_subnormals(proto, MODEL.parent)
    assert not clear_subnormals(proto, MODEL.parent)
