"""A stream without a database: its steps, its clock, and the answers to what it requests."""

import datetime as dt
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tests.support.worlds import Arrays, World
from tidemark.drift import DetectorScores, StreamDetector, WindowTest
from tidemark.monitor import checkpoint
from tidemark.monitor.baseline_preparation import second_baseline
from tidemark.monitor.events import (
    Event,
    EvidencePoint,
    Explanation,
    WindowRequest,
)
from tidemark.monitor.further_shift_watch import FurtherShiftInput
from tidemark.monitor.labels import FedBackLabels
from tidemark.monitor.model_state import new_stream
from tidemark.monitor.pace import Pace
from tidemark.monitor.prepared_reference import BaselineKey, PreparedReference
from tidemark.monitor.stream_state import StreamRows, StreamState
from tidemark.monitor.stream_step import advance_stream
from tidemark.monitor.stream_transition import StreamInput
from tidemark.monitor.window_explanation import explain
from tidemark.settings import Settings
from tidemark.store.log_batch import PredictionBatch
from tidemark.store.prediction_id import id_at

WORLD = World()
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
RUN_TIME = 20_000.0
PACE = Pace()
SETTINGS = Settings(window_size=200, window_min_size=50, expected_run_time=20_000)
CALIBRATIONS: dict[bytes, Mapping[str, ArrayLike]] = {}  # of second baselines, by the ids of their predictions


@cache
def short_reference() -> PreparedReference:
    """Return a small reference of the world with its calibration, made once."""
    reference = WORLD.reference(1500, np.random.default_rng(0))
    scores = DetectorScores(reference)
    calibration = StreamDetector(reference, RUN_TIME, scores=scores).calibration()
    return PreparedReference(BaselineKey(1), reference, scores, calibration, lambda: WindowTest(reference, 200))


class Stream:
    """A stream whose clock moves as its pace says, and whose windows are tested at once if `explains` is true."""

    def __init__(self, prepared: PreparedReference, settings: Settings = SETTINGS, pace: Pace = PACE) -> None:
        self.prepared, self.settings, self.pace = prepared, settings, pace
        self.interval = dt.timedelta(seconds=1 / pace.rate)
        self.state: StreamState = new_stream(1, "", prepared, settings)
        self.rng = np.random.default_rng(1)
        self.now = START
        self.events: list[Event] = []
        self.batches: dict[bytes, Arrays] = {}
        self.pending: list[Explanation] = []
        self.explains = True

    def send(self, n: int, step: int = 50, **change: Any) -> None:
        for first in range(0, n, step):
            self.take(WORLD.traffic(min(step, n - first), self.rng, **change))

    def take(self, arrays: Arrays) -> None:
        m = len(arrays["embeddings"])
        self.now += m * self.interval
        ids = np.stack([self._id(row, m) for row in range(m)])
        for row, key in enumerate(ids):
            self.batches[key.tobytes()] = {name: values[row : row + 1] for name, values in arrays.items()}
        scores = self.state.detector.score(**arrays)
        self.advance(rows=StreamRows(ids, scores, **arrays))

    def advance(self, **incoming: Any) -> None:
        explanations, self.pending = tuple(self.pending), []
        stream_input = StreamInput(explanations=explanations, **incoming)
        transition = advance_stream(self.state, stream_input, self.prepared, self.settings, self.pace, self.now)
        self.state = transition.state
        self.events += [event for event in transition.events if not isinstance(event, EvidencePoint)]
        self.pending = [self.explained(request) for request in transition.requests] if self.explains else []

    def second_baseline(self) -> PreparedReference:
        """Return the baseline that the watch for further shifts waits for."""
        assert self.state.further is not None
        request = self.state.further.request("")
        key = request.ids.tobytes()
        calibration = request.calibration or CALIBRATIONS.get(key)
        baseline = second_baseline(self.batch_of(request.ids), self.prepared, self.settings, calibration)
        CALIBRATIONS[key] = baseline.calibration
        return baseline

    def provide_second_detector(self) -> None:
        """Give the watch for further shifts its baseline, if it waits for that, and the predictions that wait."""
        watch = self.state.further
        assert watch is not None
        baseline = self.second_baseline() if watch.needs_baseline else None
        waiting = self.batch_of(watch.next_ids) if len(watch.next_ids) else None
        self.advance(further=FurtherShiftInput(watch.key, baseline, len(watch.next_ids), waiting))

    def explained(self, request: WindowRequest) -> Explanation:
        return Explanation(request, explain(self.prepared, self.batch_of(request.ids)), self.now, self.now)

    def batch_of(self, ids: np.ndarray) -> PredictionBatch:
        arrays = [self.batches[key.tobytes()] for key in ids]
        joined = {name: np.concatenate([part[name] for part in arrays]) for name in arrays[0]}
        m = len(arrays)
        return PredictionBatch(0, m, np.arange(m), ids, np.zeros(m, np.int64), tags=[{}] * m, rejected={}, **joined)

    def label(self, arrays: Arrays, labels: np.ndarray) -> None:
        m = len(labels)
        ids = np.stack([self._id(row, m) for row in range(m)])
        probabilities = arrays["probabilities"]
        embeddings, sources = arrays["embeddings"], np.zeros(m, np.int64)
        predicted, first = probabilities.argmax(axis=1), np.ones(m, bool)
        batch = FedBackLabels(ids, predicted, probabilities, labels, first, embeddings, sources)
        self.advance(labels=batch)

    def of(self, *kinds: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kinds)]

    def _id(self, row: int, count: int) -> np.ndarray:
        moment = self.now - (count - 1 - row) * self.interval
        return np.frombuffer(id_at(int(moment.timestamp() * 1000), self.rng.bytes(10)).bytes, np.uint8)


def restored(state: StreamState, prepared: PreparedReference) -> StreamState:
    """Return a state as a monitor that starts again finds it."""
    stored = checkpoint.Checkpoint.from_bytes(checkpoint.to_bytes(state, BaselineKey(1), {}, {}))
    assert stored is not None
    return checkpoint.restore_state(stored, BaselineKey(1), prepared, RUN_TIME, 0.05)[0]
