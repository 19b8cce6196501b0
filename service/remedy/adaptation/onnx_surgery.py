"""Changes at the end of an ONNX graph: takes an old last layer off, and adds operators that give an output again."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

PREFIX = "tidemark_"  # prefix of the names of added tensors
FREE_INITIALIZERS = 4  # the IR version from which constants need not be inputs, too
MEAN_AXES_AS_INPUT = 18  # the opset from which ReduceMean takes its axes as an input


class Ending:
    """Adds operators to the end of a graph; the names it is given and returns are those of tensors.

    Parameters
    ----------
    proto : ModelProto
        Changed in place.
    output : str
        The graph output that is to be made again. Its name is free once this is made: `old` is what made it.
    """

    def __init__(self, proto: ModelProto, output: str) -> None:
        proto.ir_version = max(proto.ir_version, FREE_INITIALIZERS)
        self._graph = proto.graph
        del proto.graph.value_info[:]
        self._opset = max(entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx"))
        self._names = {name for node in proto.graph.node for name in (*node.input, *node.output)}
        self._names |= {tensor.name for tensor in proto.graph.initializer}
        self._output = output
        self.old = self._new("old")
        for node in proto.graph.node:
            for names in (node.input, node.output):
                for place, name in enumerate(names):
                    if name == output:
                        names[place] = self.old

    def add(self, operator: str, *inputs: str | NDArray[Any], **attributes: Any) -> str:
        """Add an operator on tensors and constants; return the tensor that it makes."""
        result = self._new(operator.lower())
        names = [value if isinstance(value, str) else self._constant(value) for value in inputs]
        self._graph.node.append(helper.make_node(operator, names, [result], **attributes))
        return result

    def rows(self, tensor: str, columns: int) -> str:
        """Return a tensor as float32 (m, columns)."""
        single = self.add("Cast", tensor, to=TensorProto.FLOAT)
        return self.add("Reshape", single, np.array([-1, columns]))

    def pooled(self, tensor: str, dimensions: int) -> str:
        """Return an embedding as float32 (m, d), averaged over its positions as the session does it."""
        single = self.add("Cast", tensor, to=TensorProto.FLOAT)
        if dimensions < 3:
            return self.add("Flatten", single, axis=1)
        axes = [1] if dimensions == 3 else list(range(2, dimensions))
        if self._opset >= MEAN_AXES_AS_INPUT:
            return self.add("ReduceMean", single, np.array(axes), keepdims=0)
        return self.add("ReduceMean", single, axes=axes, keepdims=0)

    def finish(self, scores: str, old: NDArray[np.floating]) -> None:
        """Give what was made the output's name, its type and its shape per image, both as `old` has them; drop what
        nothing needs any more."""
        shaped = self.add("Reshape", scores, np.array([-1, *old.shape[1:]]))
        kind = helper.np_dtype_to_tensor_dtype(old.dtype)
        self._graph.node.append(helper.make_node("Cast", [shaped], [self._output], to=kind))
        for value in self._graph.output:
            if value.name == self._output:
                value.type.tensor_type.elem_type = kind
        nodes = makers(self._graph.node, [value.name for value in self._graph.output])
        del self._graph.node[:]
        self._graph.node.extend(nodes)
        used = {name for node in nodes for name in _inputs(node)} | {value.name for value in self._graph.output}
        constants = [tensor for tensor in self._graph.initializer if tensor.name in used]
        dropped = {tensor.name for tensor in self._graph.initializer} - used
        del self._graph.initializer[:]
        self._graph.initializer.extend(constants)
        inputs = [value for value in self._graph.input if value.name not in dropped]
        del self._graph.input[:]
        self._graph.input.extend(inputs)

    def _constant(self, values: NDArray[Any]) -> str:
        name = self._new("constant")
        kind = np.int64 if values.dtype.kind == "i" else np.float32
        self._graph.initializer.append(numpy_helper.from_array(values.astype(kind), name))
        return name

    def _new(self, word: str) -> str:
        number = 0
        while (name := f"{PREFIX}{word}{number}") in self._names:
            number += 1
        self._names.add(name)
        return name


def drop_outputs_behind(proto: ModelProto, scores: str, embedding: str) -> None:
    """Drop the outputs that come out of the operators between the embedding and the scores, all but these two."""
    between = _ancestors(proto, scores) - _ancestors(proto, embedding)
    outputs = [
        value
        for value in proto.graph.output
        if value.name in (scores, embedding) or not _ancestors(proto, value.name) & between
    ]
    del proto.graph.output[:]
    proto.graph.output.extend(outputs)


def _ancestors(proto: ModelProto, tensor: str) -> set[str]:
    """Return a tensor and all that are made on the way to it."""
    return {name for node in makers(proto.graph.node, [tensor]) for name in node.output}


def makers(nodes: Sequence[NodeProto], names: Sequence[str]) -> list[NodeProto]:
    """Return the nodes that make some tensors, all the way back, in the graph's order."""
    required, makers_in_reverse = set(names), []
    for node in reversed(nodes):
        if required.intersection(node.output):
            required.update(_inputs(node))
            makers_in_reverse.append(node)
    return makers_in_reverse[::-1]


def _inputs(node: NodeProto) -> Iterator[str]:
    """Yield what a node reads, the graphs inside it included."""
    yield from node.input
    for attribute in node.attribute:
        for graph in [attribute.g, *attribute.graphs]:
            for inner in graph.node:
                yield from _inputs(inner)
