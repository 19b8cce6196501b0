"""Refuses scores that could be read in two ways: heads that were joined, and negative log-probabilities."""

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from .bundle import BrokenBundle
from .onnx_graph import OnnxGraph
from .onnx_inspect import PRODUCTS
from .score_search import SOFTMAXES, ScoreTensor, are_distributions


def check_joined_heads(proto: ModelProto, scores: ScoreTensor, rows: NDArray[np.float64]) -> None:
    """Refuse the concatenation of several heads, each with weights of its own, unless it has one distribution a row.

    Parameters
    ----------
    rows : NDArray[float64]
        (m, k), the scores of different images.

    Raises
    ------
    BrokenBundle
        The scores are several heads next to each other; the graph does not say whether their classes exclude each
        other.
    """
    heads = _joined_heads(OnnxGraph(proto), scores.tensor)
    if heads and not are_distributions(rows):
        raise BrokenBundle(
            f"{scores.output!r} joins the scores of several heads: {', '.join(heads)}; choose one by --output NAME, or "
            f"all as one set of classes by --output {scores.output}"
        )


def check_sign(scores: ScoreTensor, rows: NDArray[np.float64]) -> None:
    """Refuse negative log-probabilities, whose softmax would turn the order of the classes round.

    Raises
    ------
    BrokenBundle
        The exponentials of the negated scores are distributions.
    """
    if rows.shape[1] > 1 and rows.min() >= 0 and not are_distributions(rows) and are_distributions(np.exp(-rows)):
        raise BrokenBundle(
            f"{scores.output!r} answers -log p, which is smallest for the likeliest class: export log p instead, or "
            "name the tensor before the change of sign by --output NAME; if they are logits, --activation softmax"
        )


def _joined_heads(graph: OnnxGraph, tensor: str) -> list[str]:
    """Return the tensors that a concatenation makes the scores of, if each has weights of its own."""
    while tensor in graph.makers:
        node = graph.makers[tensor]
        sources = [name for name in node.input if name in graph.dynamic]
        if node.op_type == "Concat":
            weights = [_last_products(graph, name) for name in sources]
            is_disjoint = len(set().union(*weights)) == sum(map(len, weights))
            return sources if len(sources) > 1 and all(weights) and is_disjoint else []
        if node.op_type in (*PRODUCTS, *SOFTMAXES, "LogSoftmax") or len(sources) != 1:
            return []
        tensor = sources[0]
    return []


def _last_products(graph: OnnxGraph, tensor: str) -> set[str]:
    """Return the results of the last products with weights before a tensor."""
    nodes = graph.backwards(tensor, lambda node: node.op_type in PRODUCTS)
    return {node.output[0] for node in nodes if node.op_type in PRODUCTS}
