"""Reads the graph of an ONNX classifier: where the image enters, where class scores leave, what they are made of."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto

from .bundle import BrokenBundle

HEADS = ("Gemm", "MatMul", "Conv", "QLinearMatMul", "QGemm", "FusedMatMul", "FusedGemm", "QLinearConv", "MatMulInteger")
PASSING = (  # operators between the head and the scores that leave classes in place
    "Softmax", "LogSoftmax", "Sigmoid", "Relu", "Add", "Sub", "Mul", "Div", "Reshape", "Flatten", "Squeeze",
    "Unsqueeze", "Identity", "Cast", "GlobalAveragePool", "GlobalMaxPool", "AveragePool", "ReduceMean", "ReduceMax",
    "Clip", "Dropout", "Transpose", "QuantizeLinear", "DequantizeLinear", "BatchNormalization",
)  # fmt: skip
SAMPLES = {TensorProto.FLOAT: "float32", TensorProto.FLOAT16: "float16"}
LIKELY = ("prob", "logit", "score", "class", "softmax")  # in the names of outputs with class scores
UNLIKELY = ("embed", "feature", "hidden")


@dataclass(frozen=True)
class ImageInput:
    """The input that takes images."""

    name: str
    layout: str  # NCHW or NHWC
    channels: int
    height: int | None  # None where it is free
    width: int | None
    batch: int | None
    dtype: str


def image_input(proto: ModelProto) -> ImageInput:
    """Return the graph's one input, if it takes images.

    Raises
    ------
    BrokenBundle
        There is another number of inputs, or it has another shape or type.
    """
    constants = {tensor.name for tensor in proto.graph.initializer}
    inputs = [value for value in proto.graph.input if value.name not in constants]
    kinds = [value.type.tensor_type.elem_type for value in inputs]
    found = ", ".join(
        f"{value.name} {shape(value)} {TensorProto.DataType.Name(kind)}"
        for value, kind in zip(inputs, kinds, strict=True)
    )
    refused = BrokenBundle(
        f"expected one float image input N×C×H×W or N×H×W×C with 1 or 3 channels, found {found or 'none'}"
    )
    if len(inputs) != 1 or kinds[0] not in SAMPLES or len(shape(inputs[0])) != 4:
        raise refused
    batch, *sides = (side if isinstance(side, int) and side > 0 else None for side in shape(inputs[0]))
    if sides[0] in (1, 3):
        layout, (channels, height, width) = "NCHW", sides
    elif sides[2] in (1, 3):
        layout, (height, width, channels) = "NHWC", sides
    else:
        raise refused
    return ImageInput(inputs[0].name, layout, channels or 0, height, width, batch, SAMPLES[kinds[0]])


def shape(value: ValueInfoProto) -> list[int | str]:
    """Return the dimensions of an input or output; free ones by their name."""
    dims = value.type.tensor_type.shape.dim
    return [dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?" for dim in dims]


def score_outputs(proto: ModelProto) -> list[str]:
    """Return the outputs that a classification head makes, likeliest first.

    An output out of which another is made comes after it: logits after their probabilities.
    """
    makers = _makers(proto)
    dynamic = _dynamic(proto)
    outputs = [output.name for output in proto.graph.output]
    heads = {name: head for name in outputs if (head := _head(makers, dynamic, name)) is not None}
    behind = {
        name: {result for node in _backwards(makers, name, all_nodes=True) for result in node.output} for name in heads
    }
    candidates = [name for name in heads if not any(word in name.lower() for word in UNLIKELY)]

    def rank(name: str) -> tuple[bool, bool, int]:
        within = any(name in behind[other] for other in heads if other != name)
        return within, not any(word in name.lower() for word in LIKELY), outputs.index(name)

    return sorted(candidates, key=rank)


def embedding_tensor(proto: ModelProto, scores: str) -> str:
    """Return the tensor from which the last Gemm, MatMul or 1×1 Conv makes the class scores.

    Raises
    ------
    BrokenBundle
        Nothing of the kind is on the way back from the scores.
    """
    makers, dynamic = _makers(proto), _dynamic(proto)
    head = _head(makers, dynamic, scores)
    if head is None:
        raise BrokenBundle(f"no embedding: looked back from {scores!r} for a Gemm, MatMul or 1×1 Conv, found none")
    tensor = next(name for name in _factors(head) if name in dynamic)
    while tensor in makers and makers[tensor].op_type in ("QuantizeLinear", "DynamicQuantizeLinear"):
        tensor = makers[tensor].input[0]
    return tensor


def expose(proto: ModelProto, tensor: str) -> None:
    """Make a tensor of the graph an output, if it is none yet.

    Raises
    ------
    BrokenBundle
        The graph has no such tensor.
    """
    if tensor not in _makers(proto) and tensor not in {value.name for value in proto.graph.input}:
        raise BrokenBundle(f"no tensor {tensor!r} in the graph; leave output.embedding out to have it found")
    if all(output.name != tensor for output in proto.graph.output):
        proto.graph.output.append(ValueInfoProto(name=tensor))


def ends_in(proto: ModelProto, scores: str, operator: str) -> bool:
    """Tell whether an operator stands between the classification head and the scores."""
    makers = _makers(proto)
    for node in _backwards(makers, scores):
        if node.op_type in HEADS:
            return False
        if node.op_type == operator:
            return True
    return False


def dynamic_reshapes(proto: ModelProto) -> list[str]:
    """Return the names of the shapes to which tensors that depend on the image are reshaped."""
    dynamic = _dynamic(proto)
    return [node.input[1] for node in proto.graph.node if node.op_type == "Reshape" and node.input[0] in dynamic]


def _makers(proto: ModelProto) -> dict[str, NodeProto]:
    return {result: node for node in proto.graph.node for result in node.output if result}


def _dynamic(proto: ModelProto) -> set[str]:
    """Return the tensors that depend on the image, in one pass: ONNX keeps nodes in topological order."""
    constants = {tensor.name for tensor in proto.graph.initializer}
    dynamic = {value.name for value in proto.graph.input} - constants
    for node in proto.graph.node:
        if node.op_type != "Shape" and any(name in dynamic for name in node.input):
            dynamic.update(name for name in node.output if name)
    return dynamic


def _head(makers: dict[str, NodeProto], dynamic: set[str], name: str) -> NodeProto | None:
    """Go back from the scores to the operator that made them out of the embedding and constant weights."""
    for node in _backwards(makers, name):
        if node.op_type in HEADS and sum(factor in dynamic for factor in _factors(node)) == 1:
            return node
    return None


def _factors(head: NodeProto) -> tuple[str, str]:
    """Return the two tensors that a head multiplies; quantised ones have a scale and a zero point between them."""
    return head.input[0], head.input[3 if head.op_type in ("QLinearMatMul", "QGemm", "QLinearConv") else 1]


def _backwards(makers: dict[str, NodeProto], name: str, all_nodes: bool = False) -> Iterator[NodeProto]:
    """Yield nodes from a tensor backwards, breadth first, through operators that leave classes in place (or all)."""
    seen: set[str] = set()
    waiting: list[Any] = [name]
    while waiting:
        current = waiting.pop(0)
        node = makers.get(current)
        if node is None or current in seen:
            continue
        seen.add(current)
        yield node
        if all_nodes or node.op_type in PASSING:
            waiting.extend(node.input)
