"""Bundles out of graphs: heads of every kind, quantised or not, keep the scores and expose the embedding."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from tests.support.graph_outputs import PIXELS, check, run
from tests.support.graphs import Nodes
from tidemark.inference.bundle import BrokenBundle
from tidemark.inference.bundle_builder import init_bundle
from tidemark.inference.model import Model

Make = Callable[..., Path]
Weights = Callable[..., np.ndarray]


def test_an_mlp_with_logits(make_mlp: Make, tmp_path: Path) -> None:
    model = make_mlp()
    before = hashlib.sha256(model.read_bytes()).hexdigest()
    bundle = init_bundle(model, tmp_path / "bundle")
    assert hashlib.sha256(model.read_bytes()).hexdigest() == before
    assert (bundle.name, bundle.version, bundle.labels) == ("mlp", "1", ("0", "1", "2", "3"))
    assert (bundle.input.size, bundle.input.mode, bundle.input.layout) == ((8, 8), "L", "NCHW")
    assert (bundle.output.activation, bundle.output.embedding) == ("softmax", "hidden")
    check(model, bundle, "hidden")


def test_probabilities_are_distinguished_from_logits(make_mlp: Make, tmp_path: Path) -> None:
    model = make_mlp(scores="probabilities")
    bundle = init_bundle(model, tmp_path / "bundle")
    assert (bundle.output.activation, bundle.output.embedding) == ("none", "hidden")
    check(model, bundle, "hidden", "probabilities")


@pytest.mark.parametrize("classes", [2, 3, 8, 40])
def test_any_number_of_classes(make_mlp: Make, tmp_path: Path, classes: int) -> None:
    assert len(init_bundle(make_mlp(classes=classes), tmp_path / "bundle").labels) == classes


@pytest.mark.parametrize("head", ["gemm", "matmul_add", "conv", "conv_relu", "log_softmax", "softmax"])
def test_heads(make_graph: Make, weights: Weights, tmp_path: Path, head: str) -> None:
    body = [
        ("Conv", ["image", "kernel"], ["map"], {"kernel_shape": [3, 3]}),
        ("Relu", ["map"], ["features"], {}),
        ("GlobalAveragePool", ["features"], ["pooled"], {}),
        ("Flatten", ["pooled"], ["flat"], {}),
    ]
    tensors = {"kernel": weights(6, 1, 3, 3), "w": weights(6, 4), "b": weights(4), "k": weights(4, 6, 1, 1)}
    heads: dict[str, Any] = {
        "gemm": ([("Gemm", ["flat", "w", "b"], ["logits"], {})], "flat"),
        "matmul_add": ([("MatMul", ["flat", "w"], ["sum"], {}), ("Add", ["b", "sum"], ["logits"], {})], "flat"),
        "conv": (
            [("Conv", ["features", "k"], ["maps"], {}), ("GlobalAveragePool", ["maps"], ["logits"], {})],
            "features",
        ),
        "conv_relu": (
            [
                ("Conv", ["features", "k"], ["maps"], {}),
                ("Relu", ["maps"], ["rectified"], {}),
                ("GlobalAveragePool", ["rectified"], ["means"], {}),
                ("Flatten", ["means"], ["logits"], {}),
            ],
            "features",
        ),
        "log_softmax": (
            [("Gemm", ["flat", "w", "b"], ["sum"], {}), ("LogSoftmax", ["sum"], ["logits"], {"axis": 1})],
            "flat",
        ),
        "softmax": (
            [("Gemm", ["flat", "w", "b"], ["sum"], {}), ("Softmax", ["sum"], ["logits"], {"axis": -1})],
            "flat",
        ),
    }
    nodes, embedding = heads[head]
    model = make_graph(body + nodes, tensors, ["logits"])
    bundle = init_bundle(model, tmp_path / "bundle")
    assert bundle.output.embedding == embedding
    check(model, bundle, embedding)


def test_a_quantised_head(make_graph: Make, weights: Weights, tmp_path: Path) -> None:
    nodes: Nodes = [
        ("Flatten", ["image"], ["flat"], {}),
        ("QuantizeLinear", ["flat", "scale", "zero"], ["flat_q"], {}),
        ("DequantizeLinear", ["flat_q", "scale", "zero"], ["flat_dq"], {}),
        ("DequantizeLinear", ["w_q", "scale", "zero_w"], ["w"], {}),
        ("MatMul", ["flat_dq", "w"], ["logits"], {}),
    ]
    tensors = {
        "scale": np.float32(1 / 255),
        "zero": np.uint8(0),
        "zero_w": np.int8(0),
        "w_q": (300 * weights(64, 3)).clip(-127, 127).astype(np.int8),
    }
    model = make_graph(nodes, {name: np.asarray(values) for name, values in tensors.items()}, ["logits"])
    bundle = init_bundle(model, tmp_path / "bundle")
    assert bundle.output.embedding == "flat_dq"
    check(model, bundle, "flat_dq")


def test_a_dynamically_quantised_head_gives_the_tensor_before_quantisation(
    make_graph: Make, weights: Weights, tmp_path: Path
) -> None:
    nodes: Nodes = [
        ("Flatten", ["image"], ["flat"], {}),
        ("DynamicQuantizeLinear", ["flat"], ["flat_q", "scale", "zero"], {}),
        ("MatMulInteger", ["flat_q", "w", "zero"], ["sum"], {}),
        ("Cast", ["sum"], ["sum_f"], {"to": TensorProto.FLOAT}),
        ("Mul", ["scale", "scale_w"], ["scales"], {}),
        ("Mul", ["sum_f", "scales"], ["logits"], {}),
    ]
    tensors = {"w": (90 * weights(64, 3)).astype(np.int8), "scale_w": np.array([0.01], np.float32)}
    model = make_graph(nodes, tensors, ["logits"])
    assert init_bundle(model, tmp_path / "bundle").output.embedding == "flat"


def test_a_transformer_like_head_reads_the_normalised_token(make_graph: Make, weights: Weights, tmp_path: Path) -> None:
    nodes: Nodes = [
        ("Reshape", ["image", "tokens"], ["patches"], {}),
        ("Transpose", ["patches"], ["turned"], {"perm": [0, 2, 1]}),
        ("MatMul", ["patches", "turned"], ["attention"], {}),
        ("Softmax", ["attention"], ["shares"], {"axis": -1}),
        ("MatMul", ["shares", "patches"], ["mixed"], {}),
        ("Add", ["mixed", "patches"], ["residual"], {}),
        ("LayerNormalization", ["residual", "gain", "bias"], ["normal"], {"axis": -1}),
        ("Gather", ["normal", "first"], ["token"], {"axis": 1}),
        ("Gemm", ["token", "w", "b"], ["logits"], {"transB": 1}),
    ]
    tensors = {
        "tokens": np.array([0, 4, 16]),
        "gain": np.ones(16, np.float32),
        "bias": np.zeros(16, np.float32),
        "first": np.array(0),
        "w": weights(5, 16),
        "b": weights(5),
    }
    model = make_graph(nodes, tensors, ["logits"])
    bundle = init_bundle(model, tmp_path / "bundle")
    assert bundle.output.embedding == "token"
    check(model, bundle, "token")


def test_logits_and_probabilities_and_embedding_all_outputs(make_graph: Make, weights: Weights, tmp_path: Path) -> None:
    nodes: Nodes = [
        ("Flatten", ["image"], ["flat"], {}),
        ("Gemm", ["flat", "w1"], ["pre_logits"], {}),
        ("Gemm", ["pre_logits", "w2"], ["sum"], {}),
        ("Softmax", ["sum"], ["out"], {"axis": 1}),
    ]
    model = make_graph(nodes, {"w1": weights(64, 9), "w2": weights(9, 4)}, ["pre_logits", "sum", "out"])
    bundle = init_bundle(model, tmp_path / "bundle")
    assert (bundle.output.probabilities, bundle.output.embedding) == ("out", "pre_logits")
    assert len(onnx.load(bundle.model_path).graph.output) == 3


def test_one_sigmoid_is_two_classes(make_graph: Make, weights: Weights, tmp_path: Path) -> None:
    nodes: Nodes = [
        ("Flatten", ["image"], ["flat"], {}),
        ("Gemm", ["flat", "w"], ["sum"], {}),
        ("Sigmoid", ["sum"], ["out"], {}),
    ]
    model = make_graph(nodes, {"w": weights(64, 1)}, ["out"])
    bundle = init_bundle(model, tmp_path / "bundle")
    probabilities, _ = Model(bundle).predict(PIXELS)
    assert bundle.labels == ("0", "1")
    np.testing.assert_allclose(probabilities[:, 1], run(model, "out")[:, 0], rtol=1e-5)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)


def test_independent_sigmoids_are_refused(make_graph: Make, weights: Weights, tmp_path: Path) -> None:
    nodes: Nodes = [
        ("Flatten", ["image"], ["flat"], {}),
        ("Gemm", ["flat", "w"], ["sum"], {}),
        ("Sigmoid", ["sum"], ["out"], {}),
    ]
    model = make_graph(nodes, {"w": weights(64, 5)}, ["out"])
    with pytest.raises(BrokenBundle, match="5 independent sigmoids"):
        init_bundle(model, tmp_path / "bundle")


def test_channels_last(make_mlp: Make, tmp_path: Path) -> None:
    bundle = init_bundle(make_mlp(image=("N", 8, 6, 3)), tmp_path / "bundle")
    assert (bundle.input.layout, bundle.input.size, bundle.input.mode) == ("NHWC", (8, 6), "RGB")
    colour = np.zeros((2, 8, 6, 3), np.uint8)
    assert Model(bundle).predict(colour)[0].shape == (2, 4)


def test_half_precision(make_graph: Make, weights: Weights, tmp_path: Path) -> None:
    nodes: Nodes = [("Flatten", ["image"], ["flat"], {}), ("Gemm", ["flat", "w"], ["logits"], {})]
    model = make_graph(nodes, {"w": weights(64, 4).astype(np.float16)}, ["logits"], dtype=TensorProto.FLOAT16)
    probabilities, embeddings = Model(init_bundle(model, tmp_path / "bundle")).predict(PIXELS)
    assert probabilities.dtype == embeddings.dtype == np.float32
    assert embeddings.shape == (5, 64)


def test_a_batch_fixed_by_the_export_is_freed(make_graph: Make, weights: Weights, tmp_path: Path) -> None:
    nodes: Nodes = [("Reshape", ["image", "to"], ["flat"], {}), ("Gemm", ["flat", "w"], ["logits"], {})]
    tensors = {"to": np.array([1, 64]), "w": weights(64, 4)}
    model = make_graph(nodes, tensors, ["logits"], image=(1, 1, 8, 8))
    bundle = init_bundle(model, tmp_path / "bundle")
    probabilities, _ = Model(bundle).predict(PIXELS)
    [first] = run(model, "logits", PIXELS[:1])
    np.testing.assert_allclose(probabilities[0], np.exp(first) / np.exp(first).sum(), rtol=1e-4)


def test_a_deep_network_is_no_trouble(make_graph: Make, weights: Weights, tmp_path: Path) -> None:
    nodes: list[Any] = [("Flatten", ["image"], ["h0"], {})]
    for depth in range(700):
        nodes += [("Relu", [f"h{depth}"], [f"r{depth}"], {}), ("Add", [f"h{depth}", f"r{depth}"], [f"s{depth}"], {})]
        nodes += [("Mul", [f"s{depth}", "half"], [f"h{depth + 1}"], {})]
    nodes.append(("Gemm", ["h700", "w"], ["logits"], {}))
    model = make_graph(nodes, {"half": np.array([0.5], np.float32), "w": weights(64, 4)}, ["logits"])
    assert init_bundle(model, tmp_path / "bundle").output.embedding == "h700"
