"""Incidents as a replay meets them: when each opened, changed and ended, and what it was called."""

import datetime as dt
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from ..alerts.alert_draft import Resolution
from .events import AlertChanged, AlertFired, AlertReopened, AlertResolved, Event

MAX_INCIDENTS = 5000  # incidents that a replay keeps: beyond them the settings are clearly of no use
MAX_ALARMS = 100  # alarms of one incident that are kept


@dataclass(frozen=True)
class ReplayedAlarm:
    """A moment at which an incident opened, opened again or met a further shift.

    Parameters
    ----------
    at : datetime
    position : int
        The number of the stream's predictions by then.
    kind : str
    """

    at: dt.datetime
    position: int
    kind: str


@dataclass(frozen=True)
class ReplayedIncident:
    """An incident of a replay.

    Parameters
    ----------
    id : UUID
    slice : str
        The slice of its stream, empty for the whole model.
    kind, certainty, severity, summary : str
        Of the last event.
    since : datetime
        The estimated time of the change.
    alarms : tuple of ReplayedAlarm
        When it opened, and when it opened again or met a further shift.
    changes : int
        The number of events `drift.changed`.
    resolved_at, resolution : optional
        When and how it ended.
    """

    id: UUID
    slice: str
    kind: str
    certainty: str
    severity: str
    summary: str
    since: dt.datetime
    alarms: tuple[ReplayedAlarm, ...]
    changes: int = 0
    resolved_at: dt.datetime | None = None
    resolution: Resolution | None = None

    @property
    def fired_at(self) -> dt.datetime:
        """The time at which the incident opened."""
        return self.alarms[0].at

    def to_json(self) -> dict[str, object]:
        """Return the incident as JSON values."""
        return {
            "slice": self.slice,
            "kind": self.kind,
            "certainty": self.certainty,
            "severity": self.severity,
            "summary": self.summary,
            "since": self.since.isoformat(),
            "alarms": [
                {"at": alarm.at.isoformat(), "position": alarm.position, "kind": alarm.kind} for alarm in self.alarms
            ],
            "changes": self.changes,
            "resolved_at": self.resolved_at.isoformat() if self.resolved_at else None,
            "resolution": self.resolution,
        }


class IncidentLog:
    """Collects incidents out of the events of steps."""

    def __init__(self) -> None:
        self._incidents: dict[UUID, ReplayedIncident] = {}

    @property
    def incidents(self) -> tuple[ReplayedIncident, ...]:
        """The incidents in the order in which they opened."""
        return tuple(self._incidents.values())

    def add(self, event: Event, at: dt.datetime, position: int) -> None:
        """Take an event of a step over; those that are not about incidents change nothing."""
        if isinstance(event, AlertFired):
            self._open(event, at, position)
        elif isinstance(event, AlertReopened):
            self._alarm(event, at, position, resolved_at=None, resolution=None)
        elif isinstance(event, AlertChanged) and event.reason == "further_shift":
            self._alarm(event, at, position)
        elif isinstance(event, AlertChanged):
            self._change(event)
        elif isinstance(event, AlertResolved) and event.incident_id in self._incidents:
            self._end(event.incident_id, at, event.resolution)

    def accept(self, name: str, at: dt.datetime) -> None:
        """End the open incidents of a stream whose traffic was accepted."""
        self._end_all(name, at, "accepted")

    def retire(self, name: str, at: dt.datetime) -> None:
        """End the open incidents of a stream that ended."""
        self._end_all(name, at, "retired")

    def _open(self, event: AlertFired, at: dt.datetime, position: int) -> None:
        if len(self._incidents) < MAX_INCIDENTS:
            self._incidents[event.incident_id] = ReplayedIncident(
                id=event.incident_id,
                slice=event.slice,
                kind=event.kind,
                certainty=event.certainty,
                severity=event.severity,
                summary=str(event.report.get("summary", "")),
                since=event.since,
                alarms=(ReplayedAlarm(at, position, event.kind),),
            )

    def _alarm(self, event: AlertChanged | AlertReopened, at: dt.datetime, position: int, **values: Any) -> None:
        incident = self._incidents.get(event.incident_id)
        if incident is not None:
            alarms = (*incident.alarms, ReplayedAlarm(at, position, event.kind))[:MAX_ALARMS]
            self._incidents[event.incident_id] = replace(incident, alarms=alarms, **values)
            self._change(event)

    def _change(self, event: AlertChanged | AlertReopened) -> None:
        incident = self._incidents.get(event.incident_id)
        if incident is None:
            return
        summary = incident.summary if event.report is None else str(event.report.get("summary", ""))
        self._incidents[event.incident_id] = replace(
            incident,
            kind=event.kind,
            certainty=event.certainty,
            severity=event.severity,
            summary=summary,
            changes=incident.changes + 1,
        )

    def _end(self, incident_id: UUID, at: dt.datetime, resolution: Resolution) -> None:
        self._incidents[incident_id] = replace(self._incidents[incident_id], resolved_at=at, resolution=resolution)

    def _end_all(self, name: str, at: dt.datetime, resolution: Resolution) -> None:
        for incident in self.incidents:
            if incident.slice == name and incident.resolved_at is None:
                self._end(incident.id, at, resolution)
