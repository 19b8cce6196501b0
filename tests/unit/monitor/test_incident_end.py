"""When an incident ends, comes back under its id, or is followed by another one."""

import datetime as dt
from dataclasses import replace

from tests.support.watched_stream import RUN_TIME, SETTINGS, Stream
from tidemark.monitor import alert_rules, checkpoint
from tidemark.monitor.events import (
    AlertChanged,
    AlertFired,
    AlertReopened,
    AlertResolved,
)
from tidemark.monitor.pace import Pace
from tidemark.monitor.prepared_reference import BaselineKey, PreparedReference


def test_an_incident_does_not_resolve_while_the_shift_stays(prepared: PreparedReference) -> None:
    stream = Stream(prepared)
    stream.explains = False
    stream.send(400)
    stream.send(4000, move=0.35)
    assert len(stream.of(AlertFired)) == 1
    assert stream.of(AlertResolved) == []


def test_an_incident_that_the_second_detector_saw_end_needs_no_more_quiet_than_its_alarm_took(
    prepared: PreparedReference,
) -> None:
    stream = Stream(prepared)
    stream.send(400)
    stream.send(900, move=0.6)
    incident = stream.state.incident
    assert incident is not None
    late = replace(incident, delay=1000)  # as of a small drift, which took long to be detected
    stream.state = replace(stream.state, incident=late)
    stream.provide_second_detector()
    stream.send(1700)
    (resolved,) = stream.of(AlertResolved)
    assert resolved.incident_id == incident.id
    assert [event for event in stream.of(AlertChanged) if event.reason == "further_shift"] == []


def test_an_incident_of_a_slow_stream_ends_after_a_week_once_it_was_quiet_for_as_long_as_its_alarm_took(
    prepared: PreparedReference,
) -> None:
    slow = Pace(hours=(1,) * 30, rate=100 / 86_400)
    stream = Stream(prepared, SETTINGS, slow)
    stream.send(400)
    stream.send(100, move=0.6)
    incident = stream.state.incident
    assert incident is not None
    stream.state = replace(stream.state, incident=replace(incident, delay=900, reopened=5))
    stream.send(850)
    assert stream.of(AlertResolved) == []
    stream.send(250)
    assert len(stream.of(AlertResolved)) == 1


def test_no_incident_needs_more_than_two_quiet_weeks() -> None:
    week = dt.timedelta(days=7)
    assert not alert_rules.is_over(100, week, delay=23_000, reopened=3, usual=750, has_returned=False)
    assert alert_rules.is_over(100, 2 * week, delay=23_000, reopened=3, usual=750, has_returned=False)
    assert not alert_rules.is_over(10, 2 * week, delay=23_000, reopened=3, usual=750, has_returned=False)
    assert alert_rules.is_over(2250, dt.timedelta(), delay=23_000, reopened=0, usual=750, has_returned=True)


def test_an_incident_that_comes_back_is_reopened_and_its_quiet_time_doubles(prepared: PreparedReference) -> None:
    stream = Stream(prepared)
    stream.send(400)
    stream.send(200, move=0.6)
    stream.send(1000)
    (resolved,) = stream.of(AlertResolved)
    stream.send(200, move=0.6)
    (reopened,) = stream.of(AlertReopened)
    assert reopened.incident_id == resolved.incident_id
    assert stream.state.incident is not None
    assert stream.state.incident.reopened == 1
    assert len(stream.of(AlertFired)) == 1
    stream.now += dt.timedelta(hours=2)
    stream.send(2000)
    stream.now += dt.timedelta(hours=2)
    stream.advance()
    stream.send(200, move=0.6)
    assert len(stream.of(AlertFired)) == 2


def test_a_shift_of_another_kind_soon_after_an_incident_is_an_incident_of_its_own(prepared: PreparedReference) -> None:
    stream = Stream(prepared)
    stream.send(400)
    stream.send(200, move=0.6)
    stream.send(1000)
    ended_at = stream.now
    stream.send(400, prior=(0.8, 0.05, 0.05, 0.05, 0.05))
    covariate, label = stream.of(AlertFired)
    assert (covariate.kind, label.kind) == ("covariate", "label")
    assert covariate.incident_id != label.incident_id
    assert label.since >= ended_at
    assert stream.of(AlertReopened) == []
    assert [pattern.signature.kind for pattern in stream.state.patterns] == ["covariate"]


def test_a_drift_that_comes_back_is_named_as_such_and_another_one_is_not(prepared: PreparedReference) -> None:
    stream = Stream(prepared)
    stream.send(300)
    for times in range(3):
        stream.send(500, move=0.6)
        fired = stream.of(AlertFired)[-1]
        assert len(stream.of(AlertFired)) == times + 1
        if times:
            assert fired.report["recurrence"]["count"] == times
            assert fired.report["summary"].endswith(fired.report["recurrence"]["text"])
            assert (
                f"as on 1 January 2026, {'once before' if times == 1 else '2 times so far'}" in fired.report["summary"]
            )
        else:
            assert "recurrence" not in fired.report
        assert fired.severity == "ticket"
        stream.send(2500)
        assert not stream.state.kinds
        stream.now += dt.timedelta(hours=2)
        stream.advance()
    assert len(stream.state.patterns) == 1
    stored = checkpoint.Checkpoint.from_bytes(checkpoint.to_bytes(stream.state, BaselineKey(1), {}, {}))
    assert stored is not None
    restored, _ = checkpoint.restore_state(stored, BaselineKey(1), prepared, RUN_TIME, 0.05)
    assert restored.patterns == stream.state.patterns
    stream.send(500, move=-0.6)
    assert len(stream.of(AlertFired)) == 4
    assert "recurrence" not in stream.of(AlertFired)[-1].report
