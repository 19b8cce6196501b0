"""Alerts: one an incident, with its history."""

import datetime as dt
from dataclasses import dataclass
from typing import (
    Any,
    NotRequired,  # pydantic reads only these before Python 3.12
)
from uuid import UUID

from sqlalchemy import Connection, Select, case, func, insert, literal, select, update
from typing_extensions import TypedDict, Unpack

from .page_bounds import first_page
from .report_json import WindowReportJson
from .streams import stream_name, with_names
from .tables import alerts, streams

MAX_HISTORY = 200  # entries of an incident's history; the oldest are dropped beyond it
LABEL_KINDS = ("concept", "harm")  # the kinds of alerts that labels raise


class PreviousValues(TypedDict):
    """The content of an alert before a change."""

    kind: str
    certainty: str
    severity: str


class HistoryEntry(TypedDict):
    """An event of an incident, or what a person did with it, as its history keeps it: without the report.

    Events of the incident have all keys from `sequence` to `summary`; the others only where they apply.
    """

    event: str
    at: str  # ISO 8601
    sequence: NotRequired[int]
    kind: NotRequired[str]
    certainty: NotRequired[str]
    severity: NotRequired[str]
    summary: NotRequired[str]
    resolution: NotRequired[str]
    reason: NotRequired[str]
    previous: NotRequired[PreviousValues]
    reopened: NotRequired[int]
    by: NotRequired[str]
    note: NotRequired[str]
    what: NotRequired[str]
    until: NotRequired[str]


@dataclass(frozen=True)
class AlertRow:
    """A stored alert with the names of its stream and model."""

    id: UUID
    stream_id: int
    kind: str
    state: str
    since: dt.datetime
    fired_at: dt.datetime
    resolved_at: dt.datetime | None
    position: int
    window_id: int | None
    p_value: float
    summary: str
    report: WindowReportJson
    severity: str
    certainty: str
    sequence: int
    resolution: str | None
    reopened: int
    acknowledged_at: dt.datetime | None
    acknowledged_by: str | None
    acknowledged_note: str | None
    muted_until: dt.datetime | None
    muted_by: str | None
    parent_id: UUID | None
    history: list[HistoryEntry]
    stream: str
    model_name: str
    model_version: str


class AlertValues(TypedDict, total=False):
    """Columns of an alert that are written."""

    id: UUID
    stream_id: int
    kind: str
    state: str
    since: dt.datetime
    fired_at: dt.datetime
    resolved_at: dt.datetime | None
    position: int
    window_id: int | None
    p_value: float
    summary: str
    report: WindowReportJson
    severity: str
    certainty: str
    sequence: int
    resolution: str | None
    reopened: int
    acknowledged_at: dt.datetime | None
    acknowledged_by: str | None
    acknowledged_note: str | None
    muted_until: dt.datetime | None
    muted_by: str | None
    parent_id: UUID | None


@dataclass(frozen=True)
class OpenIncidents:
    """Firing alerts of a stream that have the same kind and severity and were handled alike."""

    stream_id: int
    kind: str
    severity: str
    state: str  # new, acknowledged or muted
    count: int


def firing(connection: Connection, stream_id: int) -> list[AlertRow]:
    """Return the alerts of a stream that are firing, oldest first."""
    query = with_names(alerts).where(alerts.c.stream_id == stream_id, alerts.c.state == "firing")
    return _alerts(connection, query.order_by(alerts.c.fired_at))


def firing_parent(connection: Connection, stream_id: int, kind: str) -> UUID | None:
    """Return the firing alert of the whole model that a slice belongs to, of images and predictions or, for one
    that labels raise, of labels; None for the stream of a whole model."""
    of_slice, of_model = streams.alias(), streams.alias()
    query = (
        select(alerts.c.id)
        .join(of_model, of_model.c.id == alerts.c.stream_id)
        .join(of_slice, of_slice.c.model_id == of_model.c.model_id)
        .where(of_slice.c.id == stream_id, of_slice.c.slice != "", of_model.c.slice == "", alerts.c.state == "firing")
        .where(alerts.c.kind.in_(LABEL_KINDS) if kind in LABEL_KINDS else alerts.c.kind.not_in(LABEL_KINDS))
    )
    parent: UUID | None = connection.execute(query.order_by(alerts.c.fired_at).limit(1)).scalar_one_or_none()
    return parent


