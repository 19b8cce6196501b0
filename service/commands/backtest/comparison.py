"""What settings would have raised, side by side with what happened: incidents, and the delay to each known change."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...model_key import ModelKey
from ...monitor.replay_cost import ReplayCost
from ...monitor.replayed_incident import ReplayedAlarm, ReplayedIncident
from ...store.alerts import AlertRow
from ...store.streams import StreamRow
from .span_replay import Counts, SpanResult

HAPPENED = "what happened"


@dataclass(frozen=True)
class Change:
    """A moment at which the traffic is known to have changed.

    Parameters
    ----------
    at : datetime
    source : {"given", "alert"}
        Whether a person named it, or a stored alert estimated it.
    until : datetime
        The time up to which an alarm counts as its detection.
    """

    at: dt.datetime
    source: Literal["given", "alert"]
    until: dt.datetime


@dataclass(frozen=True)
class Detection:
    """The first alarm after a change.

    Parameters
    ----------
    at : datetime
    kind : str
    seconds : float
        The time since the change.
    predictions : int or None
        The stream's predictions since the change, None where the log did not cover it.
    """

    at: dt.datetime
    kind: str
    seconds: float
    predictions: int | None


@dataclass(frozen=True)
class Outcome:
    """The incidents that one set of settings raised, or those of production.

    Parameters
    ----------
    name : str
    incidents : tuple of ReplayedIncident
    detections : tuple of Detection or None
        The answer to each change.
    unexplained : int
        Incidents that no alarm of which answers a change.
    evidence : float (cells,), optional
        The largest evidence over its threshold in each part of the time.
    cost : ReplayCost, optional
    expected_run_time, threshold : float, optional
        Of the whole model's detector.
    """

    name: str
    incidents: tuple[ReplayedIncident, ...]
    detections: tuple[Detection | None, ...]
    unexplained: int
    evidence: NDArray[np.float64] | None = None
    cost: ReplayCost | None = None
    expected_run_time: float | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class Comparison:
    """A backtest: what happened first, then one outcome for each set of settings.

    Parameters
    ----------
    parts : int, default 1
        The parts of the log that were replayed side by side, each after predictions of the part before.
    """

    stream: str
    span: tuple[dt.datetime, dt.datetime]
    changes: tuple[Change, ...]
    outcomes: tuple[Outcome, ...]
    parts: int = 1

    @property
    def caveat(self) -> str | None:
        """The reason why the outcomes are approximate; None where the log was replayed in one piece."""
        if self.parts == 1:
            return None
        return (
            f"approximate: replayed in {self.parts} parts, each after 20,000 predictions of the part before, so that "
            "incidents near a border may begin or end elsewhere than in one piece"
        )


def stored_incidents(alerts: Sequence[AlertRow], stream: StreamRow) -> tuple[ReplayedIncident, ...]:
    """Return what happened, in the form in which a replay gives incidents."""
    prefix = str(ModelKey(stream.model_name, stream.model_version))
    return tuple(
        ReplayedIncident(
            id=alert.id,
            slice=alert.stream.removeprefix(prefix).removeprefix("/"),
            kind=alert.kind,
            certainty=alert.certainty,
            severity=alert.severity,
            summary=alert.summary,
            since=alert.since,
            alarms=(ReplayedAlarm(alert.fired_at, alert.position, alert.kind), *_further_alarms(alert)),
            changes=alert.sequence - 1,
            resolved_at=alert.resolved_at,
            resolution=next((name for name in ("recovered", "accepted", "retired") if name == alert.resolution), None),
        )
        for alert in alerts
    )


def changes_to_measure(
    change_times: Sequence[dt.datetime], production_incidents: Sequence[ReplayedIncident], until: dt.datetime
) -> tuple[Change, ...]:
    """Return the moments that people named, or without any those that the stored alerts estimated."""
    if change_times:
        times = sorted(change_times)
        return tuple(Change(at, "given", end) for at, end in zip(times, [*times[1:], until], strict=True) if at < until)
    return tuple(Change(incident.since, "alert", incident.resolved_at or until) for incident in production_incidents)


def outcome(
    name: str,
    incidents: Sequence[ReplayedIncident],
    changes: Sequence[Change],
    positions_at: Mapping[dt.datetime, Counts],
    result: SpanResult | None = None,
) -> Outcome:
    """Return incidents with their delays.

    Parameters
    ----------
    positions_at : mapping
        The number of predictions of each stream at the changes, and for what happened at the alarms.
    result : SpanResult, optional
        The replay; without it the incidents are those that happened.
    """
    detections: list[Detection | None] = []
    answering: set[int] = set()
    for change in changes:
        alarms = [
            (alarm.at, number, alarm, incident.slice)
            for number, incident in enumerate(incidents)
            for alarm in incident.alarms
            if change.at <= alarm.at <= change.until
        ]
        answering |= {number for _, number, _, _ in alarms}
        if not alarms:
            detections.append(None)
            continue
        at, _, alarm, stream = min(alarms, key=lambda item: (item[0], item[1]))
        before = positions_at.get(change.at, {}).get(stream)
        position = alarm.position if result is not None else positions_at.get(at, {}).get(stream)
        predictions = None if before is None or position is None else position - before
        detections.append(Detection(at, alarm.kind, (at - change.at).total_seconds(), predictions))
    return Outcome(
        name,
        tuple(incidents),
        tuple(detections),
        len(incidents) - len(answering),
        *(() if result is None else (result.evidence, result.cost, result.expected_run_time, result.threshold)),
    )


def to_json(comparison: Comparison) -> dict[str, object]:
    """Return a backtest as JSON values."""
    return {
        "stream": comparison.stream,
        "since": comparison.span[0].isoformat(),
        "until": comparison.span[1].isoformat(),
        "parts": comparison.parts,
        "approximate": comparison.caveat,
        "changes": [{"at": change.at.isoformat(), "source": change.source} for change in comparison.changes],
        "outcomes": [_outcome_json(item) for item in comparison.outcomes],
    }


def _outcome_json(item: Outcome) -> dict[str, object]:
    cost = item.cost
    values: dict[str, object] = {
        "name": item.name,
        "incidents": [incident.to_json() for incident in item.incidents],
        "detections": [
            None
            if detection is None
            else {
                "at": detection.at.isoformat(),
                "kind": detection.kind,
                "seconds": detection.seconds,
                "predictions": detection.predictions,
            }
            for detection in item.detections
        ],
        "unexplained": item.unexplained,
    }
    if cost is not None:
        values |= {
            "expected_run_time": item.expected_run_time,
            "threshold": item.threshold,
            "predictions": cost.predictions,
            "rejected": cost.rejected,
            "windows": cost.windows,
            "seconds": round(cost.seconds, 3),
            "predictions_per_second": round(cost.predictions / cost.seconds, 1) if cost.seconds > 0 else None,
        }
    return values


def _further_alarms(alert: AlertRow) -> list[ReplayedAlarm]:
    """Return when an alert fired again or met a further shift, as its history has it."""
    alarms = []
    for entry in alert.history:
        again = entry["event"] == "drift.firing" and "reopened" in entry
        further = entry["event"] == "drift.changed" and entry.get("reason") == "further_shift"
        if again or further:
            at = dt.datetime.fromisoformat(entry["at"])
            alarms.append(ReplayedAlarm(at, alert.position, str(entry.get("kind", alert.kind))))
    return alarms
