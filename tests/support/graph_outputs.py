"""The values of any tensor of a graph, and whether a bundle answers what its graph does."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from tidemark.inference.bundle import Bundle
from tidemark.inference.model import Model

PIXELS = np.random.default_rng(5).integers(0, 256, (5, 8, 8), dtype=np.uint8)


def run(path: Path, tensor: str, pixels: np.ndarray = PIXELS) -> np.ndarray:
    """Return any tensor of a graph for pixels fed as 0..1."""
    proto = onnx.load(path)
    if tensor not in [output.name for output in proto.graph.output]:
        proto.graph.output.append(onnx.ValueInfoProto(name=tensor))
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    values: np.ndarray = session.run([tensor], {"image": pixels[:, None].astype(np.float32) / 255})[0]
    return values


def check(model: Path, bundle: Bundle, embedding: str, scores: str = "logits") -> None:
    """The bundle answers what the graph does, and its embedding is that tensor, pooled."""
    probabilities, embeddings = Model(bundle, threads=1).predict(PIXELS)
    expected = run(model, embedding)
    if expected.ndim == 4:
        expected = expected.mean(axis=(2, 3))
    np.testing.assert_allclose(embeddings, expected, rtol=1e-4, atol=1e-5)
    rows = run(model, scores).reshape(5, -1)
    if bundle.output.activation == "softmax":
        rows = np.exp(rows) / np.exp(rows).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities, rows, rtol=1e-4, atol=1e-5)
