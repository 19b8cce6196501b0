"""An incident as the events of webhooks and the API show it."""

from typing import Any

from ..store.alerts import AlertRow
from .links import page_url


def event_data(alert: AlertRow, public_url: str) -> dict[str, Any]:
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
    }


def acknowledgement(alert: AlertRow) -> dict[str, str] | None:
    """Return who acknowledged an alert, when and why, or None."""
    if alert.acknowledged_at is None:
        return None
    return {
        "at": alert.acknowledged_at.isoformat(),
        "by": alert.acknowledged_by or "",
        "note": alert.acknowledged_note or "",
    }
