"""A step of a model as rows: its position, the status of its streams, window reports, alerts and checkpoints."""

import datetime as dt
import logging
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from ..alerts.incident import AlertChange, AlertDraft
from ..alerts.lifecycle import Alerts
from ..store import evidence, watch, windows
from ..store.errors import DATABASE_ERRORS, is_refused
from ..store.log_batch import WIDTH
from .checkpoint import to_bytes
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
from .model_step import WHOLE, ModelState, Transition
from .owned_model import OwnedModel
from .prepared_reference import BaselineKey
from .state import StreamState
from .stream_step import with_error

logger = logging.getLogger(__name__)


class LostModel(Exception):
    """Another monitor has processed the same predictions."""


class Written(NamedTuple):
    """The state after a step was stored, with the ids of its streams by the name of the slice."""

    state: ModelState
    ids: dict[str, int]


def write_transition(
    connection: Connection, alerts: Alerts, model: OwnedModel, transition: Transition, owner: UUID, now: dt.datetime
) -> Written:
    """Store a step in the caller's transaction.

    Raises
    ------
    LostModel
        The model's position is not the one that was read, or its lease belongs to another monitor.
    """
    state, before = transition.state, model.state
    position = max(state.position, model.stored_position)
    values: dict[str, Any] = {"position": position, "label_position": state.label_position}
    if state.position >= model.stored_position:
        values |= {
            "seen": state.whole.seen,
            "last_success_at": now,
            "rejected": dict(state.rejected),
            "blind_reason": _blind_reason(before, state),
        }
    if not watch.advance(connection, model.whole.id, owner, model.stored_position, values):
        raise LostModel(f"model {model.model_id}")
    for name in transition.retired:
        stream_id = model.ids[name]
        watch.retire(connection, stream_id, now)
        alerts.resolve_all(connection, stream_id, now, "retired")
    ids = {name: stream_id for name, stream_id in model.ids.items() if name in state.streams}
    streams = dict(state.streams)
    for name in state.streams.keys() - ids.keys() | (set(transition.retired) & state.streams.keys()):
        ids[name], seen = watch.open_slice(connection, replace(model.whole, position=position), name)
        streams[name] = _shifted(streams[name], seen)
    state = replace(state, streams=streams)
    writer = _EventWriter(connection, alerts, state, ids, now)
    for event in transition.events:
        writer.write(event)
    writer.write_points(transition.events)
    state = writer.state
    told = any(not isinstance(event, EvidencePoint) for event in transition.events)
    if told or model.statuses_are_due:
        write_status(connection, model, state, ids, (model.unsaved | transition.changed) & ids.keys())
        model.status_saved()
    return Written(state, ids)


def write_status(
    connection: Connection, model: OwnedModel, state: ModelState, ids: Mapping[str, int], names: Iterable[str]
) -> None:
    """Store what readers see of streams."""
    for name in sorted(names):
        if name in state.streams and name in ids:
            stream = state.streams[name]
            kinds = stream.kinds
            values = {
                "seen": stream.seen,
                "state": "drifting" if kinds else "calm" if stream.seen else "warming_up",
                "kind": kinds[-1] if kinds else "none",
                "since": stream.since,
                "status": finite(stream.status.to_json()),
                "last_window_at": stream.windows.requested_at,
            }
            watch.save(connection, ids[name], values)


def write_checkpoint(connection: Connection, model: OwnedModel, state: ModelState, ids: Mapping[str, int]) -> int:
    """Store the states of the streams that have changed, and drop the oldest points of their charts; return the size of
    the states in bytes."""
    size = 0
    for name in sorted({WHOLE, *model.unstored, *(state.streams.keys() - model.ids.keys())} & state.streams.keys()):
        key = model.loaded_keys.get(name, BaselineKey(model.reference_id))
        data = to_bytes(state.streams[name], key, state.counts if name == WHOLE else {}, state.rejected)
        watch.save_checkpoint(connection, ids[name], state.position, state.label_position, data)
        evidence.trim(connection, ids[name])
        size += len(data)
    return size


class _EventWriter:
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
            self._replace(event.slice, replace(stream, status=with_error(stream.status, "write", error)))

    def write_points(self, events: Iterable[Event]) -> None:
        """Append the points of the charts."""
        points = [
            {
                "stream_id": self._ids[event.slice],
                "position": event.position,
                "at": event.at,
                "evidence": event.evidence,
                "threshold": event.threshold,
            }
            for event in events
            if isinstance(event, EvidencePoint) and event.slice in self._ids and math.isfinite(event.evidence)
        ]
        evidence.add(self._connection, points)

    def _write(self, event: Event) -> None:
        if isinstance(event, WindowStored):
            self._windows[id(event.explanation)] = self._store_window(event)
        elif isinstance(event, AlertFired):
            draft = AlertDraft(
                stream_id=self._ids[event.slice],
                at=self._now,
                kind=event.kind,
                since=event.since,
                position=event.position,
                report=finite(dict(event.report)),
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

    def _change(self, event: AlertChanged | AlertReopened, reason: Any) -> AlertChange:
        return AlertChange(
            at=self._now,
            reason=reason,
            kind=event.kind,
            certainty=event.certainty,
            severity=event.severity,
            report=None if event.report is None else finite(dict(event.report)),
            window_id=self._window_of(event.explanation),
        )

    def _store_window(self, event: WindowStored) -> int:
        explanation, report = event.explanation, finite(dict(event.report))
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
        self._replace(name, replace(self.state.streams[name], incident=None, second=None, second_alarm=None))

    def _replace(self, name: str, stream: StreamState) -> None:
        self.state = replace(self.state, streams={**self.state.streams, name: stream})


def finite(values: Any) -> Any:
    """Return JSON values without numbers that JSON cannot hold; None takes their place."""
    convert: Callable[[Any], Any] = finite
    if isinstance(values, float):
        return values if math.isfinite(values) else None
    if isinstance(values, dict):
        return {name: convert(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [convert(value) for value in values]
    return values


def _blind_reason(before: ModelState | None, state: ModelState) -> str | None:
    """Return why a step has processed none of the predictions that it read, or None."""
    if before is None or state.position == before.position or state.whole.seen > before.whole.seen:
        return None
    grown = {name for name, count in state.rejected.items() if count > before.rejected.get(name, 0)}
    if not grown:
        return None
    return "reference_mismatch" if grown == {WIDTH} else "rows_rejected"


def _shifted(state: StreamState, seen: int) -> StreamState:
    """Return the state of a stream that had processed predictions in an earlier life, before it was retired."""
    if not seen:
        return state
    schedule = replace(state.windows, start=state.windows.start + seen, covered=state.windows.covered + seen)
    return replace(state, seen=state.seen + seen, windows=schedule)
