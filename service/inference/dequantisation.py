"""Dequantises tensors of a graph in 8 bits, whose own values are counted in steps of a scale from a zero point."""

from onnx import ModelProto, NodeProto, helper

from .onnx_graph import OnnxGraph

# Operators with their 8-bit operands: the place of each among the inputs, before those of its scale and zero point.
OPERANDS = {"DequantizeLinear": (0,), "QLinearMatMul": (0, 3), "QLinearConv": (0, 3), "QGemm": (0, 3)}
# Operators with an 8-bit result, and the place of its scale among the inputs.
RESULTS = {"QuantizeLinear": 1, "QLinearMatMul": 6, "QLinearConv": 6, "QGemm": 7}


def dequantised(proto: ModelProto, tensor: str) -> str:
    """Return the tensor with the real values of one in 8 bits, added to the graph; any other tensor as it is."""
    graph = OnnxGraph(proto)
    scale = _scale(graph, tensor)
    if scale is None:
        return tensor
    existing = [node for node in graph.nodes if node.op_type == "DequantizeLinear" and node.input[0] == tensor]
    if existing:
        return str(existing[0].output[0])
    result = f"{tensor}_dequantised"
    proto.graph.node.append(helper.make_node("DequantizeLinear", [tensor, *scale], [result]))
    return result


def _scale(graph: OnnxGraph, tensor: str) -> list[str] | None:
    """Return the names of the scale and the zero point of an 8-bit tensor, by an operator that reads or makes it."""
    for node in graph.nodes:
        for place in OPERANDS.get(node.op_type, ()):
            if place < len(node.input) and node.input[place] == tensor:
                return _names(node, place + 1)
    maker = graph.makers.get(tensor)
    if maker is None or maker.op_type not in RESULTS:
        return None
    return _names(maker, RESULTS[maker.op_type])


def _names(node: NodeProto, place: int) -> list[str] | None:
    names = [name for name in node.input[place : place + 2] if name]
    return names or None
