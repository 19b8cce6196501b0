"""The watch for further shifts in an incident misses nothing without counting it."""

import datetime as dt

import pytest

from tests.support.further_shifts import alerted, drifted, watch_of
from tests.support.watched_stream import Stream, restored
from tidemark.monitor import further_shift_watch, further_shifts
from tidemark.monitor.events import AlertChanged
from tidemark.monitor.further_shift_watch import FurtherShiftInput, PreparationFailure
from tidemark.monitor.prepared_reference import PreparedReference
from tidemark.monitor.stream_step import is_due
from tidemark.store.further_shift_status import FurtherShiftStatus
from tidemark.store.stream_status import StreamStatus

MINUTE = dt.timedelta(minutes=1)


def fail(stream: Stream, reason: str) -> None:
    failure = PreparationFailure(reason, stream.now)
    stream.advance(further=FurtherShiftInput(watch_of(stream).key, failure))


def test_a_shift_while_the_baseline_is_prepared_is_seen(prepared: PreparedReference) -> None:
    stream = drifted(prepared)
    stream.send(100, move=0.6)
    before = stream.state.seen
    stream.send(100, move=1.6)
    stream.explains = True
    stream.provide_second_detector()
    alarm = stream.state.second_alarm
    assert alarm is not None
    assert abs(alarm.change - before) <= 20
    stream.advance()
    assert "further_shift" in [event.reason for event in stream.of(AlertChanged)]
    assert stream.state.status.further_shifts_missed == 0


def test_the_watch_starts_five_hundred_predictions_after_the_change_whatever_the_steps(
    prepared: PreparedReference,
) -> None:
    starts = set()
    for step in (50, 170, 900):
        stream = alerted(prepared)
        assert stream.state.incident is not None
        change = stream.state.incident.change
        stream.send(900, step, move=0.6)
        starts.add(watch_of(stream).start - change)
    assert starts == {further_shifts.MIN_BASELINE_ROWS}


def test_predictions_beyond_the_bound_are_counted_and_a_later_shift_is_dated(
    prepared: PreparedReference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(further_shift_watch, "MAX_WAITING", 100)
    stream = drifted(prepared)
    stream.send(250, move=0.6)
    assert stream.state.status.further_shifts == FurtherShiftStatus("preparing", waiting=100, missed=150)
    assert stream.state.status.further_shifts_missed == 150
    stream.provide_second_detector()
    stream.send(100, move=0.6)
    before = stream.state.seen
    stream.send(100, move=1.6)
    alarm = stream.state.second_alarm
    assert alarm is not None
    assert abs(alarm.change - before) <= 20


def test_predictions_that_have_gone_from_the_log_are_counted(prepared: PreparedReference) -> None:
    stream = drifted(prepared)
    stream.provide_second_detector()
    stream.state = restored(stream.state, prepared)
    stream.send(60, move=0.6)
    watch = watch_of(stream)
    batch = stream.batch_of(watch.waiting[20:])
    baseline = stream.second_baseline()
    stream.advance(further=FurtherShiftInput(watch.key, baseline, 60, batch))
    assert stream.state.status.further_shifts == FurtherShiftStatus("watching", missed=20)
    assert stream.state.status.further_shifts_missed == 20


def test_every_state_of_the_watch_is_in_the_status(prepared: PreparedReference) -> None:
    stream = Stream(prepared)
    assert stream.state.status.further_shifts is None
    stream = alerted(prepared)
    stream.advance()
    assert stream.state.status.further_shifts == FurtherShiftStatus("too_few_predictions")
    stream.send(400, move=0.6)
    assert stream.state.status.further_shifts is not None
    assert stream.state.status.further_shifts.state == "preparing"
    assert StreamStatus.from_json(stream.state.status.to_json()) == stream.state.status
    stream.provide_second_detector()
    assert stream.state.status.further_shifts == FurtherShiftStatus("watching")
    stream.send(2500)
    assert stream.state.status.further_shifts is None


def test_a_baseline_that_cannot_be_prepared_is_reported_and_prepared_again_from_newer_predictions(
    prepared: PreparedReference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(further_shifts, "MAX_BASELINE_ROWS", 505)
    stream = drifted(prepared)
    first = watch_of(stream)
    fail(stream, "its predictions are gone")
    stream.send(10, move=0.6)
    status = stream.state.status
    assert status.errors == {"second_baseline": 1}
    assert status.further_shifts == FurtherShiftStatus("failed", reason="its predictions are gone")
    assert status.further_shifts_missed == 10
    stream.now += MINUTE
    assert is_due(stream.state, stream.settings, stream.now)
    stream.advance()
    assert watch_of(stream).start == first.start + 10
    assert watch_of(stream).baseline_ids.tolist() == stream.state.newest(505).tolist()
    assert stream.state.status.further_shifts == FurtherShiftStatus("preparing")
    stream.provide_second_detector()
    assert stream.state.status.further_shifts == FurtherShiftStatus("watching")


def test_a_baseline_for_an_earlier_watch_is_ignored(prepared: PreparedReference) -> None:
    stream = drifted(prepared)
    key, baseline = watch_of(stream).key, stream.second_baseline()
    stream.advance(further=FurtherShiftInput(key._replace(start=0), baseline))
    assert watch_of(stream).second is None
