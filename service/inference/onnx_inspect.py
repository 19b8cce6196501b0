"""Reads the graph of an ONNX classifier: where class scores leave, and of which embedding they are made."""

from collections.abc import Sequence
from dataclasses import dataclass

from onnx import ModelProto, NodeProto, ValueInfoProto

from .bundle import BrokenBundle
from .image_input import ImageInput, image_input, shape
from .onnx_graph import OnnxGraph, read_tensors

__all__ = [
    "Head",
    "ImageInput",
    "embedding_tensor",
    "expose",
    "head",
    "image_input",
    "score_tensor",
    "shape",
]

# Operators that multiply an input by weights, with the places of the two factors among their inputs.
PRODUCTS = {
    "Gemm": (0, 1), "MatMul": (0, 1), "Conv": (0, 1), "FusedMatMul": (0, 1), "FusedGemm": (0, 1), "FusedConv": (0, 1),
    "TransposeMatMul": (0, 1), "MatMulInteger": (0, 1), "ConvInteger": (0, 1), "Einsum": (0, 1),
    "QLinearMatMul": (0, 3), "QGemm": (0, 3), "QLinearConv": (0, 3), "NhwcFusedConv": (0, 1),
    "DynamicQuantizeMatMul": (0, 1), "MatMulIntegerToFloat": (0, 1), "MatMulNBits": (0, 1), "MatMulBnb4": (0, 1),
}  # fmt: skip
CONVOLUTIONS = ("Conv", "FusedConv", "NhwcFusedConv", "ConvInteger", "QLinearConv")
CLASSIFIERS = ("LinearClassifier", "SVMClassifier", "TreeEnsembleClassifier", "TreeEnsemble", "LinearRegressor")
SELECTORS = ("ZipMap", "ArgMax", "TopK")  # answer a selection or a map of scores, which are their first input
TRANSPARENT = (
    "Identity", "Cast", "Squeeze", "Unsqueeze", "Reshape", "Flatten", "ArrayFeatureExtractor", "LabelEncoder", "Gather",
)  # fmt: skip
QUANTISERS = ("QuantizeLinear", "DynamicQuantizeLinear")


@dataclass(frozen=True)
class Head:
    """The last weights before the class scores.

    `embeddings` are the tensors that they multiply, nearest to the scores first; `operators` are those between them
    and the scores, nearest to the scores first; `features_last` says whether weights multiply the last axis. Without
    weights, as in nearest neighbours, `missing_weights` says so, and `embeddings` are the tensors where a search ends.
    """

    embeddings: tuple[str, ...]
    operators: tuple[str, ...]
    features_last: bool
    missing_weights: str | None = None


def head(proto: ModelProto, scores: str) -> Head:
    """Go back from the scores, through any operator, to the last product of a tensor with constant weights.

    Without one the search stops at operators with a subgraph, which is not searched, or at the input.
    """
    graph = OnnxGraph(proto)
    nodes = graph.backwards(scores, lambda node: _factor(graph, node) is not None or _has_subgraph(node))
    products = [(node, factor) for node in nodes if (factor := _factor(graph, node)) is not None]
    if not products:
        return _head_without_weights(graph, scores, nodes)
    tensors = dict.fromkeys(_before_quantisation(graph, factor) for _, factor in products)
    if len(tensors) > 1:
        # Distilled networks normalise one embedding for each of their heads.
        shared = dict.fromkeys(_before_normalisation(graph, tensor) for tensor in tensors)
        tensors = shared if len(shared) == 1 else tensors
        # The scale of a dynamic quantisation leads past the last weights: what others are made of is not the nearest.
        ancestors = set().union(*(graph.ancestors(tensor) for tensor in tensors))
        tensors = {tensor: None for tensor in tensors if tensor not in ancestors}
    operators = [node.op_type for node in nodes if _factor(graph, node) is None]
    return Head(tuple(tensors), tuple(operators), features_last=products[0][0].op_type not in CONVOLUTIONS)


