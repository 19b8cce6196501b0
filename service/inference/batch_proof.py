"""Decides by experiment in which batch sizes a graph may run: different images alone, together and twice, every row
of scores and embedding compared."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, numpy_helper
from onnx.external_data_helper import load_external_data_for_tensor, uses_external_data

from . import onnx_inspect, operator_checks
from .batch_axis import free_batch_axis, shape_tensors
from .batch_independence import is_independent
from .bundle import BrokenBundle, InputSpec
from .network import Network
from .onnx_graph import OnnxGraph
from .probabilities import ModelFailed
from .runtime import open_session

TOLERANCE = 2e-3  # share of the values' range that another order of float32 sums explains
COARSE_TOLERANCE = 2e-2  # the same for float16, and for quantised tensors, whose values may fall on the next step

Answers = list[NDArray[Any]]


@dataclass(frozen=True)
class BatchChoice:
    """The graph to serve, and the batch size that it is bound to, None for any."""

    proto: ModelProto
    batch: int | None


@dataclass(frozen=True)
class _Proof:
    """What shows that a network answers each image in a batch as the original graph answers it alone.

    `single_answers` are the original's; with `has_common_scale` all images of a batch are quantised by one scale, so
    that each has a slight effect on the others, by design.
    """

    images: NDArray[np.uint8]
    tensors: Sequence[str]
    single_answers: Answers
    tolerance: float
    has_common_scale: bool

    def holds_alone(self, network: Network) -> bool:
        answers = _run_one_by_one(network, self.images, self.tensors)
        return _are_equal(self.single_answers, answers, self.tolerance)

    def holds_for(self, network: Network) -> bool:
        try:
            answers = network.predict(self.images, self.tensors)
            return _are_equal(self.single_answers, answers, self.tolerance) and (
                self.has_common_scale or is_independent(partial(network.predict, outputs=self.tensors), self.images)
            )
        except ModelFailed:
            return False


def choose_batch(
    proto: ModelProto,
    folder: Path,
    spec: InputSpec,
    declared: int | None,
    tensors: Sequence[str],
    images: NDArray[np.uint8],
    note: Callable[[str], None],
) -> BatchChoice:
    """Return a graph and its batch size with which each image's answer is the one that it gets alone.

    Parameters
    ----------
    proto : ModelProto
        The graph, with `tensors` among its outputs.
    declared : int or None
        The batch size that the graph's input declares, None if it is free.
    tensors : sequence of str
        Scores and embedding.
    images : NDArray[uint8]
        Different images.

    Raises
    ------
    BrokenBundle
        The graph answers otherwise when run again, or by design depends on the other images of its batch.
    """
    training = operator_checks.training_operators(proto)
    if training:
        raise BrokenBundle(
            f"exported in training mode: {', '.join(training[:3])}; export it in evaluation mode (model.eval())"
        )
    tolerance = COARSE_TOLERANCE if operator_checks.is_coarse(proto) else TOLERANCE
    original = Network(open_session(proto.SerializeToString(), folder), spec)
    single_answers = _run_one_by_one(original, images, tensors)
    if not _are_equal(single_answers, _run_one_by_one(original, images, tensors), tolerance):
        named = operator_checks.random_operators(proto)
        raise BrokenBundle(
            f"the same image gets different answers: {', '.join(named[:3]) or 'some operator is random'}"
        )
    if not spec.is_batched:
        note("the graph takes a single image: images run one at a time; export a batch axis for more speed")
        return BatchChoice(proto, None)
    proof = _Proof(images, tensors, single_answers, tolerance, has_common_scale=operator_checks.has_common_scale(proto))
    if declared is None:
        if proof.holds_for(original):
            return BatchChoice(proto, None)
        note(
            "the answer to an image depends on the others in its batch: images run one at a time, which costs speed "
            "under load; a graph that treats each image by itself runs them together"
        )
        return BatchChoice(proto, 1)
    if declared > 1 and not proof.holds_for(original):
        raise BrokenBundle(
            f"the batch size is fixed at {declared}, and the answer to an image depends on the others in its batch: "
            "export it with a batch size of 1"
        )
    del original  # two sessions hold the weights twice
    for dynamic_proto in _free_batch(proto, folder, spec, declared, images):
        if _is_equal(dynamic_proto, folder, spec, proof):
            return BatchChoice(dynamic_proto, None)
    note(
        f"the graph is bound to a batch size of {declared}: images run "
        f"{'one at a time' if declared == 1 else f'in batches of {declared}, filled up'}, which costs speed under "
        "load; export it with a dynamic batch axis for more speed"
    )
    return BatchChoice(proto, None)


def _free_batch(
    proto: ModelProto, folder: Path, spec: InputSpec, declared: int, images: NDArray[np.uint8]
) -> Iterator[ModelProto]:
    """Yield candidates with a free batch axis, one after the other; none if its shapes cannot be computed."""
    constants = OnnxGraph(proto).constants
    values: dict[str, NDArray[Any]] = {}
    computed: list[str] = []
    for name in shape_tensors(proto):
        if name in constants:
            values[name] = _constant(constants[name], folder)
        else:
            computed.append(name)
    if computed:
        probe = ModelProto()
        probe.CopyFrom(proto)
        for name in computed:
            onnx_inspect.expose(probe, name)
        try:
            network = Network(open_session(probe.SerializeToString(), folder), spec)
            values |= zip(computed, network.run_once(images[0], computed), strict=True)
        except (BrokenBundle, ModelFailed):
            return
    for sequence_first in (False, True):
        yield free_batch_axis(proto, spec.name, declared, values, sequence_first)


def _constant(tensor: TensorProto, folder: Path) -> NDArray[Any]:
    """Return the values of a constant tensor, also of one with external data."""
    loaded = TensorProto()
    loaded.CopyFrom(tensor)
    if uses_external_data(loaded):
        load_external_data_for_tensor(loaded, str(folder))
    return np.asarray(numpy_helper.to_array(loaded))


def _is_equal(dynamic_proto: ModelProto, folder: Path, spec: InputSpec, proof: _Proof) -> bool:
    """Check whether a freed graph gives every image the original's answer, alone and together with others."""
    try:
        network = Network(open_session(dynamic_proto.SerializeToString(), folder), spec)
        return proof.holds_alone(network) and proof.holds_for(network)
    except (BrokenBundle, ModelFailed):
        return False


def _run_one_by_one(network: Network, images: NDArray[np.uint8], tensors: Sequence[str]) -> Answers:
    runs = [network.predict(images[row : row + 1], tensors) for row in range(len(images))]
    return [np.concatenate(parts) for parts in zip(*runs, strict=True)]


def _are_equal(expected: Answers, answers: Answers, tolerance: float) -> bool:
    """Compare every row; where both are not finite (a division by the deviation of a black image) they are equal."""
    for left, right in zip(expected, answers, strict=True):
        if left.shape != right.shape:
            return False
        a, b = left.astype(np.float64), right.astype(np.float64)
        finite = a[np.isfinite(a)]
        room = tolerance * (np.ptp(finite) if len(finite) else 0) + 1e-6
        if not np.allclose(a, b, rtol=0, atol=room, equal_nan=True):
            return False
    return True
