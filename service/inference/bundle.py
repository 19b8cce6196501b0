"""A bundle: a folder with `model.onnx` and `model.toml`, which states how to feed the model and what it answers.

Without a `model.onnx` the model is served elsewhere and only observed here.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from ..errors import TidemarkError
from . import identity

MODEL_FILE = "model.onnx"
SPEC_FILE = "model.toml"

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+$", max_length=128)]
Version = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._+-]+$", max_length=128)]
Positive = Annotated[int, Field(ge=1, le=8192)]
Activation = Literal["none", "softmax", "sigmoid", "normalise"]
Interpolation = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]


class BrokenBundle(TidemarkError):
    """A bundle or model that cannot be used: what was expected and what is there."""


class InputSpec(BaseModel):
    """How an image becomes the model's input.

    Parameters
    ----------
    name : the graph's input.
    size : height and width in pixels.
    mode : grey levels, or colours in the order that the network reads them. `mean` and `std` are in this order.
    resize : "squash" to the size; "crop" scales the shorter side and cuts out the centre; "pad" adds black borders.
    crop : with "crop", the share of the shorter side that is kept: 0.875 for a side of 256 of which 224 are kept.
    interpolation : how pixels are resampled.
    layout : the axes of the input: N images, C channels, H rows, W columns, P all of an image's values in one row (in
        the order C, H, W). Without N the graph takes a single image.
    scale, mean, std : the input is (scale * pixels - mean) / std.
    batch : the batch size that the graph is bound to; None if any size will do.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    size: tuple[Positive, Positive]
    mode: Literal["L", "RGB", "BGR"]
    resize: Literal["squash", "crop", "pad"] = "squash"
    crop: Annotated[float, Field(gt=0, le=1)] = 1.0
    interpolation: Interpolation = "bilinear"
    layout: Literal["NCHW", "NHWC", "NHW", "NP", "CHW", "HWC", "HW"] = "NCHW"
    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    batch: Positive | None = None

    @model_validator(mode="after")
    def _check_channels(self) -> "InputSpec":
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, self.channels):
                raise ValueError(f"{name} has {len(values)} values, the input has {self.channels} channels")
        if min(abs(value) for value in self.std) == 0:
            raise ValueError("std must not be zero")
        if self.layout in ("NHW", "HW") and self.channels != 1:
            raise ValueError(f"layout {self.layout} has no channels, mode {self.mode} has {self.channels}")
        return self

    @property
    def channels(self) -> int:
        """1 for L, 3 for RGB and BGR."""
        return 1 if self.mode == "L" else 3

    @property
    def pixel_mode(self) -> Literal["L", "RGB"]:
        """The mode of the pixels that the network's input is made of."""
        return "L" if self.mode == "L" else "RGB"

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The shape of one image in the network's input, without the batch axis."""
        height, width = self.size
        sides = {"C": self.channels, "H": height, "W": width, "P": self.channels * height * width}
        return tuple(sides[axis] for axis in self.layout if axis != "N")

    @property
    def is_batched(self) -> bool:
        """Whether the network's input has a batch axis."""
        return self.layout.startswith("N")


class OutputSpec(BaseModel):
    """Where the model's answer and its embedding are.

    Parameters
    ----------
    probabilities : any tensor of the graph with a row of class scores per image.
    activation : what turns scores into probabilities. "none": they are probabilities. "normalise": scores that are not
        negative, divided by their sum.
    embedding : any tensor of the graph; None to have it found.
    embedding_layout : where a feature map of four axes has its features; positions are averaged.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    probabilities: str
    activation: Activation = "none"
    embedding: str | None = None
    embedding_layout: Literal["NCHW", "NHWC"] = "NCHW"


class Spec(BaseModel):
    """The content of `model.toml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    version: Version
    labels: Annotated[tuple[str, ...], Field(min_length=2)]
    input: InputSpec | None = None  # not used by a model that is served elsewhere
    output: OutputSpec

    @model_validator(mode="after")
    def _check_labels(self) -> "Spec":
        first: dict[str, int] = {}
        for index, label in enumerate(self.labels):
            if label in first:
                raise ValueError(f"labels must differ: {label!r} is class {first[label]} and class {index}")
            first[label] = index
        return self


@dataclass(frozen=True)
class AnyBundle:
    """What is known of a model, whether it runs here or is served elsewhere: `model.toml`, checked.

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


def first_problem(error: ValidationError) -> str:
    """Return the first problem that pydantic found, in one line that names the field."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message


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
