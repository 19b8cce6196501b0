"""The accuracy that a remedied model would have on a span, by new rehearsals of it on labelled images."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..drift import Reference
from ..drift.rehearsals.estimator import RehearsalEstimate, RehearsalEstimator
from ..drift.rehearsals.improvement import ImprovementEstimator, RehearsedPair
from ..drift.rehearsals.record import Rehearsal
from ..drift.rehearsals.recording import Recorder
from ..drift.samples import Sample
from ..drift.types import BoolArray, Float32Array, IntArray
from ..inference.model import Model
from ..remedy.remedy_context import IMAGES, RemedyContext
from ..remedy.result import Improvement, RemedyNotApplicable, RemedyResult
from ..settings import Settings
from ..store.logged import HALF, halved
from .rehearse import BATCH, MIN_IMAGES, affordable_images, left_out, rehearsed_images

REHEARSED_IMAGES = 300  # labelled images that are rehearsed, at most, and at most half of those given
ESTIMATED_ON = (
    "rehearsals of the model before and after, on the same {count} labelled images that the remedy was not fitted on, "
    "with a 90 % interval of the difference"
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
    left_out : tuple of str
        What was not rehearsed because the time was up.
    """

    labels: IntArray
    unchanged: tuple[Float32Array, Float32Array]
    changed: Sequence[tuple[Rehearsal, Float32Array, Float32Array]]
    images: BoolArray
    rest: Reference
    rest_labels: IntArray
    left_out: tuple[str, ...]

    @property
    def description(self) -> str:
        """What an improvement of the accuracy was estimated on."""
        text = ESTIMATED_ON.format(count=len(self.labels))
        return f"{text}; the time was up before these: {'; '.join(self.left_out)}" if self.left_out else text


@dataclass(frozen=True, eq=False)
class RehearsedSpan:
    """What one of the two models makes of rehearsals and span.

    Attributes
    ----------
    reference : Reference
        The reference as the model answers; the rehearsed images are its first rows.
    changed : Sequence[Sample]
        Predictions of the images under each rehearsal.
    window : Sample
        Predictions of the span.
    """

    reference: Reference
    changed: Sequence[Sample]
    window: Sample


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
    before = _rehearsed_span(context, predictions, None)
    estimate = _estimate_before(predictions, before, proportions_moved=context.report.kind == "both")
    return [
        _with_improvement(context, predictions, before, estimate, remedy) if remedy.refit else remedy
        for remedy in remedies
    ]


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
    return RehearsedPredictions(
        labels=labels,
        unchanged=unchanged,
        changed=changed,
        images=np.arange(total) < count,
        rest=rest,
        rest_labels=reference_labels[other],
        left_out=left_out(pixels, len(changed)),
    )


def _predict(model: Model, pixels: NDArray[np.uint8]) -> tuple[Float32Array, Float32Array]:
    """Return embeddings and probabilities, rounded as logged traffic is."""
    parts = [model.predict(pixels[first : first + BATCH]) for first in range(0, len(pixels), BATCH)]
    probabilities, embeddings = (np.concatenate(rows) for rows in zip(*parts, strict=True))
    return halved(embeddings).astype(np.float32), probabilities.astype(HALF).astype(np.float32)


def _estimate_before(
    predictions: RehearsedPredictions, before: RehearsedSpan, proportions_moved: bool
) -> RehearsalEstimate:
    """Return the estimated accuracy of the model as it is on the span."""
    recorder = Recorder(before.reference, np.arange(len(predictions.labels)))
    for (rehearsal, *_), sample in zip(predictions.changed, before.changed, strict=True):
        recorder.add(rehearsal, sample)
    estimator = RehearsalEstimator(before.reference, recorder.rehearsals())
    return estimator(before.window, proportions_moved)


def _with_improvement(
    context: RemedyContext,
    predictions: RehearsedPredictions,
    before: RehearsedSpan,
    estimate: RehearsalEstimate,
    remedy: RemedyResult,
) -> RemedyResult:
    """Return a remedy with its improvement of the accuracy, which is estimated as a difference on the same images."""
    after = _rehearsed_span(context, predictions, remedy)
    pairs = [
        RehearsedPair(rehearsal, *samples)
        for (rehearsal, *_), *samples in zip(predictions.changed, before.changed, after.changed, strict=True)
    ]
    rows = np.arange(len(predictions.labels))
    moved = estimate.method == "combined"
    estimator = ImprovementEstimator(before.reference, after.reference, rows, pairs, proportions_moved=moved)
    difference = estimator(before.window, after.window)
    improvement = Improvement(
        metric="accuracy",
        before=estimate.accuracy,
        after=float(np.clip(estimate.accuracy + difference.amount, 0, 1)),
        amount=difference.amount,
        low=difference.low,
        high=difference.high,
        measured_on=predictions.description,
        estimated=True,
    )
    return replace(remedy, rehearsed=improvement)


def _rehearsed_span(
    context: RemedyContext, predictions: RehearsedPredictions, remedy: RemedyResult | None
) -> RehearsedSpan:
    """Return what the model, as it is or as a remedy changes it, makes of rehearsals and span."""
    refit = None if remedy is None else remedy.refit
    remedied = None if refit is None else refit(predictions.rest, predictions.images)

    def posterior(embeddings: Float32Array, probabilities: Float32Array) -> Float32Array:
        return probabilities if remedied is None else remedied(embeddings)

    rest, span = predictions.rest, context.span.sample
    embeddings, probabilities = predictions.unchanged
    reference = Reference(
        np.concatenate([embeddings, rest.embeddings]),
        np.concatenate([posterior(embeddings, probabilities), posterior(rest.embeddings, rest.probabilities)]),
        np.concatenate([predictions.labels, predictions.rest_labels]),
    )
    changed = [reference.check(rows, posterior(rows, outputs)) for _, rows, outputs in predictions.changed]
    window = reference.check(span.embeddings, posterior(span.embeddings, span.probabilities))
    return RehearsedSpan(reference, changed, window)
