"""No image's answer depends on the images in its batch, however little, and no graph is bound to its batch size by
what only looks so."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from tests.support.graphs import Nodes, random
from tidemark.inference.bundle import BrokenBundle
from tidemark.inference.bundle_builder import init_bundle
from tidemark.inference.model import Model

Make = Callable[..., Path]
PIXELS = (np.random.default_rng(5).random((7, 8, 8)) * np.linspace(20, 255, 7)[:, None, None]).astype(np.uint8)
HEAD: Nodes = [("Flatten", ["maps"], ["flat"], {}), ("Gemm", ["flat", "w"], ["logits"], {})]


def logits_alone(model: Path, batch: int = 1) -> np.ndarray:
    """Return the original graph's logits, each image in a batch of copies of itself."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    copies = [np.repeat(image[None, None].astype(np.float32) / 255, batch, axis=0) for image in PIXELS]
    return np.stack([np.asarray(session.run(["logits"], {"image": values})[0])[0] for values in copies])


def check(model: Path, folder: Path, batch: int = 1) -> list[str]:
    """Check that the bundle answers all images together as the original does each alone; return the notes."""
    notes: list[str] = []
    probabilities, _ = Model(init_bundle(model, folder, note=notes.append), threads=1).predict(PIXELS)
    powers = np.exp(logits_alone(model, batch))
    np.testing.assert_allclose(probabilities, powers / powers.sum(axis=1, keepdims=True), atol=1e-6)
    return notes


@pytest.mark.parametrize("batch", ["N", 1])
def test_a_slight_effect_of_the_first_image_on_the_others_is_noticed(
    make_graph: Make, tmp_path: Path, batch: Any
) -> None:
    """A gate that is computed of the first image alone changes the others by less than rounding elsewhere does."""
    nodes: Nodes = [
        ("Gather", ["image", "first"], ["one"], {"axis": 0}),
        ("GlobalAveragePool", ["one"], ["mean"], {}),
        ("Mul", ["mean", "slight"], ["small"], {}),
        ("Add", ["small", "unit"], ["gate"], {}),
        ("Mul", ["image", "gate"], ["maps"], {}),
        *HEAD,
    ]
    constants = {"first": np.array([0]), "slight": np.float32(1e-3), "unit": np.float32(1)}
    model = make_graph(nodes, {"w": random(64, 4), **constants}, ["logits"], image=(batch, 1, 8, 8))
    notes = check(model, tmp_path / "bundle")
    assert any("one at a time" in note for note in notes)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("place", ["initializer", "computed"])
def test_places_taken_out_of_all_values_are_those_of_each_image(
    make_graph: Make, tmp_path: Path, batch: int, place: str
) -> None:
    """`torch.as_strided`, as squeeze-and-excitation blocks are exported with it: values made flat, then gathered."""
    nodes: Nodes = [
        ("Conv", ["image", "k"], ["features"], {"strides": [2, 2]}),
        ("ReduceMean", ["features"], ["means"], {"axes": [2, 3], "keepdims": 1}),
        ("Reshape", ["means", "flat_shape"], ["values"], {}),
        *([("Add", ["steps", "starts"], ["places"], {})] if place == "computed" else []),
        ("Gather", ["values", "places"], ["strided"], {"axis": 0}),
        ("Sigmoid", ["strided"], ["gate"], {}),
        ("Mul", ["features", "gate"], ["maps"], {}),
        *HEAD,
    ]
    steps, starts = np.arange(5).reshape(1, 5, 1, 1), 5 * np.arange(batch).reshape(batch, 1, 1, 1)
    constants = {"steps": steps, "starts": starts} if place == "computed" else {"places": steps + starts}
    weights = {"k": random(5, 1, 2, 2), "w": random(80, 4), "flat_shape": np.array([-1]), **constants}
    model = make_graph(nodes, weights, ["logits"], image=(batch, 1, 8, 8))
    assert not check(model, tmp_path / "bundle", batch)
    first = onnx.load(tmp_path / "bundle" / "model.onnx").graph.input[0].type.tensor_type.shape.dim[0]
    assert not first.dim_value


