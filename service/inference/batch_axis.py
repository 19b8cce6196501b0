"""Frees the batch axis of a graph that an export fixed: a candidate, which its caller must compare with the original.

Exporters write the batch size of their example into the shapes of Reshape and Expand, and join constants of that
batch size (a class token) to the image's tokens. These places are rewritten; whether nothing else is bound to the
batch size only a comparison of answers shows.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from .onnx_graph import OnnxGraph

Values = Mapping[str, NDArray[Any]]
BATCH = "tidemark_batch"  # prefix of added tensors


def shape_tensors(proto: ModelProto) -> list[str]:
    """Return the tensors whose values `free_batch_axis` needs: constant shapes and constants that are joined."""
    graph = OnnxGraph(proto)
    names: list[str] = []
    for node in graph.nodes:
        if node.op_type in ("Reshape", "Expand") and node.input[0] in graph.dynamic:
            names.append(node.input[1])
        elif _joins_constants(graph, node):
            names.extend(name for name in node.input if name not in graph.dynamic)
        elif (flat := _flat_source(graph, node)) is not None:
            names.extend([flat.input[1], node.input[1]])
    return [name for name in dict.fromkeys(names) if name not in graph.dynamic]


def free_batch_axis(
    proto: ModelProto, image: str, batch: int, values: Values, sequence_first: bool = False
) -> ModelProto:
    """Return a copy of a model whose batch axis is free, as far as rewriting constant shapes frees it.

    Parameters
    ----------
    image : str
        The input that takes images.
    batch : int
        The batch size that the export fixed.
    values : Values
        Values of the tensors that `shape_tensors` names.
    sequence_first : bool, default False
        Whether constant shapes of three and more axes that do not begin with the batch size have it in their second
        axis, as in `torch.nn.MultiheadAttention`; else the first axis is a multiple of it.
    """
    dynamic_proto = ModelProto()
    dynamic_proto.CopyFrom(proto)
    _free_declared_batch(dynamic_proto, image, batch)
    graph = OnnxGraph(dynamic_proto)
    nodes: list[NodeProto] = []
    for index, node in enumerate(graph.nodes):
        if node.op_type in ("Reshape", "Expand") and node.input[0] in graph.dynamic and node.input[1] in values:
            target = values[node.input[1]]
            second = sequence_first and target.ndim == 1 and len(target) > 2 and target[0] > 1 and target[0] != batch
            if second and node.op_type == "Reshape" and (target > 0).all():
                _free_second(dynamic_proto, node, target, f"{BATCH}_shape_{index}")
            else:
                _free_shape(dynamic_proto, nodes, node, target, batch, f"{BATCH}_shape_{index}")
        elif _joins_constants(graph, node):
            for place, name in enumerate(node.input):
                if name in values and values[name].shape[:1] == (batch,):
                    node.input[place] = _repeat(dynamic_proto, nodes, name, values[name], f"{BATCH}_{index}_{place}")
        elif (flat := _flat_source(graph, node)) is not None:
            _free_places(dynamic_proto, nodes, node, flat, values, batch, f"{BATCH}_places_{index}")
        nodes.append(node)
    if any(BATCH in node.input for node in nodes):
        nodes[:0] = [
            helper.make_node("Shape", [image], [f"{BATCH}_sides"]),
            helper.make_node("Gather", [f"{BATCH}_sides", f"{BATCH}_axis"], [BATCH], axis=0),
        ]
        dynamic_proto.graph.initializer.append(numpy_helper.from_array(np.array([0]), f"{BATCH}_axis"))
    copies = [_copy(node) for node in nodes]
    del dynamic_proto.graph.node[:]
    dynamic_proto.graph.node.extend(copies)
    return dynamic_proto


def _free_declared_batch(proto: ModelProto, image: str, batch: int) -> None:
    """Name the batch axis of inputs and outputs instead of giving its size; forget the shapes in between."""
    del proto.graph.value_info[:]
    for value in [*proto.graph.input, *proto.graph.output]:
        dims = value.type.tensor_type.shape.dim
        if len(dims) and dims[0].dim_value == batch and (value.name != image or dims[0].HasField("dim_value")):
            dims[0].dim_param = "N"


def _joins_constants(graph: OnnxGraph, node: NodeProto) -> bool:
    """Check whether a node joins constants to tensors of the image along another axis than the first."""
    if node.op_type != "Concat" or _attribute(node, "axis") == 0:
        return False
    dynamic = [name in graph.dynamic for name in node.input]
    return any(dynamic) and not all(dynamic)


def _flat_source(graph: OnnxGraph, node: NodeProto) -> NodeProto | None:
    """Return the Reshape of the image's values out of which a node takes places, as `torch.as_strided` is exported."""
    if node.op_type != "Gather" or _attribute(node, "axis") != 0 or node.input[1] in graph.dynamic:
        return None
    maker = graph.makers.get(node.input[0])
    is_flat = maker is not None and maker.op_type == "Reshape" and maker.input[0] in graph.dynamic
    return maker if is_flat else None


