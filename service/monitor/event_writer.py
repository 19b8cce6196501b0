"""The events of a step as rows: window reports, alerts, and the points of the chart of the evidence."""

import datetime as dt
import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeVar, cast

from sqlalchemy import Connection

from ..alerts.alert_draft import AlertChange, AlertDraft, ChangeReason
from ..alerts.lifecycle import Alerts
from ..store import evidence, monitor_progress, windows
from ..store.errors import DATABASE_ERRORS, is_refused
from .events import (
    AlertChanged,
    AlertFired,
    AlertReopened,
    AlertResolved,
    Event,
    EvidencePoint,
    Explanation,
    WindowStored,
)
from .model_state import ModelState
from .stream_state import StreamState

JsonValues = TypeVar("JsonValues", bound=Mapping[str, object])

logger = logging.getLogger(__name__)


class EventWriter:
    """Writes events, each in a savepoint: one that Postgres refuses does not undo the step."""

    def __init__(
        self, connection: Connection, alerts: Alerts, state: ModelState, ids: Mapping[str, int], now: dt.datetime
    ) -> None:
        self._connection = connection
        self._alerts = alerts
        self._ids = ids
        self._now = now
        self._windows: dict[int, int] = {}  # ids of stored windows by the identity of their explanation
        self.state = state

    def write(self, event: Event) -> None:
        """Write one event."""
        if isinstance(event, EvidencePoint) or event.slice not in self._ids:
            return
        try:
            with self._connection.begin_nested():
                self._write(event)
        except DATABASE_ERRORS as error:
            if not is_refused(error):
                raise
            logger.exception("Postgres refuses an event of stream %d", self._ids[event.slice])
            stream = self.state.streams[event.slice]
            self._replace(event.slice, replace(stream, status=stream.status.with_error("write", error)))

    def write_points(self, events: Iterable[Event]) -> None:
        """Append the points of the charts."""
        points = [
            evidence.PointValues(
                stream_id=self._ids[event.slice],
                position=event.position,
                at=event.at,
                evidence=event.evidence,
                threshold=event.threshold,
            )
            for event in events
            if isinstance(event, EvidencePoint) and event.slice in self._ids and math.isfinite(event.evidence)
        ]
        evidence.add(self._connection, points)

    def _write(self, event: Event) -> None:
        if isinstance(event, WindowStored):
            self._windows[id(event.explanation)] = self._store_window(event)
            if event.explanation.request.purpose == "on_demand":
                monitor_progress.save(self._connection, self._ids[event.slice], {"window_requested_at": None})
        elif isinstance(event, AlertFired):
            draft = AlertDraft(
                stream_id=self._ids[event.slice],
                at=self._now,
                kind=event.kind,
                since=event.since,
                position=event.position,
                report=finite(event.report),
                window_id=self._window_of(event.explanation),
                severity=event.severity,
                certainty=event.certainty,
                id=event.incident_id,
            )
            self._alerts.fire(self._connection, draft)
        elif isinstance(event, AlertResolved):
            self._alerts.resolve(self._connection, event.incident_id, self._now, event.resolution)
        elif isinstance(event, AlertReopened):
            self._alerts.reopen(self._connection, event.incident_id, self._now, self._change(event, "kind"))
        elif isinstance(event, AlertChanged):
            change = self._change(event, event.reason)
            if not self._alerts.change(self._connection, event.incident_id, change):
                self._forget_incident(event.slice)

    def _change(self, event: AlertChanged | AlertReopened, reason: ChangeReason) -> AlertChange:
        return AlertChange(
            at=self._now,
            reason=reason,
            kind=event.kind,
            certainty=event.certainty,
            severity=event.severity,
            report=None if event.report is None else finite(event.report),
            window_id=self._window_of(event.explanation),
        )

    def _store_window(self, event: WindowStored) -> int:
        explanation, report = event.explanation, finite(event.report)
        request = explanation.request
        return windows.save(
            self._connection,
            stream_id=self._ids[event.slice],
            start=explanation.start,
            end=explanation.end,
            first=request.first,
            size=len(request.ids),
            p_value=report["p_value"],
            drifted=report["drifted"],
            kind=report["kind"],
            evidence=request.evidence,
            threshold=request.threshold,
            seconds=explanation.seconds,
            report=report,
        )

    def _window_of(self, explanation: Explanation | None) -> int | None:
        return None if explanation is None else self._windows.get(id(explanation))

    def _forget_incident(self, name: str) -> None:
        """A person has ended the incident: the monitor does not follow it any more."""
        self._replace(name, replace(self.state.streams[name], incident=None, further=None, second_alarm=None))

    def _replace(self, name: str, stream: StreamState) -> None:
        self.state = replace(self.state, streams={**self.state.streams, name: stream})


def finite(values: JsonValues) -> JsonValues:
    """Return JSON values without numbers that JSON cannot hold; None takes their place."""
    return cast("JsonValues", _finite(values))


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
