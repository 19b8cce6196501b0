"""One step of a stream without a database: what is detected, requested, told and resolved."""

import datetime as dt
from dataclasses import replace

import numpy as np
import pytest

from tests.support.watched_stream import RUN_TIME, SETTINGS, START, WORLD, Stream, restored, short_reference
from tidemark.monitor import alert_rules, checkpoint
from tidemark.monitor.events import (
    AlertChanged,
    AlertFired,
    AlertReopened,
    AlertResolved,
    Explanation,
    WindowStored,
)
from tidemark.monitor.pace import Pace
from tidemark.monitor.prepared_reference import BaselineKey, PreparedReference
from tidemark.monitor.window_requests import FIRST_WINDOWS
from tidemark.settings import Settings


@pytest.fixture(scope="module")
def prepared() -> PreparedReference:
    return short_reference()


def test_a_shift_fires_once_is_dated_and_resolves_by_the_detector(prepared: PreparedReference) -> None:
    stream = Stream(prepared)
    stream.send(600)
    assert stream.of(AlertFired) == []
    planted = stream.now
    stream.send(400, move=0.6)
    (fired,) = stream.of(AlertFired)
    assert fired.kind == "covariate"
    assert abs((fired.since - planted).total_seconds()) < 60
    assert stream.state.kinds == ("covariate",)
    assert stream.of(AlertResolved) == []
    stream.send(1500)
    (resolved,) = stream.of(AlertResolved)
    assert resolved.incident_id == fired.incident_id
    assert resolved.resolution == "recovered"
    assert not stream.state.kinds


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


def test_an_alarm_whose_window_is_not_tested_in_time_goes_out_and_says_what_alarmed(
    prepared: PreparedReference,
) -> None:
    stream = Stream(prepared)
    stream.send(400)
    stream.explains = False
    stream.send(300, move=0.6)
    (fired,) = stream.of(AlertFired)
    assert fired.certainty == "likely"
    assert "evidence" in fired.report["summary"]
    assert "no drift" not in fired.report["summary"].lower()
    assert 0 < fired.report["p_value"] < 0.01


def test_a_window_that_fails_is_counted_stored_and_stops_nothing(prepared: PreparedReference) -> None:
    stream = Stream(prepared)
    stream.send(200)
    (request,) = [item.request for item in stream.pending]
    broken = Explanation(request, None, START, START, error="Singular matrix")
    stream.pending = [broken]
    stream.send(100)
    stored = stream.of(WindowStored)
    assert stored[0].report["summary"] == "could not be tested: Singular matrix"
    assert stream.state.status.errors == {"window": 1}
    assert stream.state.status.last_error == "window: Singular matrix"
    stream.send(400, move=0.6)
    assert len(stream.of(AlertFired)) == 1


def test_labels_that_fail_are_counted_and_stop_nothing(prepared: PreparedReference) -> None:
    stream = Stream(prepared)
    arrays = WORLD.traffic(50, stream.rng)
    stream.take(arrays)
    stream.label(arrays, np.full(50, 99))
    assert stream.state.status.errors == {"labels": 1}
    stream.send(300)
    stream.send(400, move=0.6)
    assert len(stream.of(AlertFired)) == 1


def test_two_thousand_contradicting_labels_at_once_are_reported(prepared: PreparedReference) -> None:
    stream = Stream(prepared)
    arrays = WORLD.traffic(2000, stream.rng)
    stream.take(arrays)
    stream.label(arrays, (arrays["probabilities"].argmax(axis=1) + 1) % WORLD.k)
    stream.advance()
    (fired,) = stream.of(AlertFired)
    assert fired.kind == "concept"
    assert np.isfinite(stream.state.status.evidence or 0.0)


def test_windows_of_a_calm_stream_are_spaced_and_the_rest_is_counted(prepared: PreparedReference) -> None:
    stream = Stream(prepared, SETTINGS.model_copy(update={"window_interval": 600.0}))
    stream.explains = False
    stream.send(4000, step=500)
    windows = (4000 - 200) // 100 + 1
    spaced = stream.state.windows.requested
    assert spaced > FIRST_WINDOWS
    assert stream.state.status.windows_skipped == windows - spaced
    assert spaced - FIRST_WINDOWS <= 4000 / 600 + 1


@pytest.mark.parametrize("step", [1, 37, 500])
def test_steps_of_any_size_and_restores_give_the_same_evidence(prepared: PreparedReference, step: int) -> None:
    whole, parts = Stream(prepared), Stream(prepared)
    whole.explains = parts.explains = False
    arrays = WORLD.traffic(1000, np.random.default_rng(5))
    whole.take(arrays)
    for first in range(0, 1000, step):
        parts.take({name: values[first : first + step] for name, values in arrays.items()})
        if first // step % 7 == 3:
            data = checkpoint.to_bytes(parts.state, BaselineKey(1), {}, {})
            stored = checkpoint.Checkpoint.from_bytes(data)
            assert stored is not None
            parts.state, reason = checkpoint.restore_state(stored, BaselineKey(1), prepared, RUN_TIME, 0.05)
            assert reason is None
    assert parts.state.detector.evidence == whole.state.detector.evidence
    assert parts.state.seen == whole.state.seen == 1000


