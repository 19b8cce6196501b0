"""What clients read of an alert: the models of its JSON."""

import datetime as dt
from collections.abc import Sequence
from typing import Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field, SerializeAsAny, SkipValidation

from ..store.alerts import AlertRow, HistoryEntry
from ..store.baselines import AcceptedPart, Baseline
from ..store.deliveries import DeliveryRow
from ..store.report_json import WindowReportJson
from .alert_draft import Certainty, Resolution, Severity
from .links import page_url, public_receiver_url


class Acknowledgement(BaseModel):
    """Who takes care of an alert, since when and why."""

    at: dt.datetime
    by: str
    note: str


class Delivery(BaseModel):
    """The delivery of one event to one receiver."""

    id: UUID
    event: str
    sequence: int
    url: str = Field(description="The receiver's address without user, password, path and query.")
    format: str
    outcome: Literal["pending", "delivered", "failed", "superseded", "muted"]
    attempts: int
    last_status: int | None
    last_error: str | None
    delivered_at: dt.datetime | None

    @classmethod
    def from_row(cls, row: DeliveryRow) -> Self:
        """Return a stored delivery as clients read it."""
        names = ("id", "event", "sequence", "format", "outcome", "attempts", "last_status", "last_error")
        values = {name: getattr(row, name) for name in names}
        return cls(**values, url=public_receiver_url(row.url), delivered_at=row.delivered_at)


class AlertSummary(BaseModel):
    """An alert without its report, history and deliveries."""

    id: UUID
    stream: str
    kind: str
    certainty: Certainty
    severity: Severity
    state: Literal["firing", "resolved"]
    sequence: int = Field(description="Number of the incident's last event.")
    since: dt.datetime
    fired_at: dt.datetime
    resolved_at: dt.datetime | None
    resolution: Resolution | None
    reopened: int = Field(description="Times that the incident came back after it was resolved.")
    acknowledged: Acknowledgement | None
    muted_until: dt.datetime | None
    muted_by: str | None
    parent: UUID | None = Field(description="For a slice: the alert of its model, whose events speak for this one too.")
    position: int = Field(description="Predictions of the stream up to the alarm.")
    window: int | None
    p_value: float
    summary: str
    recurrence: "Recurrence | None" = Field(None, description="Earlier incidents that resemble this one.")
    url: str = Field(description="The address of the alert's page.")

    @classmethod
    def from_row(cls, row: AlertRow, public_url: str, now: dt.datetime) -> Self:
        """Return a stored alert as clients read it at the time `now`; a mute that is over is not shown."""
        acknowledged = None
        if row.acknowledged_at is not None:
            by, note = row.acknowledged_by or "", row.acknowledged_note or ""
            acknowledged = Acknowledgement(at=row.acknowledged_at, by=by, note=note)
        is_muted = row.muted_until is not None and row.muted_until > now
        recurrence = row.report.get("recurrence")
        names = ("id", "stream", "kind", "certainty", "severity", "state", "sequence", "since", "fired_at")
        return cls(
            **{name: getattr(row, name) for name in names},
            resolved_at=row.resolved_at,
            resolution=row.resolution,
            reopened=row.reopened,
            acknowledged=acknowledged,
            muted_until=row.muted_until if is_muted else None,
            muted_by=row.muted_by if is_muted else None,
            parent=row.parent_id,
            position=row.position,
            window=row.window_id,
            p_value=row.p_value,
            summary=row.summary,
            recurrence=None if recurrence is None else Recurrence.model_validate(recurrence),
            url=page_url(public_url, row.id),
        )


class Alert(AlertSummary):
    """An alert with its report, its history and the deliveries of its events."""

    report: SkipValidation[SerializeAsAny[WindowReportJson]]  # an earlier version may have written it
    history: SkipValidation[SerializeAsAny[list[HistoryEntry]]]
    deliveries: list[Delivery]

    @classmethod
    def with_deliveries(cls, row: AlertRow, sent: Sequence[DeliveryRow], public_url: str, now: dt.datetime) -> Self:
        """Return a stored alert with those of the deliveries that belong to it."""
        deliveries = [Delivery.from_row(delivery) for delivery in sent if delivery.alert_id == row.id]
        summary = AlertSummary.from_row(row, public_url, now)
        return cls(**dict(summary), report=row.report, history=row.history, deliveries=deliveries)


class Recurrence(BaseModel):
    """The earlier incidents of the stream that an alert resembles in kind, direction and size."""

    count: int
    first: dt.datetime
    last: dt.datetime = Field(description="When the last of them began.")
    text: str


class BaselineSummary(BaseModel):
    """The accepted traffic that a stream is compared with in place of its reference alone."""

    id: int
    what: AcceptedPart
    since: dt.datetime
    until: dt.datetime
    rows: int
    by: str
    note: str
    at: dt.datetime

    @classmethod
    def from_row(cls, row: Baseline) -> Self:
        """Return a stored baseline as clients read it."""
        names = ("id", "what", "since", "until", "rows", "note")
        return cls(**{name: getattr(row, name) for name in names}, by=row.accepted_by, at=row.created_at)
