"""The rate of a model within its steps: thresholds follow it, fast models are thinned, replays give the same."""

import datetime as dt

import numpy as np
import pytest

from tests.support.worlds import World
from tidemark.drift import DetectorScores, StreamDetector, WindowTest
from tidemark.monitor.model_state import REFERENCE, WHOLE, ModelInput, ModelState, new_stream
from tidemark.monitor.model_step import advance
from tidemark.monitor.pace import HOURS_A_DAY, Pace
from tidemark.monitor.prepared_reference import BaselineKey, PreparedReference
from tidemark.settings import Settings
from tidemark.store.log_batch import PredictionBatch
from tidemark.store.prediction_id import id_at

WORLD = World()
START = 490_000 * 3600 * 10**6  # microseconds, the begin of an hour
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
MONTH = Settings(window_interval=1e6)


@pytest.fixture(scope="module")
def prepared() -> dict[str, PreparedReference]:
    reference = WORLD.reference(1000, np.random.default_rng(0))
    scores = DetectorScores(reference)
    calibration = StreamDetector(reference, scores=scores).calibration()
    one = PreparedReference(BaselineKey(1), reference, scores, calibration, lambda: WindowTest(reference, 500))
    return {WHOLE: one, REFERENCE: one}


def model(prepared: dict[str, PreparedReference], pace: Pace) -> ModelState:
    return ModelState(1, 0, 0, {WHOLE: new_stream(1, WHOLE, prepared[WHOLE], MONTH)}, pace=pace)


def batch(count: int, rate: float, seed: int = 0, move: float = 0.0) -> PredictionBatch:
    rng = np.random.default_rng(seed)
    times = START + (np.arange(count) * (10**6 / rate)).astype(np.int64)
    ids = np.stack([np.frombuffer(id_at(int(time) // 1000, rng.bytes(10)).bytes, np.uint8) for time in times])
    arrays = WORLD.traffic(count, rng, move=move)
    return PredictionBatch(1, count, np.arange(1, count + 1), ids, times, tags=[{}] * count, rejected={}, **arrays)


def process(state: ModelState, whole: PredictionBatch, prepared: dict[str, PreparedReference], step: int) -> ModelState:
    for first in range(0, len(whole), step):
        part = whole.select(slice(first, first + step))
        state = advance(state, ModelInput(batch=part), prepared, MONTH, NOW).state
    return state


def test_a_fast_model_is_thinned_and_a_shift_in_it_is_detected(prepared: dict[str, PreparedReference]) -> None:
    fast = Pace(hours=(3_600_000,) * (HOURS_A_DAY + 2), newest=START // (3600 * 10**6), rate=1000.0)
    state = process(model(prepared, fast), batch(4800, 1000.0), prepared, 1000)
    stream = state.whole
    assert state.pace.received == 4800
    assert 220 < stream.seen < 380
    assert stream.status.budget is not None
    assert stream.status.budget.watched_share == 1 / 16
    assert stream.status.budget.predictions == 30 * 86_400 * 1000
    assert stream.status.expected_run_time == pytest.approx(30 * 86_400 * 1000 / 16 / 0.8)
    assert stream.alarm is None
    state = process(state, batch(4800, 1000.0, seed=1, move=1.0), prepared, 1000)
    assert state.whole.alarm is not None or state.whole.incident is not None


def test_thresholds_follow_the_rate_at_the_same_prediction_whatever_the_steps(
    prepared: dict[str, PreparedReference],
) -> None:
    traffic = batch(9000, 1.25)  # two hours: one prediction a second is assumed until 3600 were made
    states = [process(model(prepared, Pace()), traffic, prepared, step) for step in (9000, 777)]
    assert states[0].pace == states[1].pace
    detectors = [state.whole.detector for state in states]
    assert detectors[0].expected_run_time > 30 * 86_400 / 0.8
    first, second = (detector.state() for detector in detectors)
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], name)


def test_a_slow_model_has_a_lower_threshold(prepared: dict[str, PreparedReference]) -> None:
    slow = Pace(hours=(1,) * (HOURS_A_DAY + 2), newest=START // (3600 * 10**6), rate=10 / 86_400)
    thresholds = [
        process(model(prepared, pace), batch(20, 1.0), prepared, 20).whole.detector.threshold for pace in (slow, Pace())
    ]
    assert thresholds[0] < thresholds[1] - 5
