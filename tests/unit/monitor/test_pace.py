"""The rate of a model: measured over days, whatever the steps, and what run time and thinning follow from it."""

import datetime as dt

import numpy as np
import pytest

from tidemark.drift.label_readings import SHARE_OF_BUDGET
from tidemark.errors import ConfigurationError
from tidemark.monitor.budget import DETECTOR_SHARE, stream_budget
from tidemark.monitor.pace import ASSUMED_RATE, MAX_WATCHED_RATE, Pace, watched
from tidemark.settings import Settings

SECOND = 1_000_000  # microseconds
DAY = 86_400
MONTH = dt.timedelta(days=30)
START = 490_000 * 3600 * SECOND


def times(rate: float, days: float, first_day: float = 0) -> np.ndarray:
    """Return the times of predictions at equal distances."""
    count = int(rate * days * DAY)
    return START + np.round((first_day * DAY + np.arange(count) / rate) * SECOND).astype(np.int64)


def after(*moments: np.ndarray, step: int = 5000, pace: Pace | None = None) -> Pace:
    pace = pace or Pace()
    joined = np.concatenate(moments)
    for first in range(0, len(joined), step):
        *_, (_, pace) = pace.parts(joined[first : first + step])
    return pace


def test_a_new_model_has_a_month_at_one_prediction_a_second() -> None:
    assert Pace().run_time(MONTH) == 30 * DAY * ASSUMED_RATE
    assert Pace().is_assumed


def test_a_number_of_predictions_is_used_unchanged() -> None:
    assert after(times(50, 0.1)).run_time(20_000.0) == 20_000


def test_ten_images_a_day_have_three_hundred_in_a_month() -> None:
    pace = after(times(10 / DAY, 9))
    assert pace.run_time(MONTH) == pytest.approx(300, rel=0.1)
    assert not pace.is_assumed


def test_a_fast_model_is_recognised_within_its_first_hour() -> None:
    pace = after(times(90, 0.02))
    assert pace.rate > 20
    pace = after(times(90, 0.2))
    assert pace.rate == pytest.approx(90, rel=0.26)


def test_the_rate_follows_a_lasting_change_and_not_a_small_one() -> None:
    pace = after(times(0.1, 8))
    assert after(times(0.11, 8, first_day=8), pace=pace).rate == pace.rate
    assert after(times(0.5, 8, first_day=8), pace=pace).rate == pytest.approx(0.5, rel=0.25)


def test_a_load_test_of_an_hour_hardly_moves_the_rate_of_a_week() -> None:
    pace = after(times(0.1, 8))
    burst = times(20, 1 / 24, first_day=8)
    pace = after(burst, times(0.1, 2, first_day=8.1), pace=pace)
    assert pace.rate < 0.15


def test_a_pause_of_weeks_leaves_the_rate_as_it_was() -> None:
    pace = after(times(0.1, 8))
    assert after(times(0.1, 0.01, first_day=40), pace=pace).rate == pace.rate


def test_the_pace_does_not_depend_on_the_steps() -> None:
    rng = np.random.default_rng(0)
    moments = np.sort(rng.choice(times(3, 1.2), 250_000, replace=False))
    moments[rng.integers(0, len(moments), 50)] -= 3 * 3600 * SECOND  # late ones count in the hour of their arrival
    traces = []
    for step in (len(moments), 4999):
        pace, changes, seen = Pace(), [], 0
        for first in range(0, len(moments), step):
            for rows, following in pace.parts(moments[first : first + step]):
                if following.rate != pace.rate:
                    changes.append((seen, following.rate))
                seen += rows.stop - rows.start
                pace = following
        traces.append((pace, changes))
        assert sum(pace.hours) == pace.received == len(moments)
    assert traces[0] == traces[1]
    assert len(traces[0][1]) >= 1


def test_a_pace_survives_storage() -> None:
    pace = after(times(0.3, 2))
    assert Pace.from_json(pace.to_json()) == pace


def test_a_fast_model_is_thinned_by_id_to_the_stated_rate() -> None:
    fast = Pace(rate=1000.0)
    assert fast.watched_share == 1 / 16
    assert fast.rate * fast.watched_share <= MAX_WATCHED_RATE
    assert fast.run_time(MONTH) == 30 * DAY * 1000 / 16
    assert Pace(rate=MAX_WATCHED_RATE).watched_share == 1
    ids = np.random.default_rng(0).integers(0, 256, (40_000, 16), dtype=np.uint8)
    ids[:, :8] = 7  # predictions of the same millisecond
    few, many = watched(ids, 1 / 16), watched(ids, 1 / 4)
    assert abs(few.mean() - 1 / 16) < 0.006
    assert abs(many.mean() - 1 / 4) < 0.011
    assert not (few & ~many).any()
    assert watched(ids, 1.0).all()


@pytest.mark.parametrize("tags", [(), ("camera",), ("camera", "site", "client")])
def test_detector_and_labels_of_all_streams_share_one_budget(tags: tuple[str, ...]) -> None:
    """1 / ERT_whole + sum f / ERT_slice against 1 / ERT, for any shares that add up to one a tag."""
    rng = np.random.default_rng(0)
    settings = Settings(slice_tags=tags, expected_run_time=50_000)
    shares = [share for _ in tags for share in rng.dirichlet(np.full(21, 0.3))]
    budget = stream_budget(settings)
    of_detectors = (1 + sum(shares)) / budget.detector
    of_labels = (1 + sum(shares)) * 2 * SHARE_OF_BUDGET / budget.labels
    assert of_detectors == pytest.approx(DETECTOR_SHARE / 50_000)
    assert of_detectors + of_labels == pytest.approx(1 / 50_000)


def test_a_run_time_is_a_duration_or_a_number_of_predictions(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().expected_run_time == MONTH
    for text, expected in (("90d", dt.timedelta(days=90)), ("20000", 20_000), ("1e6", 1e6), ("12h", MONTH / 60)):
        monkeypatch.setenv("TIDEMARK_EXPECTED_RUN_TIME", text)
        assert Settings.load().expected_run_time == expected
    for text in ("10", "1e13", "5m", "soon", "nan"):
        monkeypatch.setenv("TIDEMARK_EXPECTED_RUN_TIME", text)
        with pytest.raises(ConfigurationError, match="TIDEMARK_EXPECTED_RUN_TIME"):
            Settings.load()