def test_a_restored_state_of_another_baseline_starts_its_evidence_again(prepared: PreparedReference) -> None:
    stream = Stream(prepared)
    stream.send(300)
    stored = checkpoint.Checkpoint.from_bytes(checkpoint.to_bytes(stream.state, BaselineKey(1), {}, {}))
    assert stored is not None
    state, reason = checkpoint.restore_state(stored, BaselineKey(2), prepared, RUN_TIME, 0.05)
    assert reason is not None
    assert (state.seen, state.detector.evidence) == (300, 0.0)


def test_windows_without_an_answer_are_in_the_checkpoint_and_are_stored_once(prepared: PreparedReference) -> None:
    stream = Stream(prepared)
    stream.explains = False
    stream.send(700)
    requests = stream.state.pending
    assert len(requests) > 1
    stream.state = restored(stream.state, prepared)
    assert [request.key for request in stream.state.pending] == [request.key for request in requests]
    assert all((a.ids == b.ids).all() for a, b in zip(stream.state.pending, requests, strict=True))
    stream.pending = [stream.explained(request) for request in (*requests, *stream.state.pending)]
    stream.advance()
    assert [event.explanation.request.first for event in stream.of(WindowStored)] == [item.first for item in requests]
    assert stream.state.pending == ()
    assert stream.state.status.windows == len(requests)


def test_windows_of_a_checkpoint_whose_predictions_are_too_old_are_counted_as_skipped(
    prepared: PreparedReference,
) -> None:
    stream = Stream(prepared)
    stream.explains = False
    stream.send(700)
    count, skipped = len(stream.state.pending), stream.state.status.windows_skipped
    stream.state = replace(stream.state, recent=stream.state.recent[-150:])
    state = restored(stream.state, prepared)
    assert state.pending == ()
    assert state.status.windows_skipped == skipped + count


def test_an_alarm_of_labels_outlasts_a_restart_before_its_window_is_tested(prepared: PreparedReference) -> None:
    stream = Stream(prepared)
    arrays = WORLD.traffic(400, stream.rng)
    stream.take(arrays)
    stream.explains = False
    stream.label(arrays, (arrays["probabilities"].argmax(axis=1) + 1) % WORLD.k)
    stream.state = restored(replace(stream.state, recent=stream.state.recent[-20:]), prepared)
    (request,) = [item for item in stream.state.pending if item.purpose == "labels"]
    stream.pending = [stream.explained(request)]
    stream.advance()
    (fired,) = stream.of(AlertFired)
    assert fired.kind == "concept"


def test_a_later_surer_name_of_the_kind_is_reported_as_a_change(prepared: PreparedReference) -> None:
    stream = Stream(prepared)
    stream.send(400)
    stream.send(300, move=0.6)
    incident = stream.state.incident
    assert incident is not None
    stream.state = replace(stream.state, incident=replace(incident, kind="label", named=None))
    stream.events.clear()
    stream.send(400, move=0.6)
    changed = stream.of(AlertChanged)
    assert [(event.reason, event.kind, event.certainty) for event in changed] == [("kind", "covariate", "sure")]


def test_a_frozen_camera_is_one_alert_of_repeats_until_it_ends(prepared: PreparedReference) -> None:
    stream = Stream(prepared)
    stream.send(400)
    frozen = {name: np.repeat(values, 50, axis=0) for name, values in WORLD.traffic(1, stream.rng).items()}
    for _ in range(40):
        stream.take(frozen)
    (fired,) = stream.of(AlertFired)
    assert fired.kind == "repeats"
    assert "again and again" in fired.report["summary"]
    assert stream.of(AlertResolved, AlertReopened) == []
    assert stream.state.status.repeats is not None


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


def test_ten_images_a_day_are_watched_in_months(prepared: PreparedReference) -> None:
    slow = Pace(hours=(1,) * 30, rate=10 / 86_400)
    stream = Stream(prepared, Settings(), slow)
    stream.send(60, step=5)
    windows = stream.of(WindowStored)
    assert len(windows) == 0
    stream.send(60, step=5)
    assert (
        1 <= len(stream.of(WindowStored)) <= 2
    )  # one of a week's predictions, though fewer than TIDEMARK_WINDOW_MIN_SIZE
    assert stream.of(AlertFired) == []
    assert stream.state.status.budget is not None
    assert stream.state.status.budget.predictions == pytest.approx(300)
    planted = stream.now
    stream.send(60, step=5, move=1.0)
    (fired,) = stream.of(AlertFired)
    assert fired.kind == "covariate"
    assert abs(fired.since - planted) < dt.timedelta(days=2)
    assert fired.explanation.request.ids.shape[0] < 50  # predictions since the change, without those before it
    stream.send(150, step=5)
    (resolved,) = stream.of(AlertResolved)
    assert resolved.resolution == "recovered"
