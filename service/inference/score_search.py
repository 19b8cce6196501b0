"""Finds a classifier's scores by running its graph: which tensor has a row of them, and what turns it into
probabilities."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto

from . import onnx_inspect
from .bundle import BrokenBundle
from .dequantisation import dequantised
from .image_input import shape
from .onnx_graph import OnnxGraph
from .onnx_inspect import Head
from .probabilities import ModelFailed, activate, distributions

# In the names of outputs that are not class scores although they have their shape.
EMBEDDING_WORDS = ("embed", "feature", "hidden")
REGRESSION_WORDS = ("box", "regress", "coord", "landmark", "keypoint", "depth")
LOGARITHMS = ("Log", "LogSoftmax")
SOFTMAXES = ("Softmax", "QLinearSoftmax")
SIGMOIDS = ("Sigmoid", "HardSigmoid", "QLinearSigmoid")
NUMBERS = (
    TensorProto.UNDEFINED, TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16,
    TensorProto.UINT8, TensorProto.INT8,
)  # fmt: skip


@dataclass(frozen=True)
class ScoreTensor:
    """A tensor that may hold class scores: the output that led to it, and the last weights before it."""

    output: str
    tensor: str
    head: Head

    @property
    def has_weights(self) -> bool:
        """Whether a product with weights makes the scores."""
        return self.head.missing_weights is None


@dataclass(frozen=True)
class Scores:
    """The class scores: how many classes they stand for, and what makes them probabilities."""

    source: ScoreTensor
    classes: int
    activation: str


def score_tensors(proto: ModelProto, requested: str | None) -> list[ScoreTensor]:
    """Return the tensors that may hold class scores, by the graph: one for each output, or the one asked for.

    Raises
    ------
    BrokenBundle
        The graph has no tensor of the name that was asked for.
    """
    if requested is not None:
        onnx_inspect.expose(proto, requested)
    graph = OnnxGraph(proto)
    candidates: dict[str, ScoreTensor] = {}
    for output in proto.graph.output if requested is None else ():
        tensor = onnx_inspect.score_tensor(proto, output.name)
        is_map = not output.type.HasField("tensor_type") and output.type.WhichOneof("value") is not None
        if tensor == output.name and (is_map or output.type.tensor_type.elem_type not in NUMBERS):
            continue
        if tensor in graph.dynamic:
            tensor = dequantised(proto, tensor)
            candidates.setdefault(tensor, ScoreTensor(output.name, tensor, onnx_inspect.head(proto, tensor)))
    if requested is not None:
        tensor = dequantised(proto, onnx_inspect.score_tensor(proto, requested))
        candidates[tensor] = ScoreTensor(requested, tensor, onnx_inspect.head(proto, tensor))
    return list(candidates.values())


def choose_scores(
    proto: ModelProto, candidates: Sequence[ScoreTensor], rows: dict[str, NDArray[Any]], requested: str | None
) -> ScoreTensor:
    """Return the one candidate that holds class scores, by what it answered to different images.

    Parameters
    ----------
    rows : dict[str, NDArray[Any]]
        The answers of each candidate's tensor, a row an image.

    Raises
    ------
    BrokenBundle
        There is none, or more than one and none was asked for.
    """
    scores = [candidate for candidate in candidates if _is_row(rows[candidate.tensor])]
    if requested is not None and scores:
        return scores[0]
    widths = {score.tensor: int(np.prod(rows[score.tensor].shape[1:])) for score in scores}
    weighted = [score for score in scores if score.has_weights]
    # Nearest neighbours, for example, have no weights: their scores are distributions of votes.
    votes = [score for score in scores if widths[score.tensor] > 1 and are_distributions(_flat(rows[score.tensor]))]
    varying = [score for score in weighted or votes if np.ptp(rows[score.tensor], axis=0).max() > 0]
    final = _without_intermediate(varying, OnnxGraph(proto), widths)
    likely = [score for score in final if not _has_name(score, EMBEDDING_WORDS + REGRESSION_WORDS)]
    if len(likely) == 1:
        return likely[0]
    if likely:
        listed = ", ".join(f"{score.output} ({widths[score.tensor]})" for score in likely)
        raise BrokenBundle(f"several outputs could hold the class scores: {listed}; choose one by --output NAME")
    constant = [score.output for score in weighted if score not in varying]
    if constant and not varying:
        raise BrokenBundle(
            f"{', '.join(constant)}: the same scores for eight different images; a network with untrained weights may "
            "answer so. Export the trained one, or name the output by --output NAME"
        )
    outputs = ", ".join(f"{output.name} {shape(output)}" for output in proto.graph.output)
    if scores:
        outputs += "; if one of them holds class scores, name it by --output NAME"
    raise BrokenBundle(
        "no classifier: expected an output N×k of class scores made by a product with weights (Gemm, MatMul, Conv), "
        f"found {outputs}"
    )


def _without_intermediate(
    scores: Sequence[ScoreTensor], graph: OnnxGraph, widths: Mapping[str, int]
) -> list[ScoreTensor]:
    """Return the scores that no other one replaces.

    Of logits and the probabilities made of them these are the probabilities; of scores and their largest value, the
    scores.
    """
    ancestors = {score.tensor: graph.ancestors(score.tensor) for score in scores}

    def replaces(other: ScoreTensor, score: ScoreTensor) -> bool:
        if widths[other.tensor] <= 1:
            return False
        is_made_of_score = score.tensor in ancestors[other.tensor]
        return is_made_of_score or (widths[score.tensor] == 1 and other.tensor in ancestors[score.tensor])

    return [score for score in scores if not any(replaces(other, score) for other in scores)]


def choose_activation(scores: ScoreTensor, rows: NDArray[np.float64], requested: str | None) -> Scores:
    """Return how scores become probabilities, by the operators before them and by their values.

    Parameters
    ----------
    rows : NDArray[float64]
        (m, k), the scores of different images.

    Raises
    ------
    BrokenBundle
        They are independent sigmoids, or what was asked for does not make them probabilities.
    """
    classes = max(2, rows.shape[1])
    if requested is not None:
        _check_activation(scores, rows, requested)
        return Scores(scores, classes, requested)
    operators = scores.head.operators
    last = next((operator for operator in operators if operator in LOGARITHMS + SOFTMAXES + SIGMOIDS), None)
    lie_in_unit = bool(rows.min() >= 0 and rows.max() <= 1)
    if rows.shape[1] == 1:
        # Noise may lie in 0..1 by chance: without a sigmoid in the graph a single score is a logit.
        squashes = last in SIGMOIDS + SOFTMAXES or "Exp" in operators
        return Scores(scores, classes, "none" if squashes and lie_in_unit else "sigmoid")
    if last in LOGARITHMS:
        return Scores(scores, classes, "softmax")  # the softmax of log-probabilities are the probabilities
    if are_distributions(rows):
        return Scores(scores, classes, "none")
    if last in SOFTMAXES and lie_in_unit and (rows.sum(axis=1) < classes / 100 + 2).all():
        return Scores(scores, classes, "normalise")
    if last in SIGMOIDS and lie_in_unit:
        raise BrokenBundle(
            f"{scores.output!r} is {classes} independent sigmoids, of which several may be high: a multi-label model. "
            "Tidemark watches models that give an image one class: their probabilities add up to 1. If the classes "
            "exclude each other, --activation normalise divides by the sum"
        )
    return Scores(scores, classes, "softmax")


def _is_row(values: NDArray[Any]) -> bool:
    """Check whether an answer is one row of numbers per image: all axes but one have length 1."""
    sides = values.shape[1:]
    return values.dtype.kind in "fiu" and int(np.prod(sides)) == max(sides, default=1)


def _flat(rows: NDArray[Any]) -> NDArray[np.float64]:
    return rows.reshape(len(rows), -1).astype(np.float64)


def _has_name(scores: ScoreTensor, words: Sequence[str]) -> bool:
    return any(word in scores.output.lower() for word in words)


def are_distributions(rows: NDArray[np.float64]) -> bool:
    """Check whether each row is a probability distribution, as far as rounding allows."""
    try:
        distributions(rows.astype(np.float32))
    except ModelFailed:
        return False
    return True


def _check_activation(scores: ScoreTensor, rows: NDArray[np.float64], activation: str) -> None:
    if activation not in ("none", "softmax", "sigmoid", "normalise"):
        raise BrokenBundle(f"--activation: expected none, softmax, sigmoid or normalise, got {activation!r}")
    probabilities = activate(rows.astype(np.float32), activation)
    if activation != "softmax" and not are_distributions(np.asarray(probabilities, np.float64)):
        raise BrokenBundle(
            f"--activation {activation}: {scores.output} answers {rows.min():.3g} to {rows.max():.3g}, which does not "
            "make probabilities that add up to 1"
        )
