"""The watch for further shifts in an incident: restarts, upgrades and steps change nothing."""

import datetime as dt
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tests.support.further_shifts import drifted, evidence_of, watch_of
from tests.support.watched_stream import WORLD, restored
from tidemark.monitor import further_shift_watch
from tidemark.monitor.events import AlertChanged
from tidemark.monitor.prepared_reference import PreparedReference
from tidemark.store.further_shift_status import FurtherShiftStatus

MINUTE = dt.timedelta(minutes=1)


@pytest.mark.parametrize("step", [pytest.param(7, marks=pytest.mark.slow), 300])
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
