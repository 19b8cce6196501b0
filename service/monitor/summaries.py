"""Sentences and reports of alarms: what alarmed, since when, how strong the evidence is."""

from typing import Any

from .incident import Alarm
from .prepared_reference import PreparedReference
from .report import StoredReport

VIEWS = {
    "E": "The model's embeddings",
    "P": "The predicted probabilities",
    "A": "The measured image properties",
    "L": "The mix of predicted classes",
    "embedding": "The model's embeddings",
    "log_probability": "The predicted probabilities",
    "property": "The measured image properties",
    "soft_label": "The mix of predicted classes",
}
NAMED_PROPERTIES = 2  # that a summary adds where the window names no kind
PROPERTY_LEVEL = 0.05  # p-value up to which a property is named there


def alarm_summary(report: StoredReport | None, alarm: Alarm, since_change: int) -> str:
    """Return the sentence of an alert: what its window shows, or what alarmed if the window is too small to name it."""
    if report is not None and report.tested and report.window.drifted and report.window.kind != "none":
        return report.window.summary
    return (
        f"{VIEWS.get(alarm.view, 'The predictions')} changed{_properties(report)}: evidence {alarm.evidence:.1f} of "
        f"{alarm.threshold:.1f} over the last {since_change} predictions, which are too few to name the kind surely"
    )


def further_shift_summary(report: StoredReport | None, alarm: Alarm, since_change: int) -> str:
    """Return the sentence of a further shift during an incident."""
    return f"A further shift: {alarm_summary(report, alarm, since_change)}"


def untested_report(prepared: PreparedReference, size: int, summary: str) -> dict[str, Any]:
    """Return the report of a window without a test: it claims nothing but its summary."""
    return {
        "state": "untested",
        "size": size,
        "duplicates": 0,
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


def _properties(report: StoredReport | None) -> str:
    if report is None or not report.tested:
        return ""
    moved = [item for item in report.window.properties if item.p_value <= PROPERTY_LEVEL]
    words = [f"{item.name} {item.reference_mean:.3g} → {item.window_mean:.3g}" for item in moved[:NAMED_PROPERTIES]]
    return f" ({', '.join(words)})" if words else ""
