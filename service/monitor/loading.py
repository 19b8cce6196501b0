"""The state of a model from its checkpoints, and what another baseline makes of it."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from sqlalchemy import Connection

from ..settings import Settings
from ..store import alerts, monitor_progress
from ..store.alerts import LABEL_KINDS, AlertRow
from ..store.monitor_progress import Target
from .budget import stream_budget
from .checkpoint import Checkpoint, restore_state
from .incident_state import Incident
from .labels import start_labels
from .model_state import REFERENCE, WHOLE, ModelState, new_stream
from .pace import Pace
from .prepared_reference import BaselineKey, PreparedReference
from .slices import SliceCounts
from .stream_state import StreamState, WindowSchedule

logger = logging.getLogger(__name__)


class LoadedModel(NamedTuple):
    """The state of a model, and whether all of it comes from checkpoints."""

    state: ModelState
    has_checkpoint: bool


def load_model(
    connection: Connection,
    model_id: int,
    targets: Mapping[str, Target],
    keys: Mapping[str, BaselineKey],
    prepared: Mapping[str, PreparedReference],
    settings: Settings,
) -> LoadedModel:
    """Return the state of a model's streams, as of the last checkpoint.

    A stream that was never stored begins where its row says. Incidents are those whose alerts fire.
    """
    whole = targets[WHOLE]
    position, label_position = whole.position, whole.label_position
    streams: dict[str, StreamState] = {}
    counts: SliceCounts = {}
    rejected: Mapping[str, int] = {}
    has_checkpoint = True
    pace = Pace()
    for name, target in sorted(targets.items()):
        stored = monitor_progress.load_checkpoint(connection, target.id)
        checkpoint = Checkpoint.from_bytes(stored.state) if stored is not None else None
        baseline = prepared.get(name, prepared[REFERENCE])
        if stored is None or checkpoint is None:
            if stored is not None:
                logger.warning("stream %d: its evidence starts again: another version stored it", target.id)
            has_checkpoint = False
            fresh = new_stream(model_id, name, baseline, settings, target.seen, pace)
            state = replace(fresh, windows=WindowSchedule(start=target.seen, covered=target.seen))
        else:
            if name == WHOLE:  # comes before its slices
                counts, rejected, pace = checkpoint.counts, checkpoint.values["rejected"], checkpoint.pace
                position, label_position = stored.position, stored.label_position
            run_time = stream_budget(settings, pace).detector
            state, reason = restore_state(checkpoint, keys[name], baseline, run_time, settings.accuracy_tolerance)
            if reason is not None:
                logger.warning("stream %d: its evidence starts again: %s", target.id, reason)
        streams[name] = _reconciled(state, alerts.firing(connection, target.id))
    loaded = ModelState(model_id, position, label_position, streams, counts, rejected, pace)
    return LoadedModel(loaded, has_checkpoint)


def rebase_state(
    state: ModelState,
    before: Mapping[str, BaselineKey],
    after: Mapping[str, BaselineKey],
    prepared: Mapping[str, PreparedReference],
    settings: Settings,
) -> ModelState:
    """Return the state of a model some of whose streams are compared with something else from now on, or have ended.

    Their detectors start again. An incident ends with the baseline that was accepted.
    """
    streams: dict[str, StreamState] = {}
    run_time = stream_budget(settings, state.pace).detector
    for name, stream in state.streams.items():
        if name not in after:
            continue
        if name in before and before[name] != after[name]:
            run_time = stream_budget(settings, state.pace).detector
            stream = _with_baseline(stream, before[name], after[name], prepared[name], settings, run_time)
        streams[name] = stream
    return replace(state, streams=streams)


def _with_baseline(
    state: StreamState,
    before: BaselineKey,
    after: BaselineKey,
    prepared: PreparedReference,
    settings: Settings,
    run_time: float,
) -> StreamState:
    accepted = before.baseline_id != after.baseline_id
    labels = state.labels
    if before.reference_id != after.reference_id:
        labels = start_labels(prepared, settings.accuracy_tolerance)
    return replace(
        state,
        detector=prepared.detector(run_time),
        labels=labels,
        alarm=None,
        further=None,
        second_alarm=None,
        incident=None if accepted else _with_new_quiet(state.incident, state.seen),
        concept=None if accepted else state.concept,
        proportions=None,
    )


def _with_new_quiet(incident: Incident | None, seen: int) -> Incident | None:
    """Return an incident whose quiet time begins now; its reopenings, which count for what it was compared with before,
    are forgotten."""
    if incident is None:
        return None
    return replace(incident, alarmed_at=seen, quiet_since=None, has_returned=False, reopened=0)


def _reconciled(state: StreamState, firing: list[AlertRow]) -> StreamState:
    """Return the state with the incidents whose alerts fire: a person may have ended one, and an earlier version of
    the monitor may have opened one."""
    concept = next((alert for alert in firing if alert.kind in LABEL_KINDS), None)
    drift = next((alert for alert in firing if alert.kind not in LABEL_KINDS), None)
    incident = _matching(state.incident, drift, state.seen)
    open_id = incident.id if incident is not None and incident.open else None
    further = state.further
    return replace(
        state,
        incident=incident,
        further=further if further is not None and further.incident_id == open_id else None,
        second_alarm=state.second_alarm if open_id is not None else None,
        concept=_matching(state.concept, concept, state.seen),
    )


def _matching(incident: Incident | None, alert: AlertRow | None, seen: int) -> Incident | None:
    if alert is None:
        return incident if incident is not None and not incident.open else None
    if incident is not None and incident.open and incident.id == alert.id:
        return incident
    return Incident(
        id=alert.id,
        kind=alert.kind,
        certainty="likely" if alert.certainty == "likely" else "sure",
        severity="page" if alert.severity == "page" else "ticket",
        since=alert.since,
        delay=max(seen - alert.position, 0),
        alarmed_at=seen,
        evidence=0.0,
        change=alert.position,
        reopened=alert.reopened,
    )
