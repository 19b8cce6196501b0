"""Which shifts a span shows: by its window test, and by the labels that came back."""

import numpy as np

from ..drift import ConceptMonitor
from ..drift.concept import tolerance_of
from ..drift.report import WindowReport
from .span import Span

CHUNK = 50  # labels between two looks at the evidence


def kinds_of(span: Span, report: WindowReport, expected_run_time: float) -> frozenset[str]:
    """Return those of "label", "covariate" and "concept" that a span shows.

    Parameters
    ----------
    report : the window test of the span.
    expected_run_time : predictions between two false alarms; the labels are judged as the monitor judges them.
    """
    found = {"label", "covariate"} if report.kind == "both" else {report.kind} - {"none"}
    if _labels_disagree(span, report, expected_run_time):
        found.add("concept")
    return frozenset(found)


def _labels_disagree(span: Span, report: WindowReport, expected_run_time: float) -> bool:
    known = np.flatnonzero(span.labelled)
    if span.reference.labels is None or not len(known):
        return False
    monitor = ConceptMonitor(span.reference)
    threshold = monitor.threshold(expected_run_time, len(known) / len(span))
    shift = report.label_shift
    proportions = list(shift.estimated.values()) if shift and report.kind in ("label", "both") else None
    for first in range(0, len(known), CHUNK):
        rows = known[first : first + CHUNK]
        said = span.sample.probabilities[rows]
        monitor.update(said, said.argmax(axis=1), span.labels[rows], tolerance_of({report.kind}), proportions)
        if monitor.evidence > threshold:
            return True
    return False