def leave_parent(connection: Connection, parent_id: UUID) -> list[AlertRow]:
    """Part the firing alerts of slices from the alert of their model, and return them."""
    children = _alerts(
        connection, with_names(alerts).where(alerts.c.parent_id == parent_id, alerts.c.state == "firing")
    )
    ids = [child.id for child in children]
    connection.execute(update(alerts).where(alerts.c.id.in_(ids)).values(parent_id=None))
    return children


def children(connection: Connection, parent_id: UUID) -> list[AlertRow]:
    """Return the alerts of slices that are part of an alert of their model, oldest first."""
    return _alerts(connection, with_names(alerts).where(alerts.c.parent_id == parent_id).order_by(alerts.c.fired_at))


def save(connection: Connection, **values: Unpack[AlertValues]) -> None:
    """Store a new alert."""
    connection.execute(insert(alerts).values(**values))


def update_alert(
    connection: Connection, alert_id: UUID, present_state: str, **values: Unpack[AlertValues]
) -> int | None:
    """Change an alert that is in a state and number the event; return its number, or None where it is in another."""
    statement = update(alerts).where(alerts.c.id == alert_id, alerts.c.state == present_state)
    statement = statement.values(sequence=alerts.c.sequence + 1, **values)
    number: int | None = connection.execute(statement.returning(alerts.c.sequence)).scalar_one_or_none()
    return number


def annotate(connection: Connection, alert_id: UUID, **values: Unpack[AlertValues]) -> None:
    """Store what a person said of an alert, without a further event."""
    connection.execute(update(alerts).where(alerts.c.id == alert_id).values(**values))


def record(connection: Connection, alert_id: UUID, entry: HistoryEntry) -> None:
    """Append an entry to an alert's history, and drop the oldest beyond MAX_HISTORY."""
    of_alert = alerts.c.id == alert_id
    history = connection.execute(select(alerts.c.history).where(of_alert).with_for_update()).scalar_one()
    connection.execute(update(alerts).where(of_alert).values(history=[*history, entry][-MAX_HISTORY:]))


def newest(
    connection: Connection, limit: int = 50, stream: str | None = None, before: UUID | None = None
) -> list[AlertRow]:
    """Return alerts, newest first, at most `limit` and as many as a page may hold; `before` is an alert's id."""
    query = with_names(alerts).order_by(alerts.c.fired_at.desc()).limit(limit)
    if stream is not None:
        query = query.where(stream_name == stream)
    if before is not None:
        last = alerts.alias()
        query = query.where(alerts.c.fired_at < select(last.c.fired_at).where(last.c.id == before).scalar_subquery())
    return _alerts(connection, first_page(query, "fired_at"))


def fired_between(
    connection: Connection, model_id: int, since: dt.datetime, until: dt.datetime, limit: int = 1000
) -> list[AlertRow]:
    """Return the alerts of a model's streams that fired in a span of time, oldest first."""
    query = with_names(alerts).where(
        streams.c.model_id == model_id, alerts.c.fired_at >= since, alerts.c.fired_at < until
    )
    return _alerts(connection, query.order_by(alerts.c.fired_at).limit(limit))


def get(connection: Connection, alert_id: UUID) -> AlertRow | None:
    """Return one alert, or None."""
    rows = _alerts(connection, with_names(alerts).where(alerts.c.id == alert_id))
    return rows[0] if rows else None


def open_incidents(connection: Connection) -> list[OpenIncidents]:
    """Return the number of firing alerts of each stream by kind, severity and what a person has said of them."""
    a = alerts.c
    state = case(
        (a.muted_until > func.now(), literal("muted")),
        (a.acknowledged_at.is_not(None), literal("acknowledged")),
        else_=literal("new"),
    )
    groups = (a.stream_id, a.kind, a.severity, state.label("state"))
    query = select(*groups, func.count()).where(a.state == "firing").group_by(*groups)
    return [OpenIncidents(*row) for row in connection.execute(query)]


def _alerts(connection: Connection, query: Select[Any]) -> list[AlertRow]:
    return [AlertRow(**row._asdict()) for row in connection.execute(query)]
