"""The watch for further shifts in an incident: it misses nothing without counting it, and restarts change nothing."""

import datetime as dt
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tests.support.watched_stream import WORLD, Stream, restored
from tidemark.monitor import further_shift_watch, further_shifts
from tidemark.monitor.events import AlertChanged, AlertFired
from tidemark.monitor.further_shift_watch import FurtherShiftInput, FurtherShiftWatch, PreparationFailure
from tidemark.monitor.prepared_reference import PreparedReference
from tidemark.monitor.stream_step import is_due
from tidemark.store.further_shift_status import FurtherShiftStatus
from tidemark.store.stream_status import StreamStatus

MINUTE = dt.timedelta(minutes=1)


def alerted(prepared: PreparedReference) -> Stream:
    """Return a stream whose incident has just opened, and of which no further window is tested."""
    stream = Stream(prepared)
    stream.send(400)
    while not stream.of(AlertFired):
        stream.send(50, move=0.6)
    stream.explains = False
    return stream


def drifted(prepared: PreparedReference) -> Stream:
    """Return a stream with an open incident, whose watch for further shifts has just started."""
    stream = alerted(prepared)
    while stream.state.further is None:
        stream.send(50, move=0.6)
    return stream


def watch_of(stream: Stream) -> FurtherShiftWatch:
    assert stream.state.further is not None
    return stream.state.further


def evidence_of(stream: Stream) -> tuple[float, int]:
    """Return the evidence of the second detector, and the predictions that it has processed."""
    second = watch_of(stream).second
    assert second is not None
    return second.detector.evidence, second.detector.count


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


@pytest.mark.parametrize("step", [7, 300])
def test_evidence_depends_neither_on_the_time_of_the_preparation_nor_on_steps(
    prepared: PreparedReference, step: int
) -> None:
    early, late = drifted(prepared), drifted(prepared)
    early.provide_second_detector()
    arrays = WORLD.traffic(600, early.rng, move=0.6)
    early.take(arrays)
    for first in range(0, 600, step):
        late.take({name: values[first : first + step] for name, values in arrays.items()})
    late.provide_second_detector()
    assert evidence_of(early) == evidence_of(late)
    assert watch_of(early).start + evidence_of(early)[1] == early.state.seen


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


def test_a_restart_at_any_moment_leaves_the_same_evidence(prepared: PreparedReference) -> None:
    whole, killed = drifted(prepared), drifted(prepared)

    def kill() -> None:
        killed.state = restored(killed.state, prepared)

    kills: dict[int, Callable[[], None]] = {
        1: kill,  # while the baseline is prepared
        4: killed.provide_second_detector,
        6: kill,  # while the detector watches
        8: kill,  # while the baseline is prepared again
        9: killed.provide_second_detector,
    }
    for number in range(12):
        arrays = WORLD.traffic(37, np.random.default_rng(number), move=0.6)
        whole.take(arrays)
        killed.take(arrays)
        kills.get(number, lambda: None)()
    whole.provide_second_detector()
    assert evidence_of(killed) == evidence_of(whole)
    assert evidence_of(killed)[0] > 0
    second = watch_of(killed).second, watch_of(whole).second
    assert second[0] is not None
    assert second[1] is not None
    assert second[0].detector.threshold == second[1].detector.threshold


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


def test_more_predictions_than_one_step_reads_wait_for_their_turn(
    prepared: PreparedReference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(further_shift_watch, "MAX_CAUGHT_UP", 80)
    whole, late = drifted(prepared), drifted(prepared)
    whole.provide_second_detector()
    for stream in (whole, late):
        stream.send(150, move=0.6)
    late.provide_second_detector()
    assert late.state.status.further_shifts == FurtherShiftStatus("catching_up", waiting=70)
    for stream in (whole, late):
        stream.send(30, move=0.6)
    assert watch_of(late).status == FurtherShiftStatus("catching_up", waiting=100)
    late.provide_second_detector()
    late.provide_second_detector()
    assert late.state.status.further_shifts == FurtherShiftStatus("watching")
    assert evidence_of(late) == evidence_of(whole)


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


def test_a_baseline_that_cannot_be_prepared_is_told_and_prepared_again_from_newer_predictions(
    prepared: PreparedReference,
) -> None:
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
    assert watch_of(stream).start > first.start
    assert stream.state.status.further_shifts == FurtherShiftStatus("preparing")
    stream.provide_second_detector()
    assert stream.state.status.further_shifts == FurtherShiftStatus("watching")


def test_a_detector_of_other_scores_starts_again(prepared: PreparedReference) -> None:
    """As after an upgrade to a version with other statistics."""
    stream = drifted(prepared)
    stream.provide_second_detector()
    stream.state = restored(stream.state, prepared)
    watch = watch_of(stream)
    assert watch.stored is not None
    foreign = watch.stored._replace(state={**watch.stored.state, "sums": np.zeros((3, 2))})
    stream.state = replace(stream.state, further=replace(watch, stored=foreign))
    stream.provide_second_detector()
    assert stream.state.status.further_shifts is not None
    assert stream.state.status.further_shifts.state == "failed"
    stream.now += MINUTE
    stream.advance()
    stream.provide_second_detector()
    assert stream.state.status.further_shifts == FurtherShiftStatus("watching")


def test_a_baseline_for_an_earlier_watch_is_ignored(prepared: PreparedReference) -> None:
    stream = drifted(prepared)
    key, baseline = watch_of(stream).key, stream.second_baseline()
    stream.advance(further=FurtherShiftInput(key._replace(start=0), baseline))
    assert watch_of(stream).second is None


def test_a_checkpoint_of_an_earlier_version_starts_the_watch_again(prepared: PreparedReference) -> None:
    stream = drifted(prepared)
    stream.state = restored(replace(stream.state, further=None), prepared)
    stream.advance()
    assert watch_of(stream).start == stream.state.seen
    stream.send(50, move=0.6)
    stream.provide_second_detector()
    assert evidence_of(stream)[1] == 50


def test_a_further_shift_that_no_window_has_explained_outlasts_a_restart(prepared: PreparedReference) -> None:
    stream = drifted(prepared)
    stream.provide_second_detector()
    while stream.state.second_alarm is None:
        stream.send(50, move=1.6)
    stream.state = restored(stream.state, prepared)
    stream.explains = True
    stream.send(200, move=1.6)
    assert "further_shift" in [event.reason for event in stream.of(AlertChanged)]
