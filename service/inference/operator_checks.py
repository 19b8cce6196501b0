"""Operators that decide whether and how a graph can be used: custom, random, in training mode, quantised."""

from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from .onnx_graph import OnnxGraph

RANDOM = (
    "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli",
)  # fmt: skip
COARSE_OPERATORS = ("Quantize", "QLinear", "Integer", "NBits", "QGemm")  # parts of their names
SUPPORTED_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc")


def custom_operators(proto: ModelProto) -> list[str]:
    """Return the operators that neither ONNX nor ONNX Runtime nor the model itself defines, by domain and name."""
    local = {(function.domain, function.name) for function in proto.functions}
    names = {
        f"{node.domain}::{node.op_type}"
        for node in proto.graph.node
        if node.domain not in SUPPORTED_DOMAINS and (node.domain, node.op_type) not in local
    }
    return sorted(names)


def training_operators(proto: ModelProto) -> list[str]:
    """Return the operators that behave as in training: Dropout that drops, BatchNormalization by the batch itself.

    Those that standardise weights, as networks without normalisation of activations do, are none of them.
    """
    graph = OnnxGraph(proto)
    operators = []
    for node in graph.nodes:
        if not any(name in graph.dynamic for name in node.input):
            continue
        attributes = {attribute.name: attribute.i for attribute in node.attribute}
        normalises = node.op_type == "BatchNormalization" and (attributes.get("training_mode") or len(node.output) > 1)
        if normalises or (node.op_type == "Dropout" and _drops(graph, node)):
            operators.append(f"{node.op_type} {node.name or node.output[0]}")
    return operators


def random_operators(proto: ModelProto) -> list[str]:
    """Return the operators whose result is random."""
    return [f"{node.op_type} {node.name or node.output[0]}" for node in proto.graph.node if node.op_type in RANDOM]


def is_coarse(proto: ModelProto) -> bool:
    """Check whether a graph computes in float16 or quantised, so that sums in another order differ visibly."""
    halves = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
    if any(tensor.data_type in halves for tensor in proto.graph.initializer):
        return True
    return any(part in node.op_type for node in proto.graph.node for part in COARSE_OPERATORS)


def has_common_scale(proto: ModelProto) -> bool:
    """Check whether a graph quantises the images of a batch by a scale that it computes of all of them."""
    return any("DynamicQuantize" in node.op_type for node in proto.graph.node)


def _drops(graph: OnnxGraph, node: NodeProto) -> bool:
    """Check whether a Dropout has its training mode on; `Dropout` of opset 7 to 11 never drops at inference."""
    if len(node.input) < 3 or not node.input[2]:
        return False
    mode = graph.constants.get(node.input[2])
    ratio = graph.constants.get(node.input[1])
    is_on = mode is None or _first_value(mode) != 0
    return is_on and (ratio is None or _first_value(ratio) != 0)


def _first_value(tensor: TensorProto) -> float:
    if tensor.data_location == TensorProto.EXTERNAL:
        return 1.0  # unknown: taken as on, and the run decides
    return float(numpy_helper.to_array(tensor).reshape(-1)[0])
