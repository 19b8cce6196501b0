"""A reference from images: the model is run over them, and over a sample of them prepared in other ways."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from ..errors import TidemarkError
from ..inference import bundle as bundles
from ..inference.bundle import AnyBundle, Bundle
from ..inference.labelled_images import LabelledImages
from ..inference.model import Model
from ..inference.properties import NAMES, measure
from ..settings import Settings
from ..store.logged import HALF, halved
from .model_check import preprocessing_warning
from .reference_thumbnails import Gallery
from .reference_warnings import labelled_warnings
from .rehearse import RehearsedImages

CHECKED_SHARE, MIN_CHECKED, MAX_CHECKED = 20, 50, 200  # one of 20 images, but 50 to 200, are prepared in other ways


class ImageCounts(TypedDict, total=False):
    """Images that the reference leaves out."""

    duplicates: int
    unreadable: int


@dataclass(frozen=True)
class BuiltReference:
    """A reference before it is stored, with what a user should know of how it was made.

    Attributes
    ----------
    counts : ImageCounts
        Counts of duplicate and unreadable images.
    thumbnails : dict[int, bytes]
        Encoded images by row.
    rehearsed : RehearsedImages
        The images of the first rows, for rehearsals.
    seconds : float
        What reading the images and running the model took.
    """

    bundle: AnyBundle
    source: Path
    arrays: dict[str, NDArray[Any]]
    warnings: list[str]
    counts: ImageCounts = field(default_factory=ImageCounts)
    thumbnails: dict[int, bytes] = field(default_factory=dict)
    rehearsed: RehearsedImages = field(default_factory=RehearsedImages)
    seconds: float = 0.0

    @property
    def labels(self) -> NDArray[Any] | None:
        """The true classes, None where they are not known."""
        return self.arrays.get("labels")

    @property
    def accuracy(self) -> float | None:
        """The share of rows whose likeliest class is the true one."""
        if self.labels is None:
            return None
        return float((self.arrays["probabilities"].argmax(axis=1) == self.labels).mean())


def reference_from_images(folder: Path, images: Path, limit: int | None, thumbnails: bool) -> BuiltReference:
    """Run a bundle's model over images, and over a sample of them prepared in other ways."""
    bundle = bundles.load(folder)
    labelled = LabelledImages(bundle, images, limit, labels_required=False)
    gallery = Gallery(len(bundle.labels)) if thumbnails else None
    rehearsed = RehearsedImages()
    started = time.monotonic()
    arrays = reference_arrays(bundle, labelled, gallery, rehearsed)
    seconds = time.monotonic() - started
    texts = labelled_warnings(labelled)
    if labelled.are_labelled:
        sample = int(np.clip(len(labelled) // CHECKED_SHARE, MIN_CHECKED, MAX_CHECKED))
        advice = preprocessing_warning(bundle, images, sample)
        texts += [] if advice is None else [advice]
    return BuiltReference(
        bundle=bundle,
        source=images,
        arrays=arrays,
        warnings=texts,
        counts={"duplicates": labelled.duplicates, "unreadable": len(labelled.unreadable)},
        thumbnails=gallery.images if gallery else {},
        rehearsed=rehearsed,
        seconds=seconds,
    )


def reference_arrays(
    bundle: Bundle,
    labelled: LabelledImages,
    gallery: Gallery | None = None,
    rehearsed: RehearsedImages | None = None,
) -> dict[str, NDArray[Any]]:
    """Return a reference's arrays; numbers are rounded to float16 as those of logged traffic are."""
    model = Model(bundle, providers=Settings.load().providers)
    parts: dict[str, list[NDArray[Any]]] = {"embeddings": [], "probabilities": [], "labels": [], "properties": []}
    for images, labels in _progress(labelled.batches(), len(labelled), bundle):
        pixels = np.stack([image.pixels for image in images])
        probabilities, embeddings = model.predict(pixels)
        parts["embeddings"].append(halved(embeddings))
        parts["probabilities"].append(probabilities.astype(HALF))
        parts["properties"].append(measure(pixels, [i.width for i in images], [i.height for i in images]))
        parts["labels"].append(labels)
        if gallery is not None:
            gallery.add(images, labels)
        if rehearsed is not None:
            rehearsed.add(images)
    if not parts["labels"]:
        raise TidemarkError(f"{labelled.path}: none of {len(labelled)} images can be read")
    arrays = {name: np.concatenate(rows) for name, rows in parts.items()}
    if not labelled.are_labelled:
        del arrays["labels"]
    return arrays | {"class_names": np.array(bundle.labels), "property_names": np.array(NAMES)}


def _progress(batches: Iterable[Any], total: int, bundle: Bundle) -> Iterable[Any]:
    steps = -(-total // 64)
    return track(batches, str(bundle.key), total=steps, console=Console(stderr=True), transient=True)
