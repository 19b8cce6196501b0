"""An incident of a stream that follows the hour of the day: the cycle is neither drift nor further shift."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from benchmarks.year.simulation import ids_at
from tests.support.worlds import World
from tidemark.drift import DetectorScores, StreamDetector, WindowTest
from tidemark.drift import detector_simulation as room
from tidemark.monitor.context_columns import ContextColumns
from tidemark.monitor.model_state import REFERENCE, WHOLE
from tidemark.monitor.prepared_reference import BaselineKey, PreparedReference
from tidemark.monitor.replay import Replay
from tidemark.settings import Settings
from tidemark.store.log_batch import PredictionBatch, join_batches

WORLD = World()
START = int(dt.datetime(2026, 1, 5, tzinfo=dt.UTC).timestamp() * 1e6)
DAY = 86_400 * 10**6  # microseconds
PER_DAY = 600
SETTINGS = Settings(window_size=200, window_stride=100, window_interval=0, expected_run_time=20_000)


class Log:
    """The log of a stream, a day at a time."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(2)
        self.batches: list[PredictionBatch] = []

    def day(self, move: float = 0.0) -> PredictionBatch:
        number = len(self.batches)
        times = START + number * DAY + np.sort(self.rng.integers(0, DAY, PER_DAY))
        shift = (move + 0.3 * (1 + np.sin(2 * np.pi * times / DAY)))[:, None]
        first = number * PER_DAY + 1
        batch = PredictionBatch(
            first=first,
            last=first + PER_DAY - 1,
            positions=np.arange(first, first + PER_DAY),
            ids=ids_at(times // 1000, self.rng),
            times=times,
            tags=[{}] * PER_DAY,
            rejected={},
            **WORLD.see(WORLD.labels(PER_DAY, self.rng), self.rng, move=shift),
        )
        self.batches.append(batch)
        return batch

    def by_ids(self, ids: Any) -> PredictionBatch | None:
        whole = join_batches(self.batches)
        keys = {row.tobytes() for row in ids}
        rows = [row for row, key in enumerate(whole.ids) if key.tobytes() in keys]
        return whole.select(np.array(rows)) if rows else None


def prepared(log: Log) -> PreparedReference:
    reference = WORLD.reference(2000, np.random.default_rng(0))
    batch = join_batches([log.day() for _ in range(8)])
    context = ContextColumns.of_traffic(batch.times, batch.tags, ())
    assert context is not None
    calm: dict[str, Any] = {
        "embeddings": batch.embeddings,
        "probabilities": batch.probabilities,
        "properties": batch.properties,
        "context": context.values(batch.times, batch.tags),
    }
    scores = DetectorScores(reference)
    calibration = StreamDetector(reference, calm=calm, scores=scores).calibration()
    test: Callable[[], WindowTest] = lambda: WindowTest(reference, 200, calm=calm)  # noqa: E731
    return PreparedReference(BaselineKey(1), reference, scores, calibration, test, context=context, calm=calm)


@pytest.mark.slow
def test_a_cycle_within_an_incident_is_no_further_shift_and_a_further_one_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "CALM_CHUNKS", 8)
    monkeypatch.setattr(room, "REDRAWN_STRETCHES", 8)
    monkeypatch.setattr(room, "MAX_CHUNKS", 16)
    log, key = Log(), BaselineKey(1)
    baseline = prepared(log)
    replay = Replay(1, {REFERENCE: baseline, WHOLE: baseline}, {REFERENCE: key, WHOLE: key}, SETTINGS, log.by_ids)
    for _ in range(4):
        replay.process(log.day())
    assert list(replay.incidents) == []
    for _ in range(5):
        replay.process(log.day(move=0.5))
    [incident] = list(replay.incidents)
    assert incident.resolved_at is None
    assert len(incident.alarms) == 1
    replay.process(log.day(move=0.9))
    [incident] = list(replay.incidents)
    assert len(incident.alarms) == 2
    for _ in range(5):
        replay.process(log.day())
    [incident] = list(replay.incidents)
    assert incident.resolution == "recovered"
    assert len(incident.alarms) == 2
