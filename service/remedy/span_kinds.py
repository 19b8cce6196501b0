"""Kinds of shift in a span, from its window test and from the labels that were fed back."""

import numpy as np

from ..drift import ConceptMonitor
from ..drift.report import WindowReport
from ..drift.tolerance import tolerance_of
from .span import Span

CHUNK = 50  # labels between two comparisons of the evidence with the threshold


def kinds_of(span: Span, report: WindowReport, expected_run_time: float) -> frozenset[str]:
    """Return the kinds of shift that a span shows: "label", "covariate", "concept", "repeats" or "unknown".

    Parameters
    ----------
    report : WindowReport
        The window test of the span.
    expected_run_time : float
        Predictions between two false alarms; the labels are judged as the monitor judges them.
    """
    kinds = {"label", "covariate"} if report.kind == "both" else {report.kind} - {"none"}
    if _labels_disagree(span, report, expected_run_time):
        kinds.add("concept")
    return frozenset(kinds)


def _labels_disagree(span: Span, report: WindowReport, expected_run_time: float) -> bool:
    labelled = np.flatnonzero(span.labelled)
    if span.reference.labels is None or not len(labelled):
        return False
    monitor = ConceptMonitor(span.reference)
    threshold = monitor.threshold(expected_run_time, len(labelled) / len(span))
    shift = report.label_shift
    proportions = list(shift.estimated.values()) if shift and report.kind in ("label", "both") else None
    for first in range(0, len(labelled), CHUNK):
        rows = labelled[first : first + CHUNK]
        probabilities = span.sample.probabilities[rows]
        predicted = probabilities.argmax(axis=1)
        monitor.update(probabilities, predicted, span.labels[rows], tolerance_of({report.kind}), proportions)
        if monitor.evidence > threshold:
            return True
    return False