def embedding_tensor(proto: ModelProto, scores: str) -> str:
    """Return the tensor from which the last weights make the class scores, the nearest one where there are several.

    Raises
    ------
    BrokenBundle
        Nothing of the kind is on the way back from the scores.
    """
    last = head(proto, score_tensor(proto, scores))
    if last.missing_weights is not None:
        raise BrokenBundle(last.missing_weights)
    return last.embeddings[0]


def score_tensor(proto: ModelProto, output: str) -> str:
    """Return the tensor of class scores behind an output: itself, or what ZipMap, ArgMax or TopK selects from."""
    graph = OnnxGraph(proto)
    tensor = output
    while tensor in graph.makers:
        node = graph.makers[tensor]
        if node.op_type in CLASSIFIERS[:3] and list(node.output).index(tensor) == 0 and len(node.output) > 1:
            return str(node.output[1])
        if node.op_type in SELECTORS:
            return _without_casts(graph, node.input[0])
        if node.op_type not in TRANSPARENT:
            return output
        dynamic = [name for name in node.input if name in graph.dynamic]
        if not dynamic:
            return output
        tensor = dynamic[0]
    return output


def expose(proto: ModelProto, tensor: str) -> None:
    """Make a tensor of the graph an output, if it is none yet.

    Raises
    ------
    BrokenBundle
        The graph has no such tensor.
    """
    graph = OnnxGraph(proto)
    if tensor not in graph.makers and tensor not in graph.inputs:
        raise BrokenBundle(
            f"no tensor {tensor!r} in the graph, whose outputs are {', '.join(graph.outputs)}; leave output.embedding "
            "out to let Tidemark choose it"
        )
    if tensor not in graph.outputs:
        proto.graph.output.append(ValueInfoProto(name=tensor))


def _factor(graph: OnnxGraph, node: NodeProto) -> str | None:
    """Return the image's factor in a product with constant weights; None if the node is no such product."""
    if node.op_type in CLASSIFIERS:
        return str(node.input[0])
    if node.op_type == "Sub":
        return _compared_with_prototypes(graph, node)
    places = PRODUCTS.get(node.op_type)
    if places is None or len(node.input) <= places[1]:
        return None
    dynamic = [node.input[place] for place in places if node.input[place] in graph.dynamic]
    return str(dynamic[0]) if len(dynamic) == 1 else None


def _compared_with_prototypes(graph: OnnxGraph, node: NodeProto) -> str | None:
    """Return the tensor from which constant prototypes, several rows of several values, are subtracted."""
    constants = [graph.constants[name] for name in node.input if name in graph.constants]
    dynamic = [name for name in node.input if name in graph.dynamic]
    if len(constants) != 1 or len(dynamic) != 1 or sum(side > 1 for side in constants[0].dims) != 2:
        return None
    return str(dynamic[0])


def _head_without_weights(graph: OnnxGraph, scores: str, nodes: Sequence[NodeProto]) -> Head:
    opaque = [node for node in nodes if _has_subgraph(node)]
    location = f"it is inside the operator {opaque[0].op_type}" if opaque else "there is none"
    operands = [name for node in opaque for name in read_tensors(node) if name in graph.dynamic]
    return Head(
        tuple(dict.fromkeys(operands or sorted(graph.inputs))),
        tuple(node.op_type for node in nodes),
        features_last=True,
        missing_weights=f"no embedding: searched back from {scores!r} for a product with weights (Gemm, MatMul, Conv), "
        f"{location}: name a tensor of the graph by --embedding, or by output.embedding in model.toml",
    )


def _has_subgraph(node: NodeProto) -> bool:
    return any(attribute.HasField("g") for attribute in node.attribute)


def _before_quantisation(graph: OnnxGraph, tensor: str) -> str:
    while tensor in graph.makers and graph.makers[tensor].op_type in QUANTISERS:
        tensor = graph.makers[tensor].input[0]
    return tensor


def _before_normalisation(graph: OnnxGraph, tensor: str) -> str:
    node = graph.makers.get(tensor)
    return str(node.input[0]) if node is not None and node.op_type == "BatchNormalization" else tensor


def _without_casts(graph: OnnxGraph, tensor: str) -> str:
    while tensor in graph.makers and graph.makers[tensor].op_type in ("Identity", "Cast"):
        tensor = graph.makers[tensor].input[0]
    return tensor
