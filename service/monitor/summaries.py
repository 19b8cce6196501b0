"""Sentences and reports of alarms: what alarmed, since when, how strong the evidence is."""

from typing import Any

from ..drift.views import Leading
from .incident import Alarm
from .prepared_reference import PreparedReference
from .report import StoredReport

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
    leading = Leading.of(alarm.view)
    return f"{SUBJECTS[leading] if leading else 'The predictions changed'}: {evidence}"


def further_shift_summary(report: StoredReport | None, alarm: Alarm, since_change: int) -> str:
    """Return the sentence of a further shift during an incident."""
    return f"A further shift: {alarm_summary(report, alarm, since_change)}"


def untested_report(prepared: PreparedReference, size: int, summary: str) -> dict[str, Any]:
    """Return the report of a window without a test: it claims nothing but its summary."""
    return {
        "state": "untested",
        "size": size,
        "duplicates": 0,
        "tested": 0,
        "p_value_floor": 0.0,
        "evidence": 0.0,
        "repeats": None,
        "new_kind": None,
        "alert_summary": summary,
        "p_value": 1.0,
        "drifted": False,
        "kind": "none",
        "tests": {},
        "label_shift": None,
        "performance": None,
        "properties": [],
        "witnesses": [],
        "classes_moved": [],
        "design_effect": None,
        "summary": summary,
        "reference": prepared.reference_id,
        "proportions": {},
        "histograms": [],
    }
