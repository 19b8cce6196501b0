"""A view of an ONNX graph: which node makes a tensor, and which tensors depend on the image."""

from collections import deque
from collections.abc import Callable
from functools import cached_property

from onnx import GraphProto, ModelProto, NodeProto, TensorProto

SHAPE_ONLY = ("Shape", "Size")  # operators whose result depends on the shape of their input alone


class OnnxGraph:
    """Look-ups in the main graph of a model; the model must not change while it is used."""

    def __init__(self, proto: ModelProto) -> None:
        self.proto = proto
        self.nodes = list(proto.graph.node)
        self.outputs = [output.name for output in proto.graph.output]

    @cached_property
    def makers(self) -> dict[str, NodeProto]:
        """The node that makes each tensor."""
        return {result: node for node in self.nodes for result in node.output if result}

    @cached_property
    def constants(self) -> dict[str, TensorProto]:
        """The constant tensors: initializers, and those of `Constant` nodes."""
        values = {tensor.name: tensor for tensor in self.proto.graph.initializer}
        for node in self.nodes:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
                values[node.output[0]] = node.attribute[0].t
        return values

    @cached_property
    def inputs(self) -> set[str]:
        """The inputs that are not initializers: images, in a classifier."""
        initializers = {tensor.name for tensor in self.proto.graph.initializer}
        return {value.name for value in self.proto.graph.input} - initializers

    @cached_property
    def dynamic(self) -> set[str]:
        """The tensors that depend on the image, found in one pass: ONNX keeps nodes in topological order."""
        tensors = set(self.inputs)
        for node in self.nodes:
            if node.op_type not in SHAPE_ONLY and any(name in tensors for name in read_tensors(node)):
                tensors.update(name for name in node.output if name)
        return tensors

    def backwards(self, tensor: str, is_end: Callable[[NodeProto], bool] = lambda _node: False) -> list[NodeProto]:
        """Return the nodes on which a tensor depends through the image, nearest first.

        Parameters
        ----------
        is_end : Callable[[NodeProto], bool]
            Whether the search does not go behind a node.
        """
        nodes: list[NodeProto] = []
        reached: set[int] = set()
        tensors = deque([tensor])
        while tensors:
            node = self.makers.get(tensors.popleft())
            if node is None or id(node) in reached:
                continue
            reached.add(id(node))
            nodes.append(node)
            if not is_end(node):
                tensors.extend(name for name in read_tensors(node) if name in self.dynamic)
        return nodes

    def ancestors(self, tensor: str) -> set[str]:
        """Return the tensors out of which a tensor is made, without itself."""
        results = {result for node in self.backwards(tensor) for result in node.output}
        return (results | self.inputs) - {tensor}


def read_tensors(node: NodeProto) -> list[str]:
    """Return the tensors that a node reads, those that its subgraphs take from outside included."""
    names = [name for name in node.input if name]
    for attribute in node.attribute:
        graphs = [attribute.g] if attribute.HasField("g") else list(attribute.graphs)
        for graph in graphs:
            names.extend(_outer_tensors(graph))
    return names


def _outer_tensors(graph: GraphProto) -> list[str]:
    inner = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    inner.update(result for node in graph.node for result in node.output)
    outer = [name for node in graph.node for name in read_tensors(node)]
    outer.extend(output.name for output in graph.output)
    return [name for name in outer if name not in inner]
