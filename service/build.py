"""`tidemark reference build`: what held-out labelled images look like through a model, stored for the monitor."""

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from service.drift import Reference, StreamDetector, power_table
from service.errors import TidemarkError
from service.inference import bundle as bundles
from service.inference.bundle import Bundle
from service.inference.images import DecodedImage
from service.inference.labelled import LabelledImages
from service.inference.properties import NAMES, measure
from service.inference.session import Model
from service.inference.thumbnails import thumbnail
from service.settings import Settings
from service.store import engine as engines
from service.store import models, references, schema
from service.store.predictions import HALF

FEW_ROWS = 500
FEW_OF_A_CLASS = 20
SHOWN = 512  # thumbnails of a reference
NAMED = 5  # unreadable files that are named
HELD_OUT = (
    "These images must be held out from fitting: a model looks more certain on images that it was fitted on, "
    "so that honest traffic would look drifted for ever."
)


def build_reference(
    folder: Path, images: Path, limit: int | None, out: Path | None, thumbnails: bool = False
) -> dict[str, Any]:
    """Run a bundle over labelled images and store the reference, or write it to `out`.

    Returns
    -------
    What was built, as the command prints it.
    """
    if thumbnails and out is not None:
        raise TidemarkError("--thumbnails are kept with a stored reference: leave out --out")
    bundle = bundles.load(folder)
    labelled = LabelledImages(bundle, images, limit)
    gallery = Gallery(len(bundle.labels)) if thumbnails else None
    arrays = reference_arrays(bundle, labelled, gallery)
    try:
        reference = Reference(arrays["embeddings"], arrays["probabilities"], arrays["labels"], arrays["properties"])
    except ValueError as error:
        raise TidemarkError(f"{images}: {error}") from None
    print(HELD_OUT, file=sys.stderr)
    for warning in warnings(bundle, labelled, arrays["labels"]):
        print(f"warning: {warning}", file=sys.stderr)
    if out is not None:
        np.savez_compressed(out, allow_pickle=False, **arrays)
        stored = str(out)
    else:
        stored = f"reference {store(bundle, arrays, reference, gallery.images if gallery else None)}"
    hit = float((arrays["probabilities"].argmax(axis=1) == arrays["labels"]).mean())
    return {
        "model": f"{bundle.name}:{bundle.version}",
        "model_sha256": bundle.sha256,
        "rows": len(arrays["labels"]),
        "accuracy": hit,
        "duplicates": labelled.duplicates,
        "unreadable": len(labelled.unreadable),
        "thumbnails": len(gallery.images) if gallery else 0,
        "power": [row._asdict() for row in power_table(reference)],
        "stored": stored,
    }


@dataclass
class Gallery:
    """Thumbnails of the first images of each class, and so, images being in random order, of a random part."""

    classes: int
    images: dict[int, bytes] = field(default_factory=dict)  # by row
    _met: int = 0
    _shown: Counter[int] = field(default_factory=Counter)

    def add(self, images: Sequence[DecodedImage], labels: NDArray[np.int64]) -> None:
        """Take the next rows of the reference."""
        for row, (image, label) in enumerate(zip(images, labels.tolist(), strict=True), start=self._met):
            if self._shown[label] < -(-SHOWN // self.classes) and len(self.images) < SHOWN:
                self.images[row] = thumbnail(image.pixels)
                self._shown[label] += 1
        self._met += len(images)


def reference_arrays(
    bundle: Bundle, labelled: LabelledImages, gallery: Gallery | None = None
) -> dict[str, NDArray[Any]]:
    """Return a reference's arrays; numbers are rounded to float16 as those of logged traffic are."""
    model = Model(bundle)
    parts: dict[str, list[NDArray[Any]]] = {"embeddings": [], "probabilities": [], "labels": [], "properties": []}
    for images, labels in _progress(labelled.batches(), len(labelled), bundle):
        pixels = np.stack([image.pixels for image in images])
        probabilities, embeddings = model.predict(pixels)
        limit = np.finfo(HALF).max
        parts["embeddings"].append(np.clip(embeddings, -limit, limit).astype(HALF))
        parts["probabilities"].append(probabilities.astype(HALF))
        parts["properties"].append(measure(pixels, [i.width for i in images], [i.height for i in images]))
        parts["labels"].append(labels)
        if gallery is not None:
            gallery.add(images, labels)
    if not parts["labels"]:
        raise TidemarkError(f"{labelled.path}: none of {len(labelled)} images can be read")
    arrays = {name: np.concatenate(rows) for name, rows in parts.items()}
    return arrays | {"class_names": np.array(bundle.labels), "property_names": np.array(NAMES)}


def warnings(bundle: Bundle, labelled: LabelledImages, labels: NDArray[Any]) -> list[str]:
    """Return what makes these images a weak reference."""
    found = []
    counts = np.bincount(labels, minlength=len(bundle.labels))
    if len(labels) < FEW_ROWS:
        found.append(f"{len(labels)} images are few: with fewer than {FEW_ROWS} small shifts are not seen")
    rare = [f"{name} ({count})" for name, count in zip(bundle.labels, counts, strict=True) if count < FEW_OF_A_CLASS]
    if rare:
        found.append(f"classes with fewer than {FEW_OF_A_CLASS} images: {', '.join(rare)}; their shifts are not told")
    if labelled.duplicates:
        found.append(
            f"{labelled.duplicates} images are exact duplicates of others: the reference is smaller than it looks"
        )
    for name in labelled.unreadable[:NAMED]:
        found.append(f"skipped {name}")
    if len(labelled.unreadable) > NAMED:
        found.append(f"skipped {len(labelled.unreadable)} unreadable files in all")
    return found


def store(
    bundle: Bundle, arrays: dict[str, NDArray[Any]], reference: Reference, thumbnails: dict[int, bytes] | None = None
) -> int:
    """Store a reference with its detector's calibration in Postgres, pinned to the model's SHA-256; return its id."""
    settings = Settings.load()
    calibration = StreamDetector(reference, settings.expected_run_time).calibration()
    with engines.database(settings) as url:
        engine = engines.connect(url)
        engines.check(engine)
        schema.migrate(engine)
        with engine.begin() as connection:
            labels = list(bundle.labels)
            model_id = models.register(connection, bundle.name, bundle.version, bundle.sha256, labels)
            reference_id = references.save(connection, model_id, arrays, thumbnails)
            references.save_calibration(connection, reference_id, calibration)
        engine.dispose()
    return reference_id


def _progress(batches: Iterable[Any], total: int, bundle: Bundle) -> Iterable[Any]:
    steps = -(-total // 64)
    return track(batches, f"{bundle.name}:{bundle.version}", total=steps, console=Console(stderr=True), transient=True)
