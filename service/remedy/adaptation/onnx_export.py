"""Writes new bundles: a model with another last layer, or with posteriors corrected for other class proportions.

What is written is run before it is handed over: it must say what numpy says.
"""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto

from ...drift.temperature_scaling import LOG_OFFSET, PriorCorrection
from ...folders import require_empty
from ...inference import bundle as bundles
from ...inference import onnx_inspect
from ...inference.bundle import MODEL_FILE, BrokenBundle, Bundle, Spec, write_spec
from ...inference.model import Model
from ...inference.runtime import open_session
from .head import Head, ResidualAdapter
from .onnx_surgery import Ending, drop_outputs_behind

ADAPTED, CORRECTED = "+adapted", "+corrected"  # behind the version
MIN_CLASS_WEIGHT = 1e-12  # a class of which nothing was found keeps this much, for its logarithm is taken
PROBES = 16  # random images on which a written bundle is compared with numpy
TOLERANCE, HALF_TOLERANCE = 1e-5, 2e-3  # largest error of probabilities, of models in float32 and in float16

Floats = NDArray[np.float32]
Matrix = NDArray[np.float64]


def with_head(bundle: Bundle, head: Head, out: Path, adapter: ResidualAdapter | None = None) -> Bundle:
    """Write a bundle whose class scores are made by `head` out of the model's embedding, bent where that is asked for;
    version `+adapted`.

    The input keeps its name, shape and type, and so does the output that `model.toml` names; further outputs are
    kept unless they come out of the old last layer.

    Raises
    ------
    BrokenBundle
        `out` holds files, the graph cannot be changed so, or what was written does not say what numpy says.
    """
    proto = onnx.load(bundle.model_path)
    scores = bundle.output.probabilities
    embedding = bundle.output.embedding or onnx_inspect.embedding_tensor(proto, scores)
    onnx_inspect.expose(proto, embedding)
    hidden, old = _on_blank(bundle, proto, embedding), _on_blank(bundle, proto, scores)
    drop_outputs_behind(proto, scores, embedding)
    graph = Ending(proto, scores)
    single = old.size == 1  # the second class alone
    weights, offsets = (_against_first(head.weights), _against_first(head.offsets)) if single else head
    read = graph.pooled(embedding, hidden.ndim)
    if adapter is not None:
        adapted = graph.add("Relu", graph.add("Gemm", read, *adapter.inner))
        read = graph.add("Add", graph.add("Gemm", read, *adapter.straight), graph.add("Gemm", adapted, *adapter.outer))
    scores = graph.add("Gemm", read, weights, offsets)
    if bundle.output.activation == "none":
        scores = graph.add("Sigmoid", scores) if single else graph.add("Softmax", scores, axis=1)
    graph.finish(scores, old)

    def expected(_describe_ranges: Floats, embeddings: Floats) -> Matrix:
        return head.probabilities(embeddings if adapter is None else adapter(embeddings))

    return _write(bundle, proto, out, ADAPTED, embedding, expected)


def with_priors(bundle: Bundle, correction: PriorCorrection, out: Path) -> Bundle:
    """Write a bundle that answers calibrated posteriors corrected for other class proportions; version `+corrected`.

    The graph goes on with softmax(slope log(p + 1e-6) + bias + log w); a model of logits answers logits as before.
    Further outputs stay as they are.

    Raises
    ------
    BrokenBundle
        `out` holds files, or what was written does not say what numpy says.
    """
    proto = onnx.load(bundle.model_path)
    scores = bundle.output.probabilities
    old = _on_blank(bundle, proto, scores)
    graph = Ending(proto, scores)
    single, activation = old.size == 1, bundle.output.activation
    weights = np.maximum(correction.weights, MIN_CLASS_WEIGHT)
    offsets = correction.bias + np.log(weights)
    probabilities = graph.rows(graph.old, old.size)
    if activation != "none":
        probabilities = (
            graph.add("Softmax", probabilities, axis=1)
            if activation == "softmax"
            else graph.add("Sigmoid", probabilities)
        )
    scores = graph.add("Log", graph.add("Add", probabilities, np.array([[LOG_OFFSET]])))
    if single:
        other = graph.add("Sub", np.array([[1 + LOG_OFFSET]]), probabilities)
        scores = graph.add("Sub", scores, graph.add("Log", other))
        offsets = _against_first(offsets)
    scores = graph.add("Add", graph.add("Mul", scores, np.array([[correction.slope]])), offsets[None])
    if activation == "none":
        scores = graph.add("Sigmoid", scores) if single else graph.add("Softmax", scores, axis=1)
    graph.finish(scores, old)
    floored = replace(correction, weights=weights)
    return _write(
        bundle,
        proto,
        out,
        CORRECTED,
        bundle.output.embedding,
        lambda probabilities, _embeddings: floored(probabilities),
    )


def _against_first(values: Matrix) -> Matrix:
    """Return the second class's values minus the first's, as a model that answers one score needs them."""
    return np.asarray(values[..., 1:] - values[..., :1])


def _on_blank(bundle: Bundle, proto: ModelProto, tensor: str) -> NDArray[np.floating]:
    """Return the value of an output on one blank image, which has its shape and type."""
    try:
        session = open_session(proto.SerializeToString(), bundle.folder)
        image = onnx_inspect.image_input(proto)
        sides = (image.channels, *bundle.input.size) if image.layout == "NCHW" else (*bundle.input.size, image.channels)
        [values] = session.run([tensor], {image.name: np.zeros((1, *sides), image.dtype)})
    except Exception as error:  # onnxruntime's exceptions have no common base of their own
        raise BrokenBundle(f"{bundle.model_path}: cannot run it: {' '.join(str(error).split())[:200]}") from None
    return np.asarray(values)


def _write(
    bundle: Bundle,
    proto: ModelProto,
    out: Path,
    suffix: str,
    embedding: str | None,
    expected: Callable[[Floats, Floats], Matrix],
) -> Bundle:
    """Write a changed model next to its `model.toml`, and compare it with numpy on random images."""
    require_empty(out)
    output = bundle.output.model_copy(update={"embedding": embedding})
    version = bundle.version + suffix
    spec = Spec(name=bundle.name, version=version, labels=bundle.labels, input=bundle.input, output=output)
    try:
        out.mkdir(parents=True, exist_ok=True)
        onnx.save(proto, out / MODEL_FILE)
        write_spec(out, spec)
        written = bundles.load(out)
        _compare(bundle, written, expected)
    except Exception:
        shutil.rmtree(out, ignore_errors=True)
        raise
    return written


def _compare(bundle: Bundle, written: Bundle, expected: Callable[[Floats, Floats], Matrix]) -> None:
    channels = [3] if bundle.input.channels == 3 else []
    images = np.random.default_rng(0).integers(0, 256, (PROBES, *bundle.input.size, *channels), dtype=np.uint8)
    of_model, embeddings = Model(bundle, threads=1).predict(images)
    probabilities, same = Model(written, threads=1).predict(images)
    half = _in_half_precision(onnx.load(written.model_path, load_external_data=False))
    difference = float(np.abs(probabilities - expected(of_model, embeddings)).max())
    if difference > (HALF_TOLERANCE if half else TOLERANCE) or not np.array_equal(same, embeddings):
        raise BrokenBundle(f"{written.folder}: the model written is off by {difference:.2g} from what numpy computes")


def _in_half_precision(proto: ModelProto) -> bool:
    """Check whether float16 numbers enter or leave a model."""
    ends = [*proto.graph.input, *proto.graph.output]
    return any(value.type.tensor_type.elem_type == TensorProto.FLOAT16 for value in ends)
