"""What every installation of real processes is made from: bundles, their reference, images to send."""

import base64
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from tests.support.calibration import brief_calibrations
from tidemark.commands.reference import reference_arrays
from tidemark.demo.installation import MODEL
from tidemark.demo.scans import Scans, halves, scan
from tidemark.demo.stages import Kind, Traffic
from tidemark.drift import Reference, StreamDetector
from tidemark.inference import bundle as bundles
from tidemark.inference.bundle_builder import init_bundle
from tidemark.inference.labelled_images import LabelledImages

REFERENCE_ROWS = 600
IMAGES = 5  # of a request
RUN_TIME = 10_000_000  # predictions: no false alarm in a calm stream


@dataclass(frozen=True)
class Assets:
    """What every installation is made from: bundles `digits:1` and `digits:2`, their reference, scans to send."""

    bundles: tuple[Path, Path]
    images: Path
    reference: dict[str, NDArray[Any]]
    calibration: dict[str, ArrayLike]
    held_out: Scans

    @classmethod
    def make(cls, folder: Path) -> "Assets":
        folders = []
        for version in ("1", "2"):
            init_bundle(MODEL, folder / version, name="digits", version=version)
            folders.append(folder / version)
        _, held_out = halves()
        rng = np.random.default_rng(1)
        rows = rng.integers(0, len(held_out.labels), REFERENCE_ROWS)
        np.savez(folder / "held_out.npz", images=scan(held_out.images[rows], rng), labels=held_out.labels[rows])
        bundle = bundles.load(folders[0])
        arrays = reference_arrays(bundle, LabelledImages(bundle, folder / "held_out.npz", None))
        columns: list[Any] = [arrays[name] for name in ("embeddings", "probabilities", "labels", "properties")]
        with brief_calibrations():
            calibration = StreamDetector(Reference(*columns), RUN_TIME).calibration()
        return cls((folders[0], folders[1]), folder / "held_out.npz", arrays, calibration, held_out)

    def body(self, kind: Kind, number: int) -> bytes:
        """Return the request with this number: the same each time, with other images than any other number."""
        return body(Traffic(self.held_out, np.random.default_rng((2, number))).draw(kind, IMAGES)[0])


def body(images: NDArray[np.uint8]) -> bytes:
    """Return the JSON of a request with these images."""
    encoded = []
    for pixels in images:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        encoded.append(base64.b64encode(buffer.getvalue()).decode())
    return json.dumps({"images": encoded}).encode()
