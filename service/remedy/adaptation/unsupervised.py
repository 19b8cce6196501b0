"""Adaptation to a span without its labels: fitted on one half, judged on the other, and written if it improves."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ...drift import Reference
from ...drift.types import BoolArray
from ..bundle_baseline import write_baseline
from ..paired_bootstrap import compare_posteriors, confusion, paired_bootstrap
from ..remedy_context import RemedyContext
from ..result import Answers, Improvement, RemedyDetails, RemedyResult
from .head import Head, ResidualAdapter
from .onnx_export import with_head

Matrix = NDArray[np.float64]
Floats = NDArray[np.float32]

HALVES = 2
MIN_LABELS = 50  # fed-back labels from which the improvement is measured on them
MIN_ESTIMATED_IMPROVEMENT = 0.002  # accuracy; larger than on any of 20 calm control spans of 500 predictions
ESTIMATED_FROM_POSTERIORS = (
    "this span, held back by halves, where the old and the adapted answers differ, judged by the mean of both "
    "calibrated posteriors: cautious, because it trusts the old answers as much as the new"
)


class Calibrated(Protocol):
    """Turns posteriors (m, k) into calibrated ones (m, k)."""

    def __call__(self, probabilities: Floats) -> Matrix: ...


@dataclass(frozen=True, eq=False)
class AdaptedModel:
    """A last layer, on embeddings bent where it needs that, and how far its confidence can be believed."""

    head: Head
    calibration: Calibrated
    details: RemedyDetails
    adapter: ResidualAdapter | None = None

    def probabilities(self, embeddings: Floats) -> Floats:
        """Return posteriors (m, k) of embeddings (m, d)."""
        read = embeddings if self.adapter is None else self.adapter(embeddings)
        return self.head.probabilities(read).astype(np.float32)


Fit = Callable[[Floats], AdaptedModel]  # the adaptation to embeddings (m, d) of a span


def adaptation(
    context: RemedyContext, name: str, summary: str, before: Calibrated, fit_from: Callable[[Reference], Fit]
) -> RemedyResult:
    """Measure the improvement by an adaptation, and write it as a bundle if it improves or `--force` asks for it.

    Parameters
    ----------
    before : Calibrated
        Calibration of the model as it is.
    fit_from : Callable[[Reference], Fit]
        The adaptation that learns from a reference with labels.
    """
    span = context.span
    fit = fit_from(span.reference)
    halves = np.random.default_rng(context.seed).permutation(len(span)) % HALVES
    after = np.empty(span.sample.probabilities.shape, np.float32)
    calibrated = np.empty(after.shape)
    for half in range(HALVES):
        held_out = halves == half
        adapted = fit(span.sample.embeddings[~held_out])
        after[held_out] = adapted.probabilities(span.sample.embeddings[held_out])
        calibrated[held_out] = adapted.calibration(after[held_out])
    old = span.sample.probabilities
    whole = fit(span.sample.embeddings)
    labelled = span.labelled
    details = RemedyDetails(**whole.details, changed_answers=float((old.argmax(axis=1) != after.argmax(axis=1)).mean()))
    if labelled.sum() >= MIN_LABELS:
        measured_on = f"{labelled.sum()} predictions of the span whose labels came back, each held back from the fit"
        accuracy, loss = compare_posteriors(
            old[labelled], after[labelled], span.labels[labelled], measured_on, False, seed=context.seed
        )
        measured = accuracy
        details["log_loss"] = {"before": loss.before, "after": loss.after}
        details["confusion"] = {
            "classes": list(span.reference.class_names),
            "before": confusion(old[labelled], span.labels[labelled]),
            "after": confusion(after[labelled], span.labels[labelled]),
        }
    else:
        measured = estimate_improvement(old, before(old), after, calibrated, context.seed)

    def refit(rest: Reference, _: BoolArray) -> Answers:
        return fit_from(rest)(span.sample.embeddings).probabilities

    remedy = RemedyResult(
        name=name, kind="covariate", summary=summary, improvements=(measured,), details=details, refit=refit
    )
    if context.bundle is None or not (remedy.improves or context.force):
        return remedy
    written = with_head(context.bundle, whole.head, context.out / name, whole.adapter)
    write_baseline(written.folder, span, whole.probabilities(span.sample.embeddings), "all")
    code = {"bundle": f"tidemark serve --bundle {written.folder}"}
    return replace(remedy, exported=True, files=(f"{name}/",), code=code)


def estimate_improvement(
    old: Floats, old_believed: Matrix, new: Floats, new_believed: Matrix, seed: int
) -> Improvement:
    """Estimate the improvement in accuracy without labels, from posteriors (m, k) and their calibrated selves.

    Each answer is right with the probability that the mean of both calibrated posteriors gives it. Where both answers
    agree nothing improves. Judged by the new posterior alone every changed answer would look like an improvement, and
    by the old one like a loss; their mean favours neither, so that an adaptation to nothing improves nothing. Where a
    model is overconfident, the estimate lies below the truth. The interval is wider by MIN_ESTIMATED_IMPROVEMENT on
    both sides: the bootstrap knows how rows vary, but not that both posteriors may err on all of them together.
    """
    rows = np.arange(len(old))
    mean = (old_believed + new_believed) / 2
    before, after = mean[rows, old.argmax(axis=1)], mean[rows, new.argmax(axis=1)]
    estimate = paired_bootstrap("accuracy", before, after, ESTIMATED_FROM_POSTERIORS, True, seed=seed)
    return replace(
        estimate, low=estimate.low - MIN_ESTIMATED_IMPROVEMENT, high=estimate.high + MIN_ESTIMATED_IMPROVEMENT
    )
