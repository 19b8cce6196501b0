"""`tidemark reference build`: what held-out labelled images look like through a model, stored for the monitor."""

import sys
from collections.abc import Iterable
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
from service.inference.labelled import LabelledImages
from service.inference.properties import NAMES, measure
from service.inference.session import Model
from service.settings import Settings
from service.store import engine as engines
from service.store import models, references, schema
from service.store.predictions import HALF

FEW_ROWS = 500
FEW_OF_A_CLASS = 20
NAMED = 5  # unreadable files that are named
HELD_OUT = (
    "These images must be held out from fitting: a model looks more certain on images that it was fitted on, "
    "so that honest traffic would look drifted for ever."
)


def build_reference(folder: Path, images: Path, limit: int | None, out: Path | None) -> dict[str, Any]:
    """Run a bundle over labelled images and store the reference, or write it to `out`.

    Returns
    -------
    What was built, as the command prints it.
    """
    bundle = bundles.load(folder)
    labelled = LabelledImages(bundle, images, limit)
    arrays = reference_arrays(bundle, labelled)
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
        stored = f"reference {store(bundle, arrays, reference)}"
    hit = float((arrays["probabilities"].argmax(axis=1) == arrays["labels"]).mean())
    return {
        "model": f"{bundle.name}:{bundle.version}",
        "model_sha256": bundle.sha256,
        "rows": len(arrays["labels"]),
        "accuracy": hit,
        "duplicates": labelled.duplicates,
        "unreadable": len(labelled.unreadable),
        "power": [row._asdict() for row in power_table(reference)],
        "stored": stored,
    }


def reference_arrays(bundle: Bundle, labelled: LabelledImages) -> dict[str, NDArray[Any]]:
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


def store(bundle: Bundle, arrays: dict[str, NDArray[Any]], reference: Reference) -> int:
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
            reference_id = references.save(connection, model_id, arrays)
            references.save_calibration(connection, reference_id, calibration)
        engine.dispose()
    return reference_id


def _progress(batches: Iterable[Any], total: int, bundle: Bundle) -> Iterable[Any]:
    steps = -(-total // 64)
    return track(batches, f"{bundle.name}:{bundle.version}", total=steps, console=Console(stderr=True), transient=True)
