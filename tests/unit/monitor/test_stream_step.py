"""One step of a stream without a database: what is detected, requested, alerted and resolved."""

import datetime as dt
from dataclasses import replace

import numpy as np
import pytest

from tests.support.watched_stream import SETTINGS, START, WORLD, Stream
from tidemark.monitor.events import (
    AlertChanged,
    AlertFired,
    AlertReopened,
    AlertResolved,
    Explanation,
    WindowStored,
)
from tidemark.monitor.pace import Pace
from tidemark.monitor.prepared_reference import PreparedReference
from tidemark.monitor.window_requests import FIRST_WINDOWS
from tidemark.settings import Settings


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
