"""Remedy of covariate shift: the last layer refitted on reference rows that look like the span."""

import numpy as np
from numpy.typing import NDArray

from ...drift import Reference
from ...drift.temperature_scaling import TemperatureScaling
from ..paired_bootstrap import folds
from ..remedy_context import RemedyContext
from ..result import RemedyDetails, RemedyResult
from .head import Head, choose_penalty, distil_head, fit
from .unsupervised import AdaptedModel, Fit, adaptation

Matrix = NDArray[np.float64]
Floats = NDArray[np.float32]

FOLDS = 3
ROWS = 1000  # rows of the reference that take part
PENALTY = 0.1  # penalty of the classifier that separates the span from the reference
LARGEST_RATIO = 20.0


def importance_weighting(context: RemedyContext) -> RemedyResult:
    """Refit the last layer with importance weights p_span(x) / p_reference(x) (Shimodaira 2000).

    Raises
    ------
    RemedyNotApplicable
        The reference has no labels.
    """
    calibration = TemperatureScaling(context.span.reference.probabilities, context.require_reference_labels())
    summary = "Refits the last layer on the reference, each row weighted by how much it looks like the span."
    return adaptation(
        context, "last-layer", summary, calibration, lambda reference: _weighted_refit(reference, context.seed)
    )


def _weighted_refit(reference: Reference, seed: int) -> Fit:
    """Return the adaptation that weights rows of a reference with labels."""
    rows = np.random.default_rng(seed).permutation(len(reference))[:ROWS]
    old, y = reference.embeddings[rows], np.asarray(reference.labels)[rows]
    start = distil_head(reference.embeddings, reference.probabilities)

    def refit(embeddings: Floats) -> AdaptedModel:
        ratio = density_ratio(old, embeddings, seed)
        penalty = choose_penalty(old, y, ratio, start, seed)
        held_out = np.empty((len(old), reference.classes), np.float32)
        parts = folds(y, FOLDS, seed)
        for part in range(FOLDS):
            part_rows = parts == part
            head = fit(old[~part_rows], y[~part_rows], ratio[~part_rows], start, penalty)
            held_out[part_rows] = head.probabilities(old[part_rows])
        details = RemedyDetails(effective_sample_size=effective_size(ratio), reference_rows=len(old), penalty=penalty)
        return AdaptedModel(fit(old, y, ratio, start, penalty), TemperatureScaling(held_out, y), details)

    return refit


def density_ratio(reference: Floats, window: Floats, seed: int) -> Matrix:
    """Return p_window(x) / p_reference(x) at the reference's rows (n,), at most 20, its mean 1.

    It is the odds of a logistic classifier that tells both apart, each side weighing the same (Bickel, Brückner and
    Scheffer 2009). Each row's odds come from a classifier that has not seen it.
    """
    rows = np.concatenate([reference, window])
    side = np.repeat([0, 1], [len(reference), len(window)])
    weights = np.repeat([1 / len(reference), 1 / len(window)], [len(reference), len(window)])
    blank = Head(np.zeros((rows.shape[1], 2)), np.zeros(2))
    odds = np.empty(len(rows))
    parts = folds(side, FOLDS, seed)
    for part in range(FOLDS):
        part_rows = parts == part
        scores = fit(rows[~part_rows], side[~part_rows], weights[~part_rows], blank, PENALTY).scores(rows[part_rows])
        odds[part_rows] = np.exp(np.clip(scores[:, 1] - scores[:, 0], -50, 50))
    ratio = np.minimum(odds[: len(reference)], LARGEST_RATIO)
    return np.asarray(ratio / ratio.mean())


def effective_size(weights: Matrix) -> float:
    """Return how many rows of equal weight would be as much: (sum of w)² / sum of w² (Kish 1965)."""
    return float(weights.sum() ** 2 / (weights**2).sum())
