"""A step of a model as rows: its position, the status of its streams, its events, and checkpoints."""

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from ..alerts.lifecycle import Alerts
from ..store import evidence, monitor_progress
from ..store.log_batch import WIDTH
from .checkpoint import to_bytes
from .event_writer import EventWriter, finite
from .events import EvidencePoint
from .model_state import WHOLE, ModelState, ModelTransition
from .owned_model import OwnedModel
from .prepared_reference import BaselineKey
from .stream_state import StreamState


class LostModel(Exception):
    """Another monitor has processed the same predictions."""


class StoredStep(NamedTuple):
    """The state after a step was stored, with the ids of its streams by the name of the slice."""

    state: ModelState
    ids: dict[str, int]
    has_statuses: bool  # True if the statuses of the streams were stored with it


def write_transition(
    connection: Connection,
    alerts: Alerts,
    model: OwnedModel,
    transition: ModelTransition,
    owner: UUID,
    now: dt.datetime,
) -> StoredStep:
    """Store a step in the caller's transaction.

    Raises
    ------
    LostModel
        The model's position is not the one that was read, or its lease belongs to another monitor.
    """
    state, before = transition.state, model.state
    has_news = any(not isinstance(event, EvidencePoint) for event in transition.events)
    is_status_due = model.statuses.is_due
    unsaved = model.statuses.unsaved | transition.changed
    position = max(state.position, model.stored_position)
    values: dict[str, object] = {"position": position, "label_position": state.label_position}
    if state.position >= model.stored_position:
        values |= {
            "seen": state.whole.seen,
            "last_success_at": now,
            "rejected": dict(state.rejected),
            "blind_reason": _blind_reason(before, state),
        }
    if is_status_due and not has_news and WHOLE in unsaved:
        values |= _status_values(state.whole)
        unsaved -= {WHOLE}
    if not monitor_progress.advance(connection, model.whole.id, owner, model.stored_position, values):
        raise LostModel(f"model {model.model_id}")
    for name in transition.retired:
        stream_id = model.ids[name]
        monitor_progress.retire(connection, stream_id, now)
        alerts.resolve_all(connection, stream_id, now, "retired")
    ids = {name: stream_id for name, stream_id in model.ids.items() if name in state.streams}
    streams = dict(state.streams)
    for name in state.streams.keys() - ids.keys() | (set(transition.retired) & state.streams.keys()):
        ids[name], seen = monitor_progress.open_slice(connection, replace(model.whole, position=position), name)
        streams[name] = _shift_counts(streams[name], seen)
    state = replace(state, streams=streams)
    writer = EventWriter(connection, alerts, state, ids, now)
    for event in transition.events:
        writer.write(event)
    writer.write_points(transition.events)
    state = writer.state
    if has_statuses := has_news or is_status_due:
        write_status(connection, state, ids, unsaved)
    return StoredStep(state, ids, has_statuses)


def write_status(connection: Connection, state: ModelState, ids: Mapping[str, int], names: Iterable[str]) -> None:
    """Store what readers see of streams."""
    for name in sorted(names):
        if name in state.streams and name in ids:
            monitor_progress.save(connection, ids[name], _status_values(state.streams[name]))


def write_checkpoint(connection: Connection, model: OwnedModel, state: ModelState, ids: Mapping[str, int]) -> int:
    """Store the states of the streams that have changed, and drop the oldest points of their charts; return the size of
    the states in bytes."""
    size = 0
    for name in sorted({WHOLE, *model.unstored, *(state.streams.keys() - model.ids.keys())} & state.streams.keys()):
        key = model.loaded_keys.get(name, BaselineKey(model.reference_id))
        of_model = (state.counts, state.rejected, state.pace) if name == WHOLE else ({}, state.rejected)
        data = to_bytes(state.streams[name], key, *of_model)
        monitor_progress.save_checkpoint(connection, ids[name], state.position, state.label_position, data)
        evidence.trim(connection, ids[name])
        size += len(data)
    return size


def _status_values(stream: StreamState) -> dict[str, object]:
    """Return what readers see of a stream, as the columns of its row."""
    kinds = stream.kinds
    return {
        "seen": stream.seen,
        "state": "drifting" if kinds else "calm" if stream.seen else "warming_up",
        "kind": kinds[-1] if kinds else "none",
        "since": stream.since,
        "status": finite(stream.status.to_json()),
        "last_window_at": stream.windows.requested_at,
    }


def _blind_reason(before: ModelState | None, state: ModelState) -> str | None:
    """Return why a step has processed none of the predictions that it read, or None."""
    if before is None or state.position == before.position or state.whole.seen > before.whole.seen:
        return None
    increased = {name for name, count in state.rejected.items() if count > before.rejected.get(name, 0)}
    if not increased:
        return None
    return "reference_mismatch" if increased == {WIDTH} else "rows_rejected"


def _shift_counts(state: StreamState, seen: int) -> StreamState:
    """Return the state of a stream that had processed predictions in an earlier life, before it was retired."""
    if not seen:
        return state
    schedule = replace(state.windows, start=state.windows.start + seen, covered=state.windows.covered + seen)
    return replace(state, seen=state.seen + seen, windows=schedule)
