"""Remedy for covariate shifts that `renormalise` cannot undo: domain-adversarial training, without new labels."""

import numpy as np
from numpy.typing import NDArray

from ...drift import Reference
from ...drift.temperature_scaling import TemperatureScaling
from ..remedy_context import RemedyContext
from ..result import RemedyDetails, RemedyResult
from .adversarial_training import require_torch, reverse_accuracy, train
from .head import distil_head
from .unsupervised import AdaptedModel, Fit, adaptation

Floats = NDArray[np.float32]

STRENGTHS = (0.1, 1.0)  # weights of the adversary that are tried
ROWS = 5000  # rows of the reference that take part
HELD_OUT = 0.3  # share of these rows for the choice and the calibration


def domain_adversarial(context: RemedyContext) -> RemedyResult:
    """Train features that look alike in reference and span (Ganin et al. 2016); needs the extra `adapt`.

    The adversary's strength is chosen by reverse validation (Zhong et al. 2010), see `reverse_accuracy`.

    Raises
    ------
    RemedyNotApplicable
        Torch is not installed, or the reference has no labels.
    """
    require_torch()
    calibration = TemperatureScaling(context.span.reference.probabilities, context.require_reference_labels())
    summary = "Trains features on which a discriminator cannot tell span from reference, and a classifier on them."
    return adaptation(
        context, "domain-adversarial", summary, calibration, lambda reference: _trained(reference, context.seed)
    )


def _trained(reference: Reference, seed: int) -> Fit:
    """Return the adaptation that trains on a reference with labels."""
    labels = np.asarray(reference.labels)
    rows = np.random.default_rng(seed).permutation(len(reference))[:ROWS]
    fitted, held_out = np.split(rows, [round(len(rows) * (1 - HELD_OUT))])
    start = distil_head(reference.embeddings, reference.probabilities)

    def fit(embeddings: Floats) -> AdaptedModel:
        old, y = reference.embeddings[fitted], labels[fitted]
        tried = {strength: train(old, y, embeddings, start, strength, seed) for strength in STRENGTHS}
        scores = {
            strength: reverse_accuracy(trained, reference.embeddings[held_out], labels[held_out], embeddings)
            for strength, trained in tried.items()
        }
        best = max(STRENGTHS, key=lambda strength: scores[strength])
        adapter, head = tried[best].reference
        held_out_probabilities = head.probabilities(adapter(reference.embeddings[held_out])).astype(np.float32)
        details = RemedyDetails(strength=best, reverse_accuracy={str(name): score for name, score in scores.items()})
        return AdaptedModel(
            head, TemperatureScaling(held_out_probabilities, labels[held_out]), details, tried[best].window.adapter
        )

    return fit
