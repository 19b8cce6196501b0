"""Whether scores follow the hour of the day: cycles are reported after two days, noise and slow changes are not."""

import numpy as np
import pytest

from tests.support.worlds import World
from tidemark.drift import StreamDetector, daily_cycle

WORLD = World()
DAY = 86_400 * 10**6
PER_DAY = 800


@pytest.fixture(scope="module")
def first() -> StreamDetector:
    return StreamDetector(WORLD.reference(1500, np.random.default_rng(0)), expected_run_time=1e6)


def detector(first: StreamDetector) -> StreamDetector:
    return StreamDetector(first.scores.reference, 1e6, calibration=first.calibration(), scores=first.scores)


def send(
    watched: StreamDetector, days: int, seed: int, amplitude: float = 0.0, daily: float = 0.0, first_day: int = 0
) -> None:
    """Send days of traffic whose images follow the hour with an amplitude, and differ between days by `daily`."""
    rng = np.random.default_rng(seed)
    for day in range(first_day, first_day + days):
        level = daily * rng.normal()
        for part in range(8):
            times = day * DAY + (part * DAY + np.arange(PER_DAY // 8) * DAY // PER_DAY * 8) // 8
            move = level + amplitude * np.sin(2 * np.pi * part / 8)
            arrays = WORLD.traffic(len(times), rng, move=move)
            watched.update_scored(watched.score(**arrays), times=times)


@pytest.mark.parametrize("days", [3, 8])
def test_a_daily_cycle_is_reported_after_two_whole_days(first: StreamDetector, days: int) -> None:
    watched = detector(first)
    send(watched, days, seed=1, amplitude=0.3)
    assert watched.follows_hour


def test_days_beyond_the_bound_are_not_added_up(first: StreamDetector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daily_cycle, "MAX_DAYS", 3)
    watched = detector(first)
    send(watched, 4, seed=3)
    send(watched, 8, seed=4, amplitude=0.5, first_day=4)
    assert not watched.follows_hour


def test_a_single_day_shows_no_cycle(first: StreamDetector) -> None:
    watched = detector(first)
    send(watched, 2, seed=2, amplitude=0.5)
    assert not watched.follows_hour


@pytest.mark.parametrize("daily", [0.0, 0.3])
def test_independent_traffic_and_days_that_differ_are_no_cycle(first: StreamDetector, daily: float) -> None:
    for seed in range(6):
        watched = detector(first)
        send(watched, 5, seed=10 + seed, daily=daily)
        assert not watched.follows_hour


def test_the_days_survive_a_restart(first: StreamDetector) -> None:
    watched = detector(first)
    send(watched, 2, seed=3, amplitude=0.3)
    again = StreamDetector.restore(first.scores.reference, watched.state(), first.scores)
    for one in (watched, again):
        send_at = 2 * DAY + np.arange(PER_DAY) * (DAY // PER_DAY)
        rng = np.random.default_rng(4)
        for part in range(8):
            index = slice(part * PER_DAY // 8, (part + 1) * PER_DAY // 8)
            arrays = WORLD.traffic(PER_DAY // 8, rng, move=0.3 * np.sin(2 * np.pi * part / 8))
            one.update_scored(one.score(**arrays), times=send_at[index])
        one.update_scored(one.score(**WORLD.traffic(10, rng)), times=np.full(10, 3 * DAY))
    assert watched.follows_hour
    assert again.follows_hour
    for name, value in watched.state().items():
        np.testing.assert_array_equal(value, again.state()[name], name)
