"""Makes a bundle of any ONNX classifier: finds out by its graph, and by running it, what `model.toml` has to state."""

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto
from pydantic import ValidationError

from ..folders import require_empty
from . import onnx_inspect
from .ambiguous_scores import check_joined_heads, check_sign
from .batch_proof import choose_batch
from .bundle import BrokenBundle, Bundle, InputSpec, Spec, first_problem, load, write_spec
from .embedding_choice import choose_embedding
from .first_run import first_run, open_loaded
from .image_input import image_input
from .labels_file import read_labels, unique_labels
from .model_source import ModelSource, find_model, read_model
from .network import Network
from .presets import Preparation, preset, read_preparation
from .probabilities import ModelFailed
from .probe_images import probe_images
from .score_search import Scores, ScoreTensor, choose_activation, choose_scores, score_tensors

Note = Callable[[str], None]


@dataclass(frozen=True)
class Hints:
    """What a user states of a model instead of having it found.

    Parameters
    ----------
    size : height and width of the input.
    channels : 1 or 3.
    output : the output, or any tensor of the graph, with class scores.
    embedding : any tensor of the graph.
    activation : as `OutputSpec.activation`.
    preprocessor : a file of Transformers or timm that states the preprocessing.
    """

    size: tuple[int, int] | None = None
    channels: int | None = None
    output: str | None = None
    embedding: str | None = None
    activation: str | None = None
    preprocessor: Path | None = None


@dataclass(frozen=True)
class _Examined:
    proto: ModelProto
    image: InputSpec
    scores: Scores
    embedding: str
    embedding_layout: str


def init_bundle(
    model: Path,
    out: Path,
    name: str | None = None,
    version: str = "1",
    labels: Path | None = None,
    preset: str | None = None,
    hints: Hints = Hints(),
    note: Note = lambda _text: None,
) -> Bundle:
    """Write a bundle for any ONNX classifier; the original file is not changed.

    Parameters
    ----------
    model : the classifier, one image input and class scores among its outputs; or a folder with it, whose
        `preprocessor_config.json` and `config.json` are read.
    out : folder to make; must be empty or not exist.
    labels : text file with one label a line. By default those of `config.json`, else "0", "1", ...
    preset : how pixels are prepared, see `presets.PRESETS`; 0..1 by default, or what the graph or a file states.
    note : called with each thing that a user should know of what was found.

    Raises
    ------
    BrokenBundle
        What was expected and what was found, in one line, with the option that helps.
    ConfigurationError
        `out` is not an empty folder.
    """
    require_empty(out)
    preparation = _preparation(model, preset, hints)
    file = find_model(model)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise BrokenBundle(f"{out}: cannot write the bundle: {error}") from None
    try:
        source = read_model(file, work)
        try:
            examined = _examine(source, preparation, preset, hints, note)
        except (BrokenBundle, ModelFailed) as error:
            raise BrokenBundle(f"{file}: {error}") from None
        source.proto = examined.proto
        spec = _spec(
            examined,
            name or _name(model.resolve().name if model.is_dir() else model.stem),
            version,
            _labels(labels, preparation, examined, note),
        )
        source.save()
        write_spec(work, spec)
        if out.exists():
            out.rmdir()
        work.chmod(0o777 & ~_umask())
        work.rename(out)
    except OSError as error:
        raise BrokenBundle(f"{out}: cannot write the bundle: {error}") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return load(out)


def _preparation(model: Path, named: str | None, hints: Hints) -> Preparation:
    """Return what files or a preset state: a preset wins over files."""
    preparation = Preparation()
    if hints.preprocessor is not None:
        if not hints.preprocessor.exists():
            raise BrokenBundle(f"--preprocessor: no such file: {hints.preprocessor}")
        preparation = read_preparation(hints.preprocessor)
    elif model.is_dir():
        preparation = read_preparation(model)
    if named is not None:
        preparation.settings |= preset(named)
    return preparation


