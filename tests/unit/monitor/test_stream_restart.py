"""What a stream continues from after a restart: its evidence, windows without an answer, alarms."""

from dataclasses import replace

import numpy as np
import pytest

from tests.support.watched_stream import RUN_TIME, WORLD, Stream, restored
from tests.support.worlds import Arrays
from tidemark.monitor import checkpoint
from tidemark.monitor.events import (
    AlertFired,
    WindowStored,
)
from tidemark.monitor.prepared_reference import BaselineKey, PreparedReference


def take_in_steps(stream: Stream, arrays: Arrays, step: int) -> None:
    for first in range(0, len(arrays["embeddings"]), step):
        stream.take({name: values[first : first + step] for name, values in arrays.items()})


def with_incident(prepared: PreparedReference) -> Stream:
    """Return a stream whose incident has just opened, and of which no further window is tested."""
    stream = Stream(prepared)
    stream.send(400)
    while not stream.of(AlertFired):
        stream.send(50, move=0.6)
    stream.explains = False
    return stream


@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.slow), 37, 500])
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


@pytest.mark.parametrize("replay_step", [pytest.param(7, marks=pytest.mark.slow), 130, 930])
def test_a_monitor_killed_during_an_incident_replays_the_log_to_the_same_evidence_and_quiet_time(
    prepared: PreparedReference, replay_step: int
) -> None:
    whole, killed = with_incident(prepared), with_incident(prepared)
    opened_at = whole.state.seen
    arrays = WORLD.traffic(930, np.random.default_rng(6), move=0.35)
    take_in_steps(whole, arrays, 60)
    killed.state = restored(killed.state, prepared)
    take_in_steps(killed, arrays, replay_step)
    incidents = killed.state.incident, whole.state.incident
    assert incidents[0] is not None
    assert incidents[1] is not None
    assert incidents[0].alarmed_at == incidents[1].alarmed_at > opened_at
    assert killed.state.detector.evidence == whole.state.detector.evidence > 0


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
