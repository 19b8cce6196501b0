"""What the report on the tables says and advises."""

import datetime as dt
from typing import Any

from tidemark.commands.storage_report import build_storage_report
from tidemark.store.sizes import Size

TODAY = dt.date(2026, 3, 10)
NOW = dt.datetime(2026, 3, 10, 12, tzinfo=dt.UTC)


def day(before: int, rows: int = 1000, **changed: Any) -> Size:
    name = f"predictions_{TODAY - dt.timedelta(days=before):%Y%m%d}"
    return Size(name, "predictions", rows, 0, 1_200_000, 100_000, 8_000, NOW, NOW)._replace(**changed)


def test_bytes_a_prediction_hold_its_indexes_and_slices() -> None:
    sliced = Size("slice_predictions_20260310", "slice_predictions", 2000, 0, 150_000, 50_000, 0, NOW, NOW)
    report = build_storage_report([day(-1, rows=0), day(0, rows=500), day(1), sliced], 30, TODAY)
    total = 3 * 1_308_000 + 200_000
    assert report["predictions"] == 1500
    assert report["bytes_per_prediction"] == round(total / 1500)
    assert report["bytes_at_retention"] == round(total / 1500 * 1000 * 30)
    assert (report["days"], report["oldest_day"]) == (2, "2026-03-09")
    assert report["advice"] == []


def test_an_empty_database_has_nothing_to_say() -> None:
    report = build_storage_report([], 30, TODAY)
    assert (report["bytes_per_prediction"], report["oldest_day"], report["advice"]) == (None, None, [])


def test_advice_names_what_is_wrong() -> None:
    (outlived,) = build_storage_report([day(-1), day(32)], 30, TODAY)["advice"]
    assert "tidemark monitor" in outlived
    (unready,) = build_storage_report([day(0)], 30, TODAY)["advice"]
    assert "tomorrow" in unready
    (dead,) = build_storage_report([day(-1), day(0, rows=30_000, dead=20_000)], 30, TODAY)["advice"]
    assert "VACUUM predictions_20260310" in dead
    (blind,) = build_storage_report([day(-1), day(0, rows=30_000, analysed=None)], 30, TODAY)["advice"]
    assert "ANALYZE predictions_20260310" in blind
