"""The content of `model.toml`: how to feed a model and what it answers, checked."""

from typing import Annotated, Literal, TypedDict

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from ..errors import TidemarkError

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+$", max_length=128)]
Version = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._+-]+$", max_length=128)]
Positive = Annotated[int, Field(ge=1, le=8192)]
Activation = Literal["none", "softmax", "sigmoid", "normalise"]
Interpolation = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]


class BrokenBundle(TidemarkError):
    """A bundle or model that cannot be used: what was expected and what is there."""


class InputSettings(TypedDict, total=False):
    """Some fields of an `InputSpec`, which validates them."""

    mode: str
    resize: str
    crop: float
    interpolation: str
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]


class InputSpec(BaseModel):
    """The preparation by which an image becomes the model's input.

    Parameters
    ----------
    name : str
        The graph's input.
    size : tuple[Positive, Positive]
        Height and width in pixels.
    mode : {"L", "RGB", "BGR"}
        Grey levels, or colours in the order that the network reads them. `mean` and `std` are in this order.
    resize : {"squash", "crop", "pad"}
        "squash" to the size; "crop" scales the shorter side and cuts out the centre; "pad" adds black borders.
    crop : Annotated[float, Field(gt=0, le=1)]
        The share that is kept of the shorter side with "crop", of both sides with "squash": 0.875 for a side of 256 of
        which 224 are kept.
    interpolation : Interpolation
        How pixels are resampled.
    layout : {"NCHW", "NHWC", "NHW", "NP", "CHW", "HWC", "HW"}
        The axes of the input: N images, C channels, H rows, W columns, P all of an image's values in one row (in the
        order C, H, W). Without N the graph takes a single image.
    scale, mean, std : float
        The input is (scale * pixels - mean) / std.
    batch : Positive or None
        The batch size that the graph is bound to; None if any size will do.
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
        if self.scale == 0:
            raise ValueError("scale must not be zero")
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
    """The tensors with the model's answer and its embedding.

    Parameters
    ----------
    probabilities : str
        Any tensor of the graph with a row of class scores per image.
    activation : Activation
        What turns scores into probabilities. "none": they are probabilities. "normalise": scores that are not negative,
        divided by their sum.
    embedding : str or None
        Any tensor of the graph; None to let Tidemark choose it.
    embedding_layout : {"NCHW", "NHWC"}
        Where a feature map of four axes has its features; positions are averaged.
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
    input: InputSpec | None = None  # None for a model that is served elsewhere
    output: OutputSpec

    @model_validator(mode="after")
    def _check_labels(self) -> "Spec":
        first: dict[str, int] = {}
        for index, label in enumerate(self.labels):
            if label in first:
                raise ValueError(f"labels must differ: {label!r} is class {first[label]} and class {index}")
            first[label] = index
        return self