@pytest.mark.parametrize("batch", [1, 2])
def test_attention_with_the_sequence_before_the_batch_is_freed(make_graph: Make, tmp_path: Path, batch: int) -> None:
    """`torch.nn.MultiheadAttention` computes on sequence × batch × features, and makes heads a part of the batch."""
    nodes: Nodes = [
        ("Reshape", ["image", "tokens"], ["batch_first"], {}),
        ("Transpose", ["batch_first"], ["sequence"], {"perm": [1, 0, 2]}),
        ("Reshape", ["sequence", "heads"], ["split"], {"allowzero": 1}),
        ("Transpose", ["split"], ["rows"], {"perm": [1, 0, 2]}),
        ("Transpose", ["rows"], ["turned"], {"perm": [0, 2, 1]}),
        ("MatMul", ["rows", "turned"], ["products"], {}),
        ("Softmax", ["products"], ["shares"], {"axis": -1}),
        ("MatMul", ["shares", "rows"], ["mixed"], {}),
        ("Transpose", ["mixed"], ["back"], {"perm": [1, 0, 2]}),
        ("Reshape", ["back", "joined"], ["features"], {}),
        ("Gemm", ["features", "square"], ["projected"], {}),
        ("Reshape", ["projected", "again"], ["sequences"], {}),
        ("Transpose", ["sequences"], ["maps"], {"perm": [1, 0, 2]}),
        *HEAD,
    ]
    shapes = {
        "tokens": np.array([batch, 8, 8]),
        "heads": np.array([8, batch * 2, 4]),
        "joined": np.array([8 * batch, 8]),
        "again": np.array([8, batch, 8]),
    }
    weights = {"w": random(64, 4), "square": random(8, 8, seed=1), **shapes}
    model = make_graph(nodes, weights, ["logits"], image=(batch, 1, 8, 8), opset=18)
    assert not check(model, tmp_path / "bundle", batch)


def test_places_that_differ_between_images_stay_bound_to_the_batch_size(make_graph: Make, tmp_path: Path) -> None:
    nodes: Nodes = [
        ("Reshape", ["image", "flat_shape"], ["values"], {}),
        ("Gather", ["values", "places"], ["maps"], {"axis": 0}),
        *HEAD,
    ]
    places = np.stack([np.arange(64), 64 + np.arange(64)[::-1]])
    weights = {"w": random(64, 4), "flat_shape": np.array([-1]), "places": places}
    model = make_graph(nodes, weights, ["logits"], image=(2, 1, 8, 8))
    with pytest.raises(BrokenBundle, match="fixed at 2"):
        init_bundle(model, tmp_path / "bundle")


def test_weights_standardised_by_a_batch_normalisation_are_no_training_mode(make_graph: Make, tmp_path: Path) -> None:
    """Networks with standardised weights (NFNet, BiT) are exported so, in evaluation mode."""
    nodes: Nodes = [
        ("BatchNormalization", ["k", "g", "z", "z", "g"], ["standard", "m", "v"], {"training_mode": 1}),
        ("Reshape", ["standard", "kernel"], ["weights"], {}),
        ("Conv", ["image", "weights"], ["maps"], {"strides": [2, 2]}),
        *HEAD,
    ]
    weights = {
        "k": random(1, 5, 4),
        "g": np.ones(5, np.float32),
        "z": np.zeros(5, np.float32),
        "kernel": np.array([5, 1, 2, 2]),
        "w": random(80, 4),
    }
    assert not check(make_graph(nodes, weights, ["logits"]), tmp_path / "bundle")


def test_scores_that_are_the_same_for_all_images_are_named(make_graph: Make, tmp_path: Path) -> None:
    nodes: Nodes = [("Mul", ["image", "none"], ["maps"], {}), *HEAD]
    model = make_graph(nodes, {"none": np.float32(0), "w": random(64, 4)}, ["logits"])
    with pytest.raises(BrokenBundle, match="logits: the same scores for eight different images"):
        init_bundle(model, tmp_path / "bundle")
