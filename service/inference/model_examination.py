"""Examines a classifier, by its graph and by running it: its input, and the tensors with its scores and embedding."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from . import onnx_inspect
from .ambiguous_scores import check_joined_heads, check_sign
from .batch_proof import choose_batch
from .bundle import BrokenBundle, InputSpec
from .dequantisation import dequantised
from .embedding_choice import choose_embedding
from .first_run import first_run, open_loaded
from .image_input import image_input
from .model_source import ModelSource
from .network import Network
from .presets import Preparation
from .probabilities import ModelFailed
from .probe_images import probe_images
from .score_search import Scores, ScoreTensor, choose_activation, choose_scores, score_tensors

Note = Callable[[str], None]


@dataclass(frozen=True)
class Hints:
    """Properties of a model that a user states, so that they need not be inferred.

    Parameters
    ----------
    size : tuple[int, int] or None
        Height and width of the input.
    channels : int or None
        1 or 3.
    output : str or None
        The output, or any tensor of the graph, with class scores.
    embedding : str or None
        Any tensor of the graph.
    activation : str or None
        The value of `OutputSpec.activation`.
    preprocessor : Path or None
        A file of Transformers or timm that states the preprocessing.
    """

    size: tuple[int, int] | None = None
    channels: int | None = None
    output: str | None = None
    embedding: str | None = None
    activation: str | None = None
    preprocessor: Path | None = None


@dataclass(frozen=True)
class ExaminedModel:
    """The content of a bundle's `model.toml`, and the graph with its scores and its embedding among the outputs."""

    proto: ModelProto
    input: InputSpec
    scores: Scores
    embedding: str
    embedding_layout: str


def examine(
    source: ModelSource, preparation: Preparation, preset_name: str | None, hints: Hints, note: Note
) -> ExaminedModel:
    """Infer the model's input, scores and embedding; the last two become outputs of the graph.

    Parameters
    ----------
    preset_name : str or None
        The preset that prepares the pixels, for messages.
    note : Note
        Called with each decision that a user should know of.

    Raises
    ------
    BrokenBundle
        The graph is not that of an image classifier, or a hint does not fit it.
    ModelFailed
        The model cannot be run.
    """
    image = image_input(source.proto, hints.channels, hints.size)
    candidates = score_tensors(source.proto, hints.output)
    probe = ModelProto()
    probe.CopyFrom(source.proto)
    for tensor in _probed_tensors(candidates, hints):
        onnx_inspect.expose(probe, tensor)
    session = open_loaded(probe, source.folder)
    spec, network = first_run(session, image, preparation, preset_name, note)
    images = probe_images(spec.size, spec.channels)
    scores = _scores(source.proto, candidates, network, images, hints, note)
    embedding, values = choose_embedding(network, scores, hints.embedding, images[0], note)
    embedding = dequantised(source.proto, embedding)
    del session, network  # two sessions hold the weights twice
    tensors = (scores.source.tensor, embedding)
    for tensor in tensors:
        onnx_inspect.expose(source.proto, tensor)
    _drop_maps(source.proto)
    choice = choose_batch(source.proto, source.folder, spec, image.batch, tensors, images, note)
    features_last = scores.source.head.features_last and values.ndim == 4
    spec = spec.model_copy(update={"batch": choice.batch})
    return ExaminedModel(choice.proto, spec, scores, embedding, "NHWC" if features_last else "NCHW")


def _scores(
    proto: ModelProto,
    candidates: list[ScoreTensor],
    network: Network,
    images: NDArray[np.uint8],
    hints: Hints,
    note: Note,
) -> Scores:
    """Choose the tensor with class scores and its activation, by its values for images that differ."""
    answers = {one.tensor: _run_one_by_one(network, images, one.tensor) for one in candidates}
    rows = {tensor: _finite(values) for tensor, values in answers.items()}
    usable = [one for one in candidates if len(rows[one.tensor]) or not len(answers[one.tensor])]
    if candidates and not usable:
        names = ", ".join(one.output for one in candidates)
        raise BrokenBundle(f"{names}: NaN or infinity for each of {len(images)} images: its weights may have diverged")
    source = choose_scores(proto, usable, rows, hints.output)
    score_rows = rows[source.tensor].reshape(len(rows[source.tensor]), -1)
    if hints.output is None:
        check_joined_heads(proto, source, score_rows)
    if hints.activation is None:
        check_sign(source, score_rows)
    scores = choose_activation(source, score_rows, hints.activation)
    if scores.activation == "sigmoid" and hints.activation is None:
        note(
            f"{source.output} is one score without a sigmoid in the graph: used as the logit of the second class; if "
            "it is its probability, give --activation none"
        )
    if source.tensor != source.output:
        note(f"{source.output} is made of the scores {source.tensor}, which are read instead")
    return scores


def _probed_tensors(candidates: list[ScoreTensor], hints: Hints) -> list[str]:
    """Return the tensors whose values are needed to choose scores and embedding."""
    if not candidates:
        return []
    embeddings = [tensor for one in candidates for tensor in one.head.embeddings]
    return [*(one.tensor for one in candidates), *([hints.embedding] if hints.embedding else embeddings)]


def _run_one_by_one(network: Network, images: NDArray[np.uint8], tensor: str) -> NDArray[Any]:
    """Return a tensor's values for each image run by itself; no rows if it has not one row an image."""
    try:
        return np.concatenate([network.predict(images[row : row + 1], [tensor])[0] for row in range(len(images))])
    except ModelFailed:
        return np.empty((0, 1, 0))


def _finite(values: NDArray[Any]) -> NDArray[Any]:
    """Return the rows that are finite: a black image has no deviation by which some graphs divide."""
    if values.dtype.kind != "f":
        return values
    rows: NDArray[Any] = values[np.isfinite(values.reshape(len(values), -1)).all(axis=1)]
    return rows


def _drop_maps(proto: ModelProto) -> None:
    """Take sequences and maps from the outputs: nobody reads them, and making them costs time in each run."""
    tensors = [output for output in proto.graph.output if output.type.WhichOneof("value") in (None, "tensor_type")]
    outputs = [type(output).FromString(output.SerializeToString()) for output in tensors]
    del proto.graph.output[:]
    proto.graph.output.extend(outputs)