def _examine(source: ModelSource, preparation: Preparation, named: str | None, hints: Hints, note: Note) -> _Examined:
    """Find out what the model takes and gives; the graph gets its scores and its embedding as outputs."""
    image = image_input(source.proto, hints.channels, hints.size)
    candidates = score_tensors(source.proto, hints.output)
    probe = ModelProto()
    probe.CopyFrom(source.proto)
    for tensor in _probed_tensors(candidates, hints):
        onnx_inspect.expose(probe, tensor)
    session = open_loaded(probe, source.folder)
    spec, network = first_run(session, image, preparation, named, note)
    images = probe_images(spec.size, spec.channels)
    rows = {one.tensor: _finite(_alone(network, images, one.tensor)) for one in candidates}
    chosen = choose_scores(source.proto, candidates, rows, hints.output)
    score_rows = rows[chosen.tensor].reshape(len(rows[chosen.tensor]), -1)
    if hints.output is None:
        check_joined_heads(source.proto, chosen, score_rows)
    if hints.activation is None:
        check_sign(chosen, score_rows)
    scores = choose_activation(chosen, score_rows, hints.activation)
    if scores.activation == "sigmoid" and hints.activation is None:
        note(
            f"{chosen.output} is one score without a sigmoid in the graph: taken as the logit of the second class; if "
            "it is its probability, give --activation none"
        )
    if chosen.tensor != chosen.output:
        note(f"{chosen.output} is made of the scores {chosen.tensor}, which are read instead")
    if chosen.head is None and hints.embedding is None:
        onnx_inspect.head(source.proto, chosen.tensor)  # raises the reason
    embedding, values = choose_embedding(network, scores, hints.embedding, images[0], note)
    del session, network  # two sessions hold the weights twice
    for tensor in (chosen.tensor, embedding):
        onnx_inspect.expose(source.proto, tensor)
    _drop_maps(source.proto)
    choice = choose_batch(source.proto, source.folder, spec, image.batch, (chosen.tensor, embedding), images, note)
    features_last = chosen.head is not None and chosen.head.features_last and values.ndim == 4
    spec = spec.model_copy(update={"batch": choice.batch})
    return _Examined(choice.proto, spec, scores, embedding, "NHWC" if features_last else "NCHW")


def _probed_tensors(candidates: list[ScoreTensor], hints: Hints) -> list[str]:
    """Return the tensors whose values are needed to choose scores and embedding."""
    if not candidates:
        return []
    embeddings = [tensor for one in candidates if one.head for tensor in one.head.embeddings]
    return [*(one.tensor for one in candidates), *([hints.embedding] if hints.embedding else embeddings)]


def _alone(network: Network, images: NDArray[np.uint8], tensor: str) -> NDArray[Any]:
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


def _spec(examined: _Examined, name: str, version: str, labels: tuple[str, ...]) -> Spec:
    scores = examined.scores
    content = {
        "name": name,
        "version": version,
        "labels": labels,
        "input": examined.image.model_dump(),
        "output": {
            "probabilities": scores.source.tensor,
            "activation": scores.activation,
            "embedding": examined.embedding,
            "embedding_layout": examined.embedding_layout,
        },
    }
    try:
        return Spec.model_validate(content)
    except ValidationError as error:
        raise BrokenBundle(first_problem(error)) from None


def _labels(path: Path | None, preparation: Preparation, examined: _Examined, note: Note) -> tuple[str, ...]:
    classes = examined.scores.classes
    if path is not None:
        names = read_labels(path)
        if len(names) != classes:
            raise BrokenBundle(f"--labels: {path} has {len(names)} labels, the model has {classes} classes")
        return unique_labels(names, note)
    if preparation.labels is not None:
        if len(preparation.labels) == classes:
            return unique_labels(preparation.labels, note)
        note(f"config.json has {len(preparation.labels)} labels, the model {classes} classes: labels are their numbers")
    return tuple(str(index) for index in range(classes))


def _name(text: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in text)[:128] or "model"


def _umask() -> int:
    """Return the process's mask for new files, which a temporary folder does not follow."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
