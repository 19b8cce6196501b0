"""Networks of MobileNetV2's (Sandler et al. 2018, table 2) and ResNet-50's architecture (He et al. 2016, table 1).

Their weights are random: they are there for their cost.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE, CLASSES = 224, 1000
STAGES = (  # expansion, channels, repeats, stride of the first
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)

BLOCKS = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))  # ResNet-50: inner channels, blocks, stride of the first
WIDENING = 4  # channels after a block for each of its inner ones


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._rng = np.random.default_rng(0)
        self.constant("zero", np.float32(0))
        self.constant("six", np.float32(6))

    def constant(self, name: str, values: np.ndarray | np.float32) -> str:
        self.weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def add(self, operator: str, inputs: list[str], **attributes: Any) -> str:
        output = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def random(self, shape: tuple[int, ...], fan_in: int) -> str:
        values = self._rng.normal(0, np.sqrt(2 / fan_in), shape).astype(np.float32)
        return self.constant(f"w{len(self.weights)}", values)

    def conv(
        self, value: str, before: int, after: int, kernel: int, stride: int = 1, groups: int = 1, act: bool = True
    ) -> str:
        weight = self.random((after, before // groups, kernel, kernel), before // groups * kernel**2)
        bias = self.constant(f"b{len(self.weights)}", np.zeros(after, np.float32))
        sizes = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [kernel // 2] * 4, "group": groups}
        value = self.add("Conv", [value, weight, bias], **sizes)
        return self.add("Clip", [value, "zero", "six"]) if act else value


def mobilenet(path: Path) -> None:
    """Write the network: input `input` (N, 3, 224, 224), outputs `probabilities` (N, 1000), `embedding` (N, 1280)."""
    graph = _Graph()
    value, channels = graph.conv("input", 3, 32, 3, stride=2), 32
    for expansion, after, repeats, stride in STAGES:
        for repeat in range(repeats):
            step = stride if repeat == 0 else 1
            wide = channels * expansion
            inner = graph.conv(value, channels, wide, 1) if expansion > 1 else value
            inner = graph.conv(inner, wide, wide, 3, step, groups=wide)
            inner = graph.conv(inner, wide, after, 1, act=False)
            value = graph.add("Add", [value, inner]) if step == 1 and channels == after else inner
            channels = after
    _write(graph, graph.conv(value, channels, 1280, 1), 1280, path)


def resnet(path: Path) -> None:
    """Write the network: input `input` (N, 3, 224, 224), outputs `probabilities` (N, 1000), `embedding` (N, 2048)."""
    graph = _Graph()
    value, channels = graph.conv("input", 3, 64, 7, stride=2), 64
    value = graph.add("MaxPool", [value], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    for inner, blocks, first_stride in BLOCKS:
        for block in range(blocks):
            stride, after = (first_stride if block == 0 else 1), WIDENING * inner
            branch = graph.conv(value, channels, inner, 1)
            branch = graph.conv(branch, inner, inner, 3, stride)
            branch = graph.conv(branch, inner, after, 1, act=False)
            if channels != after:
                value = graph.conv(value, channels, after, 1, stride, act=False)
            value = graph.add("Clip", [graph.add("Add", [value, branch]), "zero", "six"])
            channels = after
    _write(graph, value, channels, path)


def _write(graph: _Graph, features: str, channels: int, path: Path) -> None:
    """Write a graph with a classifier on its maps of features."""
    value = graph.add("GlobalAveragePool", [features])
    graph.nodes.append(helper.make_node("Flatten", [value], ["embedding"]))
    weight = graph.random((channels, CLASSES), channels)
    bias = graph.constant("bias", np.zeros(CLASSES, np.float32))
    logits = graph.add("Gemm", ["embedding", weight, bias])
    graph.nodes.append(helper.make_node("Softmax", [logits], ["probabilities"]))
    body = helper.make_graph(
        graph.nodes,
        path.stem,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, SIDE, SIDE])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", CLASSES]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", channels]),
        ],
        graph.weights,
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)
