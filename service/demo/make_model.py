"""Make the demo's classifier, a small network fitted on one half of the scans: `python -m tidemark.demo.make_model`."""

import warnings
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from .scans import SIDE, halves, scan

MODEL = Path(__file__).parent / "digits.onnx"
POOL = 2  # pixels a side are averaged before the first layer
HIDDEN = (192, 48)  # units; the last are the embedding
COPIES = 60  # copies of each scan, placed differently
OPSET = 17


def make(path: Path = MODEL) -> float:
    """Fit the classifier, write it as ONNX with logits as its only output, and return its held-out accuracy."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    rng = np.random.default_rng(1)
    fitted, held_out = halves()
    labels = np.tile(fitted.labels, COPIES)
    images = np.concatenate([scan(fitted.images, rng) for _ in range(COPIES)])
    network = MLPClassifier(HIDDEN, alpha=3e-2, batch_size=128, max_iter=20, random_state=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 20 passes are enough
        network.fit(_pooled(images), labels)
    _write(network.coefs_, network.intercepts_, path)
    return float(network.score(_pooled(scan(held_out.images, rng)), held_out.labels))


def _pooled(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    side = SIDE // POOL
    means: NDArray[np.float32] = images.reshape(-1, side, POOL, side, POOL).mean(axis=(2, 4), dtype=np.float32)
    return np.divide(means.reshape(len(images), -1), 255, dtype=np.float32)


def _write(weights: list[np.ndarray], offsets: list[np.ndarray], path: Path) -> None:
    window = [POOL, POOL]
    nodes = [
        helper.make_node("AveragePool", ["input"], ["pooled"], kernel_shape=window, strides=window),
        helper.make_node("Flatten", ["pooled"], ["layer0"]),
    ]
    constants = []
    last = len(weights)
    for number, (weight, offset) in enumerate(zip(weights, offsets, strict=True), start=1):
        constants.append(numpy_helper.from_array(weight.astype(np.float32), f"weight{number}"))
        constants.append(numpy_helper.from_array(offset.astype(np.float32), f"offset{number}"))
        result = "logits" if number == last else f"sum{number}"
        inputs = [f"layer{number - 1}", f"weight{number}", f"offset{number}"]
        nodes.append(helper.make_node("Gemm", inputs, [result]))
        if number < last:
            nodes.append(helper.make_node("Relu", [result], [f"layer{number}"]))
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 1, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)


if __name__ == "__main__":
    print(f"accuracy on the scans held out: {make():.4f}")
