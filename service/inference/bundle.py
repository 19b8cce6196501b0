"""A bundle: a folder with `model.onnx` and `model.toml`, which states how to feed the model and what it answers.

Without a `model.onnx` the model is served elsewhere and only observed here.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path

import tomli_w
from pydantic import ValidationError

from ..errors import first_problem
from ..model_key import ModelKey
from . import identity
from .bundle_spec import BrokenBundle, InputSpec, OutputSpec, Spec

__all__ = [
    "AnyBundle",
    "BrokenBundle",
    "Bundle",
    "InputSpec",
    "OutputSpec",
    "Spec",
    "load",
    "load_any",
]

MODEL_FILE = "model.onnx"
BASELINE_FILE = "baseline.npz"  # the traffic that a remedy's bundle was made for
SPEC_FILE = "model.toml"


@dataclass(frozen=True)
class AnyBundle:
    """The validated content of `model.toml`, of a model that runs here or is served elsewhere.

    `sha256` covers the model file, its external data, and the parts of `model.toml` that change what it computes; of
    a model that is served elsewhere, all of `model.toml` but its input.
    """

    folder: Path
    name: str
    version: str
    labels: tuple[str, ...]
    output: OutputSpec
    sha256: str

    @property
    def key(self) -> ModelKey:
        """The name and version under which its predictions are logged."""
        return ModelKey(self.name, self.version)

    @property
    def former_sha256(self) -> str | None:
        """The SHA-256 that earlier releases pinned: of the model file alone."""
        return None


@dataclass(frozen=True)
class Bundle(AnyBundle):
    """A bundle with its model file, which runs here; `files_sha256` covers the model file and its external data."""

    input: InputSpec
    files_sha256: str

    @property
    def former_sha256(self) -> str:
        """The SHA-256 that earlier releases pinned: of the model file alone, if it has no external data."""
        return self.files_sha256

    @property
    def model_path(self) -> Path:
        """The model file."""
        return self.folder / MODEL_FILE


def load(folder: Path) -> Bundle:
    """Read a bundle whose model runs here.

    Raises
    ------
    BrokenBundle
        A file is missing, or `model.toml` holds an invalid value.
    """
    bundle = load_any(folder)
    if not isinstance(bundle, Bundle):
        raise BrokenBundle(f"{folder} is not a bundle: {MODEL_FILE} is missing; make one with `tidemark model init`")
    return bundle


def load_any(folder: Path) -> AnyBundle:
    """Read a bundle, or without a model file that of a model which is served elsewhere.

    Raises
    ------
    BrokenBundle
        `model.toml` is missing, holds an invalid value, or lacks what the model needs; or a file with external data of
        the model is missing.
    """
    path = folder / SPEC_FILE
    if not path.is_file():
        raise BrokenBundle(f"{folder} is not a bundle: {SPEC_FILE} is missing; make one with `tidemark model init`")
    try:
        spec = Spec.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BrokenBundle(f"{path}: not TOML: {error}") from None
    except ValidationError as error:
        raise BrokenBundle(f"{path}: {first_problem(error)}") from None
    if (folder / MODEL_FILE).is_file():
        if spec.input is None:
            raise BrokenBundle(f"{path}: input: expected a section [input] for the {MODEL_FILE} next to it")
        files = files_sha256(folder / MODEL_FILE)
        settings = spec.model_dump_json(exclude={"name", "version"}, exclude_defaults=True)
        return Bundle(
            folder=folder,
            name=spec.name,
            version=spec.version,
            labels=spec.labels,
            output=spec.output,
            sha256=identity.text_sha256(f"{files}\n{settings}"),
            input=spec.input,
            files_sha256=files,
        )
    if spec.output.embedding is None:
        raise BrokenBundle(
            f"{path}: output.embedding: expected the name of the output with the embedding; there is no {MODEL_FILE} "
            "to find it in"
        )
    return AnyBundle(
        folder=folder,
        name=spec.name,
        version=spec.version,
        labels=spec.labels,
        output=spec.output,
        sha256=identity.text_sha256(spec.model_dump_json(exclude={"input"}, exclude_defaults=True)),
    )


def files_sha256(path: Path) -> str:
    """Return the SHA-256 of a model file and of the files with its external data.

    Raises
    ------
    BrokenBundle
        A file with external data of the model is missing or cannot be read.
    """
    try:
        return identity.files_sha256(path)
    except OSError as error:
        raise BrokenBundle(f"{path}: cannot read a file with its weights: {error}") from None


def write_spec(folder: Path, spec: Spec) -> None:
    """Write `model.toml`; settings that have their default value and were added later are left out."""
    content = spec.model_dump(mode="json", exclude_none=True)
    for section, field, default in (
        ("input", "crop", 1.0),
        ("input", "interpolation", "bilinear"),
        ("output", "embedding_layout", "NCHW"),
    ):
        if content.get(section, {}).get(field) == default:
            del content[section][field]
    text = tomli_w.dumps(content, multiline_strings=True)
    (folder / SPEC_FILE).write_text(text, encoding="utf-8")
