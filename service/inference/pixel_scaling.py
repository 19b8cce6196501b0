"""Reads from a graph whether it scales pixels of 0..255 itself: by the line a·x + b that it draws through them."""

from dataclasses import dataclass

import numpy as np
from onnx import NodeProto, TensorProto, numpy_helper

from .onnx_graph import OnnxGraph

RAW_DIVISOR = 50.0  # a graph that divides by more expects pixels of 0..255; deviations of pixels of 0..1 are above 1/50
RAW_MEAN = 1.5  # a graph that subtracts more does, too; pixels of 0..1 have no such mean
RELOCATIONS = ("Cast", "Identity", "Transpose", "Resize", "Pad", "Unsqueeze", "Squeeze", "Reshape", "Slice", "Gather")


@dataclass(frozen=True)
class _Line:
    """The values a·x + b of pixels x, the mean over channels."""

    slope: float = 1.0
    offset: float = 0.0

    def then(self, slope: float, offset: float) -> "_Line":
        return _Line(self.slope * slope, self.offset * slope + offset)


def scales_pixels(graph: OnnxGraph, image: str) -> bool:
    """Check whether the first arithmetic on an image is that of pixels in 0..255: divided by 255, say.

    Sums, products and normalisations with constants are followed together, in whichever order an export has them.

    Parameters
    ----------
    image : str
        The input that takes images.
    """
    lines = {image: _Line()}
    last = lines[image]
    for node in graph.nodes:
        source = next((tensor for tensor in node.input if tensor in lines), None)
        if source is None:
            continue
        line = lines[source] if node.op_type in RELOCATIONS else _next_line(graph, node, source, lines[source])
        if line is None:
            break
        lines[node.output[0]] = last = line
        if node.op_type == "BatchNormalization":
            break  # what comes next was learnt
    if last.slope == 0:
        return False
    return 1 / abs(last.slope) > RAW_DIVISOR or -last.offset / last.slope > RAW_MEAN


def _next_line(graph: OnnxGraph, node: NodeProto, source: str, line: _Line) -> _Line | None:
    """Return the line after an operator; None if it is none that draws a line, or its constants are not at hand."""
    if node.op_type == "BatchNormalization" and node.input[0] == source:
        return _normalised(graph, node, line)
    if node.op_type not in ("Add", "Sub", "Mul", "Div"):
        return None
    [other] = [name for name in node.input if name != source] or [source]
    values = _mean(graph, other)
    is_first = node.input[0] == source
    if values is None or (node.op_type == "Div" and not is_first):
        return None
    if node.op_type == "Add":
        return line.then(1, values)
    if node.op_type == "Sub":
        return line.then(1, -values) if is_first else line.then(-1, values)
    if node.op_type == "Mul":
        return line.then(values, 0)
    return line.then(1 / values, 0) if values else None


def _normalised(graph: OnnxGraph, node: NodeProto, line: _Line) -> _Line | None:
    """Return the line to mean 0 and deviation 1, which is that of the pixels: scale and bias are learnt."""
    mean, variance = _mean(graph, node.input[3]), _mean(graph, node.input[4])
    if mean is None or not variance or variance < 0:
        return None
    slope = 1 / float(np.sqrt(variance))
    return line.then(slope, -mean * slope)


def _mean(graph: OnnxGraph, name: str) -> float | None:
    """Return the mean of a constant; None if it is none, or lies in another file."""
    tensor = graph.constants.get(name)
    if tensor is None or tensor.data_location == TensorProto.EXTERNAL:
        return None
    values = numpy_helper.to_array(tensor)
    return float(values.astype(np.float64).mean()) if values.size else None
