"""The kind of a window's change: class proportions, residual, repeats."""

from dataclasses import dataclass

import numpy as np

from . import label_shift
from .estimated_accuracy import at_proportions
from .estimates import Performance
from .fitted_reference import FittedReference
from .kind import Proportions, name_kind
from .report import Kind
from .residual import Residual
from .shifted_accuracy import shifted_performance
from .tested_window import NormalTraffic, Outcome, TestedWindow
from .types import FloatArray


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """The change of a window.

    Attributes
    ----------
    kind : Kind
        "none" if nothing did.
    residual : Residual or None
        The residual test, only if the kind had to be named.
    proportions : Proportions
        Class proportions of the window; by predicted classes if the reference has no labels.
    performance : Performance
        The estimated accuracy; meaningless without labels.
    """

    kind: Kind
    residual: Residual | None
    proportions: Proportions
    performance: Performance


def diagnose(
    fitted: FittedReference, window: TestedWindow, outcome: Outcome, drifted: bool, repeats_unusual: bool
) -> Diagnosis:
    """Name the kind of a window's change.

    Parameters
    ----------
    fitted : FittedReference
        The reference.
    window : TestedWindow
        The window.
    outcome : Outcome
        Outcome of its tests, with the calm traffic of its context if what is normal depends on that.
    drifted : bool
        Whether the tests of its different rows reject.
    repeats_unusual : bool
        Whether it repeats itself more than the reference does.
    """
    posterior = fitted.calibration(window.sample.probabilities)
    normal = outcome.normal
    proportions = _estimate(fitted, window, posterior, normal)
    moved_posterior = at_proportions(posterior, proportions.reference, proportions.estimated)
    predicted = window.views.predicted
    residual: Residual | None = None
    kind: Kind = "none"
    if drifted and not fitted.has_repeated_classes:
        kind = "unknown"
    elif drifted:
        residual = fitted.residual_test(
            window.views, proportions.estimated, None if normal is None else (normal, proportions.normal)
        )
        estimate = fitted.performance(moved_posterior, predicted, explained=True).estimated_accuracy
        if fitted.rehearsed is not None:
            # A shifted model is surer than it is right: its confidence alone would take its errors for a label shift.
            estimate = min(estimate, fitted.rehearsed(window.sample).accuracy)
        kind = name_kind(residual, proportions, 2 - fitted.performance.accuracy - estimate)
    elif repeats_unusual:
        kind = "repeats"
    return Diagnosis(kind, residual, proportions, _performance(fitted, window, kind, proportions))


def _performance(fitted: FittedReference, window: TestedWindow, kind: Kind, proportions: Proportions) -> Performance:
    """Return the estimated accuracy by the method that suits the kind."""
    posterior = fitted.calibration(window.sample.probabilities)
    predicted = window.views.predicted
    if kind in ("none", "repeats"):
        return fitted.performance(posterior, predicted, explained=True)
    posterior_at_estimate = at_proportions(posterior, proportions.reference, proportions.estimated)
    if kind == "label":
        return fitted.performance(posterior_at_estimate, predicted, explained=True, method="reweighted")
    if fitted.rehearsed is None:
        return fitted.performance(posterior_at_estimate if kind == "both" else posterior, predicted, explained=False)
    estimate = fitted.rehearsed(window.sample, proportions_moved=kind == "both")
    return shifted_performance(estimate, fitted.performance.accuracy)


def _estimate(
    fitted: FittedReference, window: TestedWindow, posterior: FloatArray, normal: NormalTraffic | None
) -> Proportions:
    prior = fitted.prior
    estimated = label_shift.estimate_proportions(posterior, prior)
    draws = label_shift.posterior_proportions(posterior, prior, estimated, window.rng(use=2))
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    half_row = 0.5 / len(posterior)  # a share that a window cannot tell from none
    return Proportions(
        reference=prior,
        normal=prior
        if normal is None
        else label_shift.estimate_proportions(fitted.calibration(normal.sample.probabilities), prior),
        estimated=estimated,
        low=np.clip(np.minimum(low, estimated) - half_row, 0, 1),
        high=np.clip(np.maximum(high, estimated) + half_row, 0, 1),
        moments=label_shift.black_box(posterior.mean(axis=0), fitted.confusion),
    )
