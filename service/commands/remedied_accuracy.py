"""The accuracy that a remedied model would have on a span, by new rehearsals of it on labelled images."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..drift import Reference
from ..drift.rehearsals.estimator import RehearsalEstimate, RehearsalEstimator
from ..drift.rehearsals.record import Rehearsal
from ..drift.rehearsals.recording import Recorder
from ..drift.types import BoolArray, Float32Array, IntArray
from ..inference.model import Model
from ..remedy.remedy_context import IMAGES, RemedyContext
from ..remedy.result import Improvement, RemedyNotApplicable, RemedyResult
from ..settings import Settings
from ..store.logged import HALF, halved
from .rehearse import BATCH, MIN_IMAGES, affordable_images, rehearsed_images

REHEARSED_IMAGES = 300  # labelled images that are rehearsed, at most, and at most half of those given
ESTIMATED_ON = (
    "rehearsals of the model before and after, on {count} labelled images that the remedy was not fitted on, with a "
    "90 % interval ({before}, {after})"
)


@dataclass(frozen=True, eq=False)
class RehearsedPredictions:
    """What a model makes of labelled images as they are and under each rehearsed operation.

    Attributes
    ----------
    labels : int (I,)
        True classes of the images.
    unchanged : tuple[Float32Array, Float32Array]
        Embeddings (I, d) and probabilities (I, k) of the images as they are.
    changed : Sequence[tuple[Rehearsal, Float32Array, Float32Array]]
        Each rehearsal with the embeddings and probabilities under it.
    images : bool (n,)
        Which of the labelled images given were rehearsed.
    rest : Reference
        The span's reference without the rows of these images.
    rest_labels : int (r,)
        Its true classes.
    """

    labels: IntArray
    unchanged: tuple[Float32Array, Float32Array]
    changed: Sequence[tuple[Rehearsal, Float32Array, Float32Array]]
    images: BoolArray
    rest: Reference
    rest_labels: IntArray


def with_rehearsed_accuracy(context: RemedyContext, remedies: Sequence[RemedyResult]) -> list[RemedyResult]:
    """Return the remedies, those that write a model with the accuracy that rehearsals of it foretell for the span.

    A remedy is fitted again without the rehearsed images. All rehearsals share one run of the model, since the remedies
    change what follows the embedding alone. Without the bundle, labelled images or a reference with labels the remedies
    are returned as they are.
    """
    if not any(remedy.refit for remedy in remedies):
        return list(remedies)
    try:
        predictions = _rehearse(context)
    except RemedyNotApplicable:
        return list(remedies)
    before = _estimate(context, predictions, None)
    return [_with_estimate(context, predictions, before, remedy) if remedy.refit else remedy for remedy in remedies]


def _rehearse(context: RemedyContext) -> RehearsedPredictions:
    """Run the model over the labelled images under each operation.

    Raises
    ------
    RemedyNotApplicable
        No bundle or labelled images were given, too few of them, or the reference has no labels or too few other rows.
    """
    reference_labels = context.require_reference_labels()
    read = list(context.require_images(IMAGES).batches())
    total = sum(len(labels) for _, labels in read)
    if total < 2 * MIN_IMAGES:
        raise RemedyNotApplicable(f"needs {2 * MIN_IMAGES} labelled images")
    pixels = np.stack([image.pixels for images, _ in read for image in images][: min(REHEARSED_IMAGES, total // 2)])
    model = Model(context.require_bundle(), providers=Settings.load().providers)
    started = time.monotonic()
    unchanged = _predict(model, pixels)
    seconds = (time.monotonic() - started) / len(pixels)
    count = min(len(pixels), affordable_images(pixels.ndim == 4, seconds))
    if count < MIN_IMAGES:
        raise RemedyNotApplicable(f"needs a model that predicts {MIN_IMAGES} images within the time of the rehearsals")
    pixels, unchanged = pixels[:count], (unchanged[0][:count], unchanged[1][:count])
    labels = np.concatenate([labels for _, labels in read])[:count]
    reference = context.span.reference
    seen = {row.tobytes() for row in unchanged[0].astype(HALF)}
    other = np.array([row.tobytes() not in seen for row in reference.embeddings.astype(HALF)])
    if other.sum() < count:
        raise RemedyNotApplicable(f"needs a reference with {count} rows of other images")
    rest = Reference(reference.embeddings[other], reference.probabilities[other], reference_labels[other])
    changed = [(rehearsal, *_predict(model, images)) for rehearsal, images in rehearsed_images(pixels)]
    return RehearsedPredictions(labels, unchanged, changed, np.arange(total) < count, rest, reference_labels[other])


def _predict(model: Model, pixels: NDArray[np.uint8]) -> tuple[Float32Array, Float32Array]:
    """Return embeddings and probabilities, rounded as logged traffic is."""
    parts = [model.predict(pixels[first : first + BATCH]) for first in range(0, len(pixels), BATCH)]
    probabilities, embeddings = (np.concatenate(rows) for rows in zip(*parts, strict=True))
    return halved(embeddings).astype(np.float32), probabilities.astype(HALF).astype(np.float32)


def _with_estimate(
    context: RemedyContext, predictions: RehearsedPredictions, before: RehearsalEstimate, remedy: RemedyResult
) -> RemedyResult:
    """Return a remedy with its improvement by rehearsals; the errors of both estimates count as independent."""
    after = _estimate(context, predictions, remedy)
    half = float(np.hypot(before.high - before.low, after.high - after.low)) / 2
    amount = after.accuracy - before.accuracy
    measured_on = ESTIMATED_ON.format(count=len(predictions.labels), before=before.method, after=after.method)
    improvement = Improvement(
        metric="accuracy",
        before=before.accuracy,
        after=after.accuracy,
        amount=amount,
        low=amount - half,
        high=amount + half,
        measured_on=measured_on,
        estimated=True,
    )
    return replace(remedy, rehearsed=improvement)


def _estimate(
    context: RemedyContext, predictions: RehearsedPredictions, remedy: RemedyResult | None
) -> RehearsalEstimate:
    """Return the estimated accuracy on the span, of the model as it is or as a remedy changes it."""
    refit = None if remedy is None else remedy.refit
    answers = None if refit is None else refit(predictions.rest, predictions.images)

    def posterior(embeddings: Float32Array, probabilities: Float32Array) -> Float32Array:
        return probabilities if answers is None else answers(embeddings)

    rest, span = predictions.rest, context.span.sample
    embeddings, probabilities = predictions.unchanged
    reference = Reference(
        np.concatenate([embeddings, rest.embeddings]),
        np.concatenate([posterior(embeddings, probabilities), posterior(rest.embeddings, rest.probabilities)]),
        np.concatenate([predictions.labels, predictions.rest_labels]),
    )
    recorder = Recorder(reference, np.arange(len(predictions.labels)))
    for rehearsal, changed, outputs in predictions.changed:
        recorder.add(rehearsal, reference.check(changed, posterior(changed, outputs)))
    estimator = RehearsalEstimator(reference, recorder.rehearsals())
    window = reference.check(span.embeddings, posterior(span.embeddings, span.probabilities))
    return estimator(window, proportions_moved=context.report.kind == "both")
