"""Makes a bundle of any ONNX classifier, whose `model.toml` states what an examination of the model showed."""

import os
import shutil
import tempfile
from pathlib import Path

from pydantic import ValidationError

from ..errors import first_problem
from ..folders import require_empty
from .bundle import BrokenBundle, Bundle, Spec, load, write_spec
from .class_names import class_names
from .labels_file import read_labels, unique_labels
from .model_examination import ExaminedModel, Hints, Note, examine
from .model_source import find_model, read_model
from .presets import Preparation, preset, read_preparation
from .probabilities import ModelFailed


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
    model : Path
        The classifier, one image input and class scores among its outputs; or a folder with it, whose
        `preprocessor_config.json` and `config.json` are read.
    out : Path
        Folder to make; must be empty or not exist.
    labels : Path or None
        Text file with one label a line. By default those of `config.json` or of the graph, else "0", "1", ...
    preset : str or None
        How pixels are prepared, see `presets.PRESETS`; 0..1 by default, or what the graph or a file states.
    note : Note
        Called with each thing that a user should know of what was found.

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
            examined = examine(source, preparation, preset, hints, note)
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


def _preparation(model: Path, preset_name: str | None, hints: Hints) -> Preparation:
    """Return what files or a preset state: a preset wins over files."""
    preparation = Preparation()
    if hints.preprocessor is not None:
        if not hints.preprocessor.exists():
            raise BrokenBundle(f"--preprocessor: no such file: {hints.preprocessor}")
        preparation = read_preparation(hints.preprocessor)
    elif model.is_dir():
        preparation = read_preparation(model)
    if preset_name is not None:
        preparation.settings |= preset(preset_name)
    return preparation


def _spec(examined: ExaminedModel, name: str, version: str, labels: tuple[str, ...]) -> Spec:
    scores = examined.scores
    content = {
        "name": name,
        "version": version,
        "labels": labels,
        "input": examined.input.model_dump(),
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


def _labels(path: Path | None, preparation: Preparation, examined: ExaminedModel, note: Note) -> tuple[str, ...]:
    classes = examined.scores.classes
    if path is not None:
        names = read_labels(path)
        if len(names) != classes:
            raise BrokenBundle(f"--labels: {path} has {len(names)} labels, the model has {classes} classes")
        return unique_labels(names, note)
    if preparation.labels is not None:
        if len(preparation.labels) == classes:
            return unique_labels(preparation.labels, note)
        note(f"config.json has {len(preparation.labels)} labels, the model {classes} classes: it is ignored")
    return unique_labels(class_names(examined.proto, classes) or [str(index) for index in range(classes)], note)


def _name(text: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in text)[:128] or "model"


def _umask() -> int:
    """Return the process's mask for new files, which a temporary folder does not follow."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
