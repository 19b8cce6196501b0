"""Remedy of concept shift: the last layer refitted on the labels that came back, and on what of the reference holds."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...drift.temperature_scaling import TemperatureScaling
from ..paired_bootstrap import compare_posteriors, confusion, folds, further_labels, log_losses
from ..remedy_context import RemedyContext
from ..result import Improvement, RemedyNotApplicable, RemedyResult
from .head import Head, distil_head, fit
from .onnx_export import with_head

Matrix = NDArray[np.float64]
Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

FOLDS = 5
INNER_FOLDS = 3  # one of which is held back to choose the settings
MIN_LABELS = 50
REFERENCE_ROWS = 1000  # rows of the reference that take part
SHARES = (0.0, 0.1, 1.0)  # weights tried for a reference row that still holds, a recent label's being 1
PENALTIES = (0.01, 0.1, 1e-3)
FOLDER = "recent-labels"


class Data(NamedTuple):
    """Recent labels, and the reference with the layer that answered it."""

    embeddings: Floats  # (m, d)
    labels: Integers  # (m,)
    old_embeddings: Floats  # (n, d)
    old_labels: Integers  # (n,)
    old_posterior: Matrix  # (n, k), calibrated
    start: Head

    def recent(self, rows: NDArray[np.bool_]) -> "Data":
        """Keep some of the recent labels."""
        return self._replace(embeddings=self.embeddings[rows], labels=self.labels[rows])


class Settings(NamedTuple):
    """The settings that cross-validation chooses."""

    share: float
    penalty: float


def recent_labels(context: RemedyContext) -> RemedyResult:
    """Refit the last layer on the span's fed-back labels; write it as a bundle if it improves.

    Raises
    ------
    RemedyNotApplicable
        The reference has no labels, or too few came back in the span.
    """
    data, before = _data(context)
    after = np.empty(before.shape)
    parts = folds(data.labels, FOLDS, context.seed)
    for part in range(FOLDS):
        held_out = parts == part
        fitting = data.recent(~held_out)
        after[held_out] = refit_head(fitting, choose_settings(fitting, context.seed)).probabilities(
            data.embeddings[held_out]
        )
    measured_on = f"{len(data.labels)} predictions of the span whose labels came back, {FOLDS}-fold cross-validation"
    measured = compare_posteriors(before, after, data.labels, measured_on, False, seed=context.seed)
    settings = choose_settings(data, context.seed)
    needed = {improvement.metric: further_labels(improvement, len(data.labels)) for improvement in measured}
    remedy = RemedyResult(
        name="recent-labels",
        kind="concept",
        summary=(
            f"Refits the last layer on {len(data.labels)} labels that came back. "
            f"{_certainty_sentence(measured, needed)}"
        ),
        improvements=measured,
        missing=context.without_bundle,
        details={
            "labels": len(data.labels),
            "further_labels": needed,
            "weight_of_reference": settings.share,
            "penalty": settings.penalty,
            "confusion": {
                "classes": list(context.span.reference.class_names),
                "before": confusion(before, data.labels),
                "after": confusion(after, data.labels),
            },
        },
    )
    if context.bundle is None or not (remedy.improves or context.force):
        return remedy
    written = with_head(context.bundle, refit_head(data, settings), context.out / FOLDER)
    code = {"bundle": f"tidemark serve --bundle {written.folder}"}
    return replace(remedy, exported=True, files=(f"{FOLDER}/",), code=code)


def refit_head(data: Data, settings: Settings) -> Head:
    """Return the last layer fitted on recent labels and on the reference, row by row as far as it still holds.

    A reference row (x, y) has the importance weight p_now(y|x) / p_then(y|x), at most 1, times the settings' share:
    p_then is the model's calibrated posterior, p_now that of a layer fitted on the recent labels alone. So a class
    whose meaning changed does not pull back, and all others still lend their rows.
    """
    now = fit(data.embeddings, data.labels, np.ones(len(data.labels)), data.start, settings.penalty)
    if not settings.share:
        return now
    rows = np.arange(len(data.old_labels))
    old_probability = np.maximum(data.old_posterior[rows, data.old_labels], 1e-3)
    holds = np.minimum(now.probabilities(data.old_embeddings)[rows, data.old_labels] / old_probability, 1.0)
    weights = np.concatenate([np.ones(len(data.labels)), settings.share * holds])
    embeddings = np.concatenate([data.embeddings, data.old_embeddings])
    return fit(embeddings, np.concatenate([data.labels, data.old_labels]), weights, data.start, settings.penalty)


def choose_settings(data: Data, seed: int) -> Settings:
    """Return the settings with the least log-loss on recent labels held back: the share first, then the penalty."""
    held_out = folds(data.labels, INNER_FOLDS, seed + 1) == 0
    fitting = data.recent(~held_out)

    def loss(settings: Settings) -> float:
        sentences = refit_head(fitting, settings).probabilities(data.embeddings[held_out])
        return float(log_losses(sentences, data.labels[held_out]).mean())

    losses = {settings: loss(settings) for settings in [Settings(share, PENALTIES[0]) for share in SHARES]}
    best = min(losses, key=losses.__getitem__)
    losses |= {settings: loss(settings) for settings in [Settings(best.share, penalty) for penalty in PENALTIES[1:]]}
    return min(losses, key=losses.__getitem__)


def _data(context: RemedyContext) -> tuple[Data, Floats]:
    """Return what is fitted on, and the probabilities that the model gave for the recent labels."""
    span, reference = context.span, context.span.reference
    old_labels = context.require_reference_labels()
    labelled = span.labelled
    if labelled.sum() < MIN_LABELS:
        raise RemedyNotApplicable(f"needs {MIN_LABELS} labels that came back in the span; there are {labelled.sum()}")
    rows = np.random.default_rng(context.seed).permutation(len(reference))[:REFERENCE_ROWS]
    posterior = TemperatureScaling(reference.probabilities, old_labels)(reference.probabilities[rows])
    start = distil_head(reference.embeddings, reference.probabilities)
    data = Data(
        embeddings=span.sample.embeddings[labelled],
        labels=span.labels[labelled],
        old_embeddings=reference.embeddings[rows],
        old_labels=old_labels[rows],
        old_posterior=posterior,
        start=start,
    )
    return data, span.sample.probabilities[labelled]


def _certainty_sentence(measured: tuple[Improvement, ...], needed: dict[str, int | None]) -> str:
    if not any(needed.values()) and None not in needed.values():
        return "The labels are enough to be sure of its improvement."
    sentences = []
    for improvement in measured:
        further = needed[improvement.metric]
        if further is None:
            sentences.append(f"no number of further labels is foreseen to show a improvement in {improvement.metric}")
        elif further:
            sentences.append(f"about {further} further labels would show its improvement in {improvement.metric}")
        else:
            sentences.append(f"the labels are enough to be sure of its improvement in {improvement.metric}")
    sentence = "; ".join(sentences)
    return sentence[:1].upper() + sentence[1:] + "."
