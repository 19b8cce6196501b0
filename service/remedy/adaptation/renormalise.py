"""Remedy of covariate shift in closed form: the span's embeddings brought to the reference's mean and covariance."""

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from ...drift import Reference
from ...drift.temperature_scaling import TemperatureScaling
from ...drift.whitening import Moments
from ..remedy_context import RemedyContext
from ..result import RemedyDetails, RemedyResult
from .head import Head, distil_head
from .unsupervised import AdaptedModel, Fit, adaptation

Matrix = NDArray[np.float64]
Floats = NDArray[np.float32]

RIDGE = 0.1  # share of the reference's mean variance that is added to every direction's


def renormalise(context: RemedyContext) -> RemedyResult:
    """Let the last layer read embeddings renormalised to the reference's statistics.

    In the spirit of AdaBN (Li et al. 2017) and CORAL (Sun, Feng and Saenko 2016), on the embedding alone.

    Raises
    ------
    RemedyNotApplicable
        The reference has no labels.
    """
    reference = context.span.reference
    calibration = TemperatureScaling(reference.probabilities, context.require_reference_labels())

    def fit_from(source: Reference) -> Fit:
        head = distil_head(source.embeddings, source.probabilities)
        return lambda embeddings: AdaptedModel(
            head.after(transport(embeddings, source.embeddings)), calibration, RemedyDetails()
        )

    summary = "Brings embeddings to the mean and covariance of the reference before the last layer; no training."
    return adaptation(context, "renormalise", summary, calibration, fit_from)


def transport(source: Floats, target: Floats) -> Head:
    """Return the layer x @ A + b that carries rows of `source` (m, d) to mean and covariance of `target` (n, d).

    It is the one that moves least: A = S^(-1/2) (S^(1/2) T S^(1/2))^(1/2) S^(-1/2), the optimal transport between
    normal distributions (Knott and Smith 1984), where whitening and colouring would turn the space needlessly. Both
    covariances S and T have a ridge, so that directions of which little is seen stay as they are.
    """
    before, after = Moments.from_rows(source), Moments.from_rows(target)
    ridge = RIDGE * max(float(np.trace(after.covariance)) / after.mean.size, 1e-12) * np.eye(after.mean.size)
    s, t = before.covariance + ridge, after.covariance + ridge
    root, inverse = _power(s, 0.5), _power(s, -0.5)
    matrix = inverse @ _power(root @ t @ root, 0.5) @ inverse
    return Head(matrix, after.mean - before.mean @ matrix)


def _power(symmetric: Matrix, exponent: float) -> Matrix:
    values, vectors = linalg.eigh(symmetric)
    return np.asarray((vectors * np.maximum(values, 1e-300) ** exponent) @ vectors.T)
