"""The pace of a model whose rate is known before its predictions are processed again."""

import datetime as dt

import numpy as np
import pytest

from tidemark.monitor.pace import HOUR, Pace

AT = 500_000 * HOUR + 1234  # microseconds of the Unix epoch
INTERVAL = dt.timedelta(days=30)


@pytest.mark.parametrize("rate", [10 / 86_400, 0.03, 7.0])
def test_a_duration_becomes_predictions_at_once(rate: float) -> None:
    pace = Pace.steady(rate, AT)
    assert not pace.is_assumed
    assert pace.run_time(INTERVAL) == pytest.approx(
        max(INTERVAL.total_seconds() * rate, Pace().run_time(100.0)), rel=1e-6
    )


def test_the_rate_stays_while_predictions_come_at_it_and_follows_them_once_they_do_not() -> None:
    pace = Pace.steady(0.1, AT)
    week = np.arange(0, 7 * 24 * HOUR, 10_000_000) + AT
    [*_, steady] = pace.parts(week)
    assert steady.pace.rate == 0.1
    [*_, faster] = pace.parts(np.arange(0, 8 * 24 * HOUR, 1_000_000) + AT)
    assert faster.pace.rate == pytest.approx(1.0, rel=0.1)
