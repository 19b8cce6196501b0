"""Options that several commands take, and how a command prints its result."""

import datetime as dt
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

BundleOption = Annotated[Path, typer.Option("--bundle", help="Folder with model.toml and model.onnx.")]
BundlesOption = Annotated[
    list[Path],
    typer.Option(
        "--bundle",
        help="Folder with model.toml, and model.onnx unless served elsewhere; repeatable, the first is the default.",
    ),
]
ShadowOption = Annotated[
    list[Path] | None,
    typer.Option("--shadow", help="Bundle that is shown the default model's images and does not answer; repeatable."),
]
PriorsOption = Annotated[
    list[Path] | None,
    typer.Option("--correct-priors", help="A remedy's priors.json: its model answers as they say; repeatable."),
]
PortOption = Annotated[int, typer.Option("--port", min=1, max=65535)]
GrpcPortOption = Annotated[
    int | None,
    typer.Option("--grpc-port", min=1, max=65535, help="Port of the Open Inference Protocol over gRPC."),
]
HostOption = Annotated[str, typer.Option("--host", help="Address to listen on.")]
TIMES = [
    "%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f",
    "%Y-%m-%dT%H:%M%z", "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S.%f%z", "%Y-%m-%d %H:%M:%S",
]  # fmt: skip
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable output on standard output.")]


def utc(moment: dt.datetime) -> dt.datetime:
    """Return a moment in UTC; one without a zone is meant in it."""
    return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)


def print_facts(facts: Mapping[str, object], as_json: bool, sentence: str) -> None:
    """Print facts as JSON, or as a sentence with their names in braces."""
    print(json.dumps(facts, indent=2) if as_json else sentence.format(**facts))
