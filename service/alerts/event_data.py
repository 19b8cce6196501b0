"""The JSON of an incident: in the events of webhooks, in its history and in the API."""

import datetime as dt
from typing import NotRequired, TypedDict

from ..store.alerts import AlertRow, HistoryEntry, PreviousValues
from ..store.report_json import RecurrenceJson, WindowReportJson
from .links import page_url


class AcknowledgementJson(TypedDict):
    """Who acknowledged an alert, when and why."""

    at: str
    by: str
    note: str


class EventDetails(TypedDict, total=False):
    """The details of an event: the reason of a change and the values before it, or how often the incident came back."""

    reason: str
    previous: PreviousValues
    reopened: int


class AlertEventData(TypedDict):
    """The `data` of an incident's event, as webhooks carry it."""

    alert_id: str
    sequence: int
    stream: str
    kind: str
    certainty: str
    severity: str
    resolution: str | None
    since: str
    p_value: float
    summary: str
    recurrence: RecurrenceJson | None
    acknowledged: AcknowledgementJson | None
    muted_until: str | None
    report: WindowReportJson
    url: str
    reason: NotRequired[str]
    previous: NotRequired[PreviousValues]
    reopened: NotRequired[int]


class TestEventData(TypedDict):
    """The `data` of a test event."""

    summary: str
    requested_by: str
    url: str


def event_data(alert: AlertRow, public_url: str, details: EventDetails) -> AlertEventData:
    """Return an incident as the events of webhooks carry it."""
    return {
        "alert_id": str(alert.id),
        "sequence": alert.sequence,
        "stream": alert.stream,
        "kind": alert.kind,
        "certainty": alert.certainty,
        "severity": alert.severity,
        "resolution": alert.resolution,
        "since": alert.since.isoformat(),
        "p_value": alert.p_value,
        "summary": alert.summary,
        "recurrence": alert.report.get("recurrence"),
        "acknowledged": acknowledgement(alert),
        "muted_until": alert.muted_until.isoformat() if alert.muted_until else None,
        "report": alert.report,
        "url": page_url(public_url, alert.id),
        **details,
    }


def acknowledgement(alert: AlertRow) -> AcknowledgementJson | None:
    """Return who acknowledged an alert, when and why, or None."""
    if alert.acknowledged_at is None:
        return None
    return {
        "at": alert.acknowledged_at.isoformat(),
        "by": alert.acknowledged_by or "",
        "note": alert.acknowledged_note or "",
    }


def history_entry(event: str, at: dt.datetime, alert: AlertRow, details: EventDetails) -> HistoryEntry:
    """Return an event as the incident's history keeps it: without the report."""
    entry = HistoryEntry(
        event=event,
        at=at.isoformat(),
        sequence=alert.sequence,
        kind=alert.kind,
        certainty=alert.certainty,
        severity=alert.severity,
        summary=alert.summary,
    )
    if "reason" in details:
        entry["reason"] = details["reason"]
    if "previous" in details:
        entry["previous"] = details["previous"]
    if "reopened" in details:
        entry["reopened"] = details["reopened"]
    if alert.resolution:
        entry["resolution"] = alert.resolution
    return entry
