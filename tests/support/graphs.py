"""Small classifiers built node by node, each with a head of its own kind."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Nodes = list[tuple[str, list[str], list[str], dict[str, Any]]]  # operator, inputs, outputs, attributes


def build(
    path: Path,
    nodes: Nodes,
    weights: dict[str, np.ndarray],
    outputs: list[str],
    image: tuple[Any, ...] = ("N", 1, 8, 8),
    dtype: int = TensorProto.FLOAT,
    opset: int = 17,
) -> Path:
    """Write a graph of (operator, inputs, outputs, attributes) that reads `image`."""
    domains = {node[0].partition("::")[0] for node in nodes if "::" in node[0]}
    graph = helper.make_graph(
        [
            helper.make_node(kind.rpartition("::")[2], inputs, results, domain=kind.rpartition("::")[0], **attributes)
            for kind, inputs, results, attributes in nodes
        ],
        "test",
        [helper.make_tensor_value_info("image", dtype, image)],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.3, shape).astype(np.float32)


def mlp(path: Path, scores: str = "logits", hidden: int = 6, classes: int = 4, **options: Any) -> Path:
    """64 pixels, a hidden layer, and logits (also as probabilities where `scores` says so)."""
    nodes: Nodes = [
        ("Flatten", ["image"], ["flat"], {}),
        ("Gemm", ["flat", "w1", "b1"], ["sum"], {}),
        ("Relu", ["sum"], ["hidden"], {}),
        ("Gemm", ["hidden", "w2", "b2"], ["logits"], {}),
    ]
    if scores != "logits":
        nodes.append(("Softmax", ["logits"], [scores], {"axis": 1}))
    pixels = int(np.prod(list(options.get("image", ("N", 1, 8, 8))[1:])))
    weights = {
        "w1": random(pixels, hidden),
        "b1": random(hidden),
        "w2": random(hidden, classes, seed=1),
        "b2": random(classes, seed=2),
    }
    return build(path, nodes, weights, [scores], **options)
