"""Remedy of covariate shift: augmentation that makes training images look like the span, and a refit on it."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from ...drift.samples import Sample
from ...drift.types import BoolArray
from ...inference.labelled_images import LabelledImages
from ...inference.model import Model
from ...inference.properties import measure
from ..adaptation.head import Head, distil_head, fit
from ..adaptation.onnx_export import with_head
from ..bundle_baseline import write_baseline
from ..paired_bootstrap import compare_posteriors, folds, hits, paired_bootstrap
from ..remedy_context import IMAGES, RemedyContext
from ..result import Answers, Improvement, RemedyDetails, RemedyNotApplicable, RemedyResult
from .gallery import gallery
from .range_search import Fit, Ranges, augmented, fit_ranges

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Pixels = NDArray[np.uint8]

MIN_IMAGES = 100
FITTED = 600  # images, and newest rows of the span, that ranges are fitted with
BATCH = 64
COPIES = 2  # augmented copies of each image that the last layer is fitted on in addition to it
FOLDS = 3
PENALTY = 0.01
MIN_LABELS = 50  # fed-back labels from which the improvement is measured on them as well
GALLERY_IMAGES = 8  # images side by side
FILE, PICTURE, FOLDER = "augmentation.json", "augmentation.png", "augmentation"


class OperationJson(TypedDict):
    """An image operation with its range of magnitudes; at `unchanged` it changes nothing."""

    name: str
    unit: str
    low: float
    high: float
    unchanged: float


class AugmentationDetails(RemedyDetails, total=False):
    """The content of the file of augmentations."""

    operations: list[OperationJson]
    drawn: str
    mmd_before: float
    mmd_after: float
    images: int


def augmentation(context: RemedyContext) -> RemedyResult:
    """Fit ranges of image operations to the span, write them as a configuration, and refit the last layer on them.

    Raises
    ------
    RemedyNotApplicable
        No bundle or labelled images were given, too few images, or the reference has other classes.
    """
    bundle, span = context.require_bundle(), context.span
    pixels, labels = _images(context.require_images(IMAGES))
    embed = _embedder(Model(bundle))
    newest = span.sample.rows(slice(-FITTED, None))
    search = fit_ranges(pixels[:FITTED], embed, span.reference, newest, context.seed)
    near = _mmd(search)
    details = _config(search)
    if not search.ranges:
        summary = "No image operation brings labelled images nearer to the span beyond chance."
        return RemedyResult(
            name="augmentation", kind="covariate", summary=summary, improvements=(near,), details=details
        )
    start = distil_head(span.reference.embeddings, span.reference.probabilities)
    refitting, measured = _refit(embed, pixels, labels, search.ranges, start, context.seed)
    layer = refitting(np.ones(len(labels), dtype=bool))
    measured += _on_feedback(context, layer)
    (context.out / FILE).write_text(json.dumps(details, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    examples = pixels[:GALLERY_IMAGES]
    rows = [("reference", examples), ("augmented", augmented(examples, search.ranges, context.seed))]
    picture = gallery(rows, span.thumbnails[:GALLERY_IMAGES], context.out / PICTURE)
    remedy = RemedyResult(
        name="augmentation",
        kind="covariate",
        summary=f"Makes training images look like the span: {_describe_ranges(search.ranges)}.",
        improvements=(near, *measured),
        files=(FILE, PICTURE),
        pictures=(picture,),
        details=details,
        refit=lambda _, images: _answers(refitting(~images)),
    )
    learned = remedy.improves and any(one.is_significant for one in measured)
    if not (learned or context.force):
        return remedy
    written = with_head(bundle, layer, context.out / FOLDER)
    write_baseline(written.folder, span, layer.probabilities(span.sample.embeddings), "all")
    lines = remedy.code | {"bundle": f"tidemark serve --bundle {written.folder}"}
    return replace(remedy, exported=True, files=(FILE, PICTURE, f"{FOLDER}/"), code=lines)


def _images(labelled: LabelledImages) -> tuple[Pixels, Integers]:
    """Return the images as the model sees them, in the random order in which they are read, and their labels."""
    read = list(labelled.batches())
    count = sum(len(labels) for _, labels in read)
    if count < MIN_IMAGES:
        raise RemedyNotApplicable(f"needs {MIN_IMAGES} labelled images; {labelled.path} has {count} that can be read")
    pixels = np.stack([image.pixels for images, _ in read for image in images])
    return pixels, np.concatenate([labels for _, labels in read])


def _embedder(model: Model) -> Callable[[Pixels], Sample]:
    def embed(pixels: Pixels) -> Sample:
        parts = [model.predict(pixels[first : first + BATCH]) for first in range(0, len(pixels), BATCH)]
        sizes = np.full((2, len(pixels)), [[pixels.shape[2]], [pixels.shape[1]]])
        probabilities, embeddings = (np.concatenate(rows) for rows in zip(*parts, strict=True))
        return Sample(embeddings, probabilities, measure(pixels, *sizes))

    return embed


def _refit(
    embed: Callable[[Pixels], Sample], pixels: Pixels, labels: Integers, ranges: Ranges, start: Head, seed: int
) -> tuple[Callable[[BoolArray], Head], tuple[Improvement, ...]]:
    """Return what refits the last layer on some images and their augmented copies, and its improvement on images held
    back."""
    copies = [embed(pixels), *(embed(augmented(pixels, ranges, seed + 1 + copy)) for copy in range(COPIES))]
    fresh = embed(augmented(pixels, ranges, seed + 1 + COPIES))

    def fitted(rows: NDArray[np.bool_]) -> Head:
        embeddings = np.concatenate([copy.embeddings[rows] for copy in copies])
        return fit(embeddings, np.tile(labels[rows], len(copies)), np.ones(len(embeddings)), start, PENALTY)

    after = np.empty(fresh.probabilities.shape)
    parts = folds(labels, FOLDS, seed)
    for part in range(FOLDS):
        held_out = parts == part
        after[held_out] = fitted(~held_out).probabilities(fresh.embeddings[held_out])
    measured_on = f"{len(labels)} labelled images, augmented, {FOLDS}-fold cross-validation"
    measured = paired_bootstrap(
        "accuracy", hits(fresh.probabilities, labels), hits(after, labels), measured_on, True, seed=seed
    )
    return fitted, (measured,)


def _answers(layer: Head) -> Answers:
    return lambda embeddings: layer.probabilities(embeddings).astype(np.float32)


def _on_feedback(context: RemedyContext, layer: Head) -> tuple[Improvement, ...]:
    span = context.span
    labelled = span.labelled
    if labelled.sum() < MIN_LABELS:
        return ()
    before, after = span.sample.probabilities[labelled], layer.probabilities(span.sample.embeddings[labelled])
    measured_on = f"{labelled.sum()} predictions of the span whose labels came back"
    return compare_posteriors(before, after, span.labels[labelled], measured_on, False, seed=context.seed)


def _mmd(search: Fit) -> Improvement:
    low, high = np.quantile(search.reductions, [0.025, 0.975]).tolist()
    measured_on = "half of the images and of the span, held back from the fit"
    return Improvement("mmd", search.before, search.after, search.before - search.after, low, high, measured_on, False)


def _config(search: Fit) -> AugmentationDetails:
    return {
        "operations": [
            {
                "name": one.operation.name,
                "unit": one.operation.unit,
                "low": one.low,
                "high": one.high,
                "unchanged": one.operation.identity,
            }
            for one in search.ranges
        ],
        "drawn": "in this order, one magnitude an image and operation, evenly from low to high",
        "mmd_before": search.before,
        "mmd_after": search.after,
        "images": search.images,
    }


def _describe_ranges(ranges: Ranges) -> str:
    return ", ".join(
        f"{one.operation.name.replace('_', ' ')} {one.low:.3g} to {one.high:.3g} ({one.operation.unit})"
        for one in ranges
    )
