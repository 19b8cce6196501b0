"""The parts of a divided log, put together as if one replay had gone through all of it."""

import datetime as dt
from dataclasses import replace
from uuid import UUID

import numpy as np
import pytest

from tidemark.commands.backtest.comparison import changes_to_measure, outcome
from tidemark.commands.backtest.merging import merged
from tidemark.commands.backtest.span_replay import CELLS, SpanResult
from tidemark.monitor import replayed_incident
from tidemark.monitor.events import AlertChanged, AlertFired, AlertResolved
from tidemark.monitor.replay_cost import ReplayCost
from tidemark.monitor.replayed_incident import IncidentLog, ReplayedAlarm, ReplayedIncident
from tidemark.store.report_json import WindowReportJson

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


def incident(
    number: int, hour: float, position: int, until: float | None = None, kind: str = "label"
) -> ReplayedIncident:
    return ReplayedIncident(
        id=UUID(int=number),
        slice="",
        kind=kind,
        certainty="sure",
        severity="ticket",
        summary="",
        since=START + hour * HOUR,
        alarms=(ReplayedAlarm(START + hour * HOUR, position, kind),),
        resolved_at=None if until is None else START + until * HOUR,
        resolution=None if until is None else "recovered",
    )


def part(begins: float, seen: tuple[int, int], *incidents: ReplayedIncident) -> SpanResult:
    return SpanResult(
        incidents,
        START + begins * HOUR,
        np.full(CELLS, np.nan),
        {},
        {"": seen[0]},
        {"": seen[1]},
        ReplayCost(seen[1], 1.0, 2, 3),
        1000.0,
        9.0,
    )


def test_alarms_of_a_later_part_are_counted_from_the_beginning() -> None:
    whole = merged([part(0, (0, 100)), part(1, (20, 120), incident(1, 1.5, 70))])
    assert [alarm.position for alarm in whole.incidents[0].alarms] == [150]
    assert whole.positions_at_end == {"": 200}
    assert whole.cost == ReplayCost(220, 2.0, 4, 6)


def test_what_alarms_in_the_warm_up_belongs_to_the_part_before() -> None:
    before = part(0, (0, 100), incident(1, 0.5, 50, until=0.9))
    after = part(1, (20, 120), incident(2, 0.9, 10, until=0.95))
    assert [one.id.int for one in merged([before, after]).incidents] == [1]


def test_an_incident_that_goes_on_ends_with_the_part_in_which_it_ends() -> None:
    before = part(0, (0, 100), incident(1, 0.5, 50))
    after = part(1, (20, 120), incident(2, 0.9, 10, until=1.5))
    [one] = merged([before, after]).incidents
    assert (one.id.int, one.resolved_at, one.resolution) == (1, START + 1.5 * HOUR, "recovered")


def test_an_incident_of_which_the_next_part_knows_nothing_has_recovered_at_the_border() -> None:
    concept = incident(2, 0.9, 10, kind="concept")
    [one] = merged([part(0, (0, 100), incident(1, 0.5, 50)), part(1, (20, 120), concept)]).incidents
    assert (one.id.int, one.resolved_at) == (1, START + HOUR)


def test_a_change_is_answered_by_the_first_alarm_before_the_next_one() -> None:
    later = replace(incident(2, 3.0, 300), kind="both")
    changes = changes_to_measure([START + HOUR, START + 2.5 * HOUR, START + 9 * HOUR], (), START + 8 * HOUR)
    positions_at = {START + HOUR: {"": 100}, START + 2.5 * HOUR: {"": 250}}
    answered = outcome(
        "x", [incident(1, 0.5, 50), incident(3, 2.0, 200), later], changes, positions_at, part(0, (0, 1))
    )
    assert [detection and (detection.seconds, detection.predictions) for detection in answered.detections] == [
        (3600.0, 100),
        (1800.0, 50),
    ]
    assert answered.unexplained == 1


def test_a_replay_keeps_the_first_incidents_and_the_first_alarms_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replayed_incident, "MAX_INCIDENTS", 2)
    monkeypatch.setattr(replayed_incident, "MAX_ALARMS", 3)
    log, keys = IncidentLog(), [UUID(int=number) for number in range(4)]
    report: WindowReportJson = {"size": 50, "p_value": 0.1, "drifted": True, "kind": "label", "summary": ""}
    for hour, key in enumerate(keys):
        log.add(AlertFired("", key, "label", "sure", "ticket", START, hour, report, None), START, hour)
        for further in range(10, 15):
            shift = AlertChanged("", key, "further_shift", "both", "sure", "ticket", None, None)
            log.add(shift, START + further * HOUR, further)
        log.add(AlertResolved("", key, "recovered"), START + 20 * HOUR, 20)
    assert [one.id for one in log.incidents] == keys[:2]
    assert [[alarm.position for alarm in one.alarms] for one in log.incidents] == [[0, 10, 11], [1, 10, 11]]
    assert [(one.kind, one.changes, one.resolution) for one in log.incidents] == [("both", 5, "recovered")] * 2
