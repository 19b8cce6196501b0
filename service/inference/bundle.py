"""A bundle: a folder with `model.onnx` and `model.toml`, which says how to feed it and what it answers.

Without a `model.onnx` the model is served elsewhere and only observed here.
"""

import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from ..errors import TidemarkError

MODEL_FILE = "model.onnx"
SPEC_FILE = "model.toml"

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+$", max_length=128)]
Version = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._+-]+$", max_length=128)]
Positive = Annotated[int, Field(ge=1, le=8192)]


class BrokenBundle(TidemarkError):
    """A bundle or model that cannot be used: what was looked for and what was found."""


class InputSpec(BaseModel):
    """How an image becomes the model's input."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    size: tuple[Positive, Positive]  # height, width
    mode: Literal["L", "RGB"]
    resize: Literal["squash", "crop", "pad"] = "squash"
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    @model_validator(mode="after")
    def _check_channels(self) -> "InputSpec":
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, self.channels):
                raise ValueError(f"{name} has {len(values)} values, the input has {self.channels} channels")
        if min(abs(value) for value in self.std) == 0:
            raise ValueError("std must not be zero")
        return self

    @property
    def channels(self) -> int:
        """1 for L, 3 for RGB."""
        return 1 if self.mode == "L" else 3


class OutputSpec(BaseModel):
    """Where the model's answer and its embedding are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    probabilities: str
    activation: Literal["none", "softmax", "sigmoid"] = "none"
    embedding: str | None = None


class Spec(BaseModel):
    """The content of `model.toml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    version: Version
    labels: Annotated[tuple[str, ...], Field(min_length=2)]
    input: InputSpec | None = None  # of no use to a model that is served elsewhere
    output: OutputSpec

    @model_validator(mode="after")
    def _check_labels(self) -> "Spec":
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels must differ from each other")
        return self


@dataclass(frozen=True)
class AnyBundle:
    """What is known of a model, whether it runs here or is served elsewhere: `model.toml`, checked."""

    folder: Path
    name: str
    version: str
    labels: tuple[str, ...]
    output: OutputSpec
    sha256: str  # of model.onnx; without one, of what model.toml says, its input left out


@dataclass(frozen=True)
class Bundle(AnyBundle):
    """A bundle with its model file, which runs here."""

    input: InputSpec

    @property
    def model_path(self) -> Path:
        """The model file."""
        return self.folder / MODEL_FILE


def load(folder: Path) -> Bundle:
    """Read a bundle whose model runs here.

    Raises
    ------
    BrokenBundle
        A file is missing, or `model.toml` says something that cannot be.
    """
    bundle = load_any(folder)
    if not isinstance(bundle, Bundle):
        raise BrokenBundle(f"{folder} is no bundle: {MODEL_FILE} is missing; make one with `tidemark model init`")
    return bundle


def load_any(folder: Path) -> AnyBundle:
    """Read a bundle, or without a model file that of a model which is served elsewhere.

    Raises
    ------
    BrokenBundle
        `model.toml` is missing, says something that cannot be, or leaves out what the model needs.
    """
    path = folder / SPEC_FILE
    if not path.is_file():
        raise BrokenBundle(f"{folder} is no bundle: {SPEC_FILE} is missing; make one with `tidemark model init`")
    try:
        spec = Spec.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BrokenBundle(f"{path}: not TOML: {error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BrokenBundle(f"{path}: {where}: {first['msg']}") from None
    known = folder, spec.name, spec.version, spec.labels, spec.output
    if (folder / MODEL_FILE).is_file():
        if spec.input is None:
            raise BrokenBundle(f"{path}: input: expected a section [input] for the {MODEL_FILE} beside it")
        return Bundle(*known, file_sha256(folder / MODEL_FILE), spec.input)
    if spec.output.embedding is None:
        raise BrokenBundle(
            f"{path}: output.embedding: expected the name of the output with the embedding; there is no {MODEL_FILE} "
            "to find it in"
        )
    identity = spec.model_dump_json(exclude={"input"}, exclude_defaults=True).encode()
    return AnyBundle(*known, hashlib.sha256(identity).hexdigest())


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_spec(folder: Path, spec: Spec) -> None:
    """Write `model.toml`."""
    text = tomli_w.dumps(spec.model_dump(mode="json", exclude_none=True), multiline_strings=True)
    (folder / SPEC_FILE).write_text(text, encoding="utf-8")
