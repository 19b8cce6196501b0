"""A small network without its head, and what its tensors are for given pixels."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from tests.support.graphs import Nodes, random

Make = Callable[..., Path]
PIXELS = np.random.default_rng(5).integers(0, 256, (7, 8, 8), dtype=np.uint8)
BODY: Nodes = [
    ("Flatten", ["image"], ["flat"], {}),
    ("Gemm", ["flat", "w1", "b1"], ["sum"], {}),
    ("Relu", ["sum"], ["hidden"], {}),
]
HEAD: Nodes = [("Gemm", ["hidden", "w2", "b2"], ["scores"], {})]
WEIGHTS: dict[str, np.ndarray] = {
    "w1": random(64, 6),
    "b1": random(6),
    "w2": 3 * random(6, 4, seed=1),
    "b2": random(4, seed=2),
}


def softmax(rows: np.ndarray) -> np.ndarray:
    powers = np.exp(rows - rows.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def tensor(model: Path, name: str, pixels: np.ndarray = PIXELS) -> np.ndarray:
    """Return any tensor of the original graph, a row an image."""
    proto = onnx.load(model)
    if name not in [output.name for output in proto.graph.output]:
        proto.graph.output.append(onnx.ValueInfoProto(name=name))
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run([name], {"image": pixels[:, None].astype(np.float32) / 255})[0])
