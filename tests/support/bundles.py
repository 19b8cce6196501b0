"""Bundles of models."""

import json
from collections.abc import Sequence
from pathlib import Path

from tidemark.inference.bundle import AnyBundle, load_any


def observed_bundle(folder: Path, labels: Sequence[str] = ("ant", "bee", "cat"), **output: str) -> AnyBundle:
    """Write the bundle of a model that is served elsewhere: `model.toml` alone."""
    names = {"probabilities": "scores", "embedding": "features"} | output
    text = [f'name = "far"\nversion = "1"\nlabels = {json.dumps(list(labels))}\n[output]']
    folder.mkdir()
    (folder / "model.toml").write_text("\n".join([*text, *(f'{key} = "{name}"' for key, name in names.items())]))
    return load_any(folder)