def _free_places(
    proto: ModelProto, nodes: list[NodeProto], node: NodeProto, flat: NodeProto, values: Values, batch: int, name: str
) -> None:
    """Take the places of the first image out of each image's values, if those of all images are the same."""
    target, places = values.get(flat.input[1]), values.get(node.input[1])
    if target is None or places is None or target.tolist() != [-1] or places.shape[:1] != (batch,):
        return
    if len({(row - row.min()).tobytes() for row in places}) != 1:
        return
    proto.graph.initializer.append(numpy_helper.from_array(places[0].astype(np.int64), name))
    nodes.append(helper.make_node("Flatten", [flat.input[0]], [f"{name}_rows"], axis=1))
    node.input[0], node.input[1] = f"{name}_rows", name
    del node.attribute[:]
    node.attribute.append(helper.make_attribute("axis", 1))


def _free_shape(
    proto: ModelProto, nodes: list[NodeProto], node: NodeProto, target: NDArray[Any], batch: int, name: str
) -> None:
    """Replace the size at the start of a constant shape, a multiple of the batch size, by what it is in any batch."""
    if target.ndim != 1 or not len(target) or target[0] < 1 or target[0] % batch:
        return
    free = target.astype(np.int64)
    has_rest = bool((target == -1).any())
    if node.op_type == "Expand":
        if target[0] != batch:
            return
        free[0] = 1
    elif not has_rest:
        free[0] = -1
    elif _attribute(node, "allowzero") and (target == 0).any():
        return
    else:
        node.input[1] = _multiple(proto, nodes, int(target[0]) // batch, free[1:], name)
        return
    proto.graph.initializer.append(numpy_helper.from_array(free, name))
    node.input[1] = name


def _free_second(proto: ModelProto, node: NodeProto, target: NDArray[Any], name: str) -> None:
    """Replace the size of the second axis of a constant shape by "the rest"."""
    free = target.astype(np.int64)
    free[1] = -1
    proto.graph.initializer.append(numpy_helper.from_array(free, name))
    node.input[1] = name


def _multiple(proto: ModelProto, nodes: list[NodeProto], factor: int, others: NDArray[np.int64], name: str) -> str:
    """Make a shape that begins with a multiple of the batch size, as of windows or patches; return its name."""
    proto.graph.initializer.append(numpy_helper.from_array(np.array([factor], np.int64), f"{name}_factor"))
    proto.graph.initializer.append(numpy_helper.from_array(others, f"{name}_others"))
    nodes.append(helper.make_node("Mul", [BATCH, f"{name}_factor"], [f"{name}_first"]))
    nodes.append(helper.make_node("Concat", [f"{name}_first", f"{name}_others"], [name], axis=0))
    return name


def _repeat(proto: ModelProto, nodes: list[NodeProto], tensor: str, value: NDArray[Any], name: str) -> str:
    """Repeat the first row of a constant for each image of the batch; return the name of the result."""
    first = tensor
    if len(value) > 1:
        first = f"{name}_first"
        proto.graph.initializer.append(numpy_helper.from_array(np.array([0]), f"{name}_index"))
        nodes.append(helper.make_node("Gather", [tensor, f"{name}_index"], [first], axis=0))
    others = numpy_helper.from_array(np.array(value.shape[1:], np.int64), f"{name}_others")
    proto.graph.initializer.append(others)
    nodes.append(helper.make_node("Concat", [BATCH, f"{name}_others"], [f"{name}_shape"], axis=0))
    nodes.append(helper.make_node("Expand", [first, f"{name}_shape"], [name]))
    return name


def _attribute(node: NodeProto, name: str) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == name), 0)


def _copy(node: NodeProto) -> NodeProto:
    copied = NodeProto()
    copied.CopyFrom(node)
    return copied
