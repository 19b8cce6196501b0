"""`tidemark model init`: a bundle of an ONNX classifier, and what a user should know of what was found."""

import re
from pathlib import Path
from typing import TypedDict

from ..errors import ConfigurationError
from ..inference.bundle_builder import init_bundle
from ..inference.model_examination import Hints


class ImageSize(TypedDict):
    """The input of a model."""

    size: list[int]  # height and width
    mode: str


class InitialisedBundle(TypedDict):
    """The printed content of `tidemark model init`."""

    bundle: str
    model: str
    input: ImageSize
    labels: int
    output: str
    activation: str
    embedding: str | None
    notes: list[str]


def init_model(
    model: Path, out: Path, name: str | None, version: str, labels: Path | None, preset: str | None, hints: Hints
) -> InitialisedBundle:
    """Write a bundle; return what the command prints."""
    notes: list[str] = []
    bundle = init_bundle(model, out, name, version, labels, preset, hints, notes.append)
    return {
        "bundle": str(out),
        "model": str(bundle.key),
        "input": {"size": list(bundle.input.size), "mode": bundle.input.mode},
        "labels": len(bundle.labels),
        "output": bundle.output.probabilities,
        "activation": bundle.output.activation,
        "embedding": bundle.output.embedding,
        "notes": notes,
    }


def parse_size(text: str | None) -> tuple[int, int] | None:
    """Return height and width of a text such as 224x224.

    Raises
    ------
    ConfigurationError
        It is another text.
    """
    if text is None:
        return None
    sides = re.fullmatch(r"(\d{1,4})[xX×](\d{1,4})", text.strip())
    if sides is None or min(int(side) for side in sides.groups()) < 1:
        raise ConfigurationError(f"--size: expected height and width such as 224x224, got {text!r}")
    return int(sides[1]), int(sides[2])
