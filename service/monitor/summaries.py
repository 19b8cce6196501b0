"""Sentences and reports of alarms: what alarmed, since when, how strong the evidence is."""

from ..drift import WindowReport
from ..drift.views import Leading
from .incident_state import Alarm
from .prepared_reference import PreparedReference
from .stored_report import StoredReport

SUBJECTS = {
    Leading.EMBEDDING: "The model's embeddings changed",
    Leading.LOG_PROBABILITY: "The predicted probabilities changed",
    Leading.PROPERTY: "The measured image properties changed",
    Leading.SOFT_LABEL: "The mix of predicted classes changed",
    Leading.REPEATS: "The same images come again and again",
}


def alarm_summary(report: StoredReport | None, alarm: Alarm, since_change: int) -> str:
    """Return the sentence of an alert: what its window shows, else what alarmed."""
    evidence = f"evidence {alarm.evidence:.1f}, alarm above {alarm.threshold:.1f}, over {since_change} predictions"
    if report is not None and report.tested:
        if report.window.kind != "none":
            return report.window.alert_summary
        return f"{report.window.alert_summary} ({evidence})"
    leading = Leading.parse(alarm.view)
    return f"{SUBJECTS[leading] if leading else 'The predictions changed'}: {evidence}"


def further_shift_summary(report: StoredReport | None, alarm: Alarm, since_change: int) -> str:
    """Return the sentence of a further shift during an incident."""
    return f"A further shift: {alarm_summary(report, alarm, since_change)}"


def untested_report(prepared: PreparedReference, size: int, summary: str) -> StoredReport:
    """Return the report of a window without a test: it claims nothing but its summary."""
    window = WindowReport("untested", size, summary=summary, alert_summary=summary)
    return StoredReport(window, prepared.reference_id, witnesses=(), proportions={}, histograms=())
