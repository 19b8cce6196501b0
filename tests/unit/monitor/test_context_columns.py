"""The covariates of a prediction: harmonics of day and week, and frequent values of tags."""

import datetime as dt

import numpy as np
import pytest

from tidemark.monitor.context_columns import ContextColumns

MONDAY = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


def times(hours: float, per_hour: int = 20) -> np.ndarray:
    count = int(hours * per_hour)
    return int(MONDAY.timestamp()) * 10**6 + (np.arange(count) * (3600 * 10**6 // per_hour))


def columns(hours: float, keys: tuple[str, ...] = (), values: tuple[str, ...] = ("a",)) -> ContextColumns | None:
    moments = times(hours)
    tags = [{"camera": values[at % len(values)]} for at in range(len(moments))]
    return ContextColumns.of_traffic(moments, tags, keys)


def test_less_than_two_days_without_tags_have_no_context() -> None:
    assert columns(47) is None


def test_a_tag_needs_no_cycle() -> None:
    context = columns(47, keys=("camera",), values=("a", "b"))
    assert context is not None
    assert context.harmonics == ()
    assert context.text == "the tag camera"


@pytest.mark.parametrize(("hours", "text"), [(49, "the hour of the day"), (24 * 14 + 1, "the hour of the week")])
def test_two_days_tell_the_hour_and_two_weeks_the_day_of_the_week(hours: float, text: str) -> None:
    context = columns(hours)
    assert context is not None
    assert context.text == text


def test_the_hour_comes_again_each_day_and_the_weekday_each_week() -> None:
    daily, weekly = columns(49), columns(24 * 15)
    assert daily is not None
    assert weekly is not None
    moments = times(24 * 8, per_hour=1)
    for context, period in ((daily, 24), (weekly, 7 * 24)):
        values = context.values(moments, [{}] * len(moments))
        np.testing.assert_allclose(values[:20], values[period : period + 20], atol=1e-9)
        assert np.abs(values[0] - values[12]).max() > 1
    values = weekly.values(moments, [{}] * len(moments))
    assert np.abs(values[0] - values[24]).max() > 0.5


def test_frequent_values_of_the_tags_are_columns() -> None:
    context = columns(72, keys=("camera",), values=("a", "b", "b", "b"))
    assert context is not None
    assert context.tags == (("camera", "b"), ("camera", "a"))
    assert context.text == "the hour of the day and the tag camera"
    values = context.values(times(1)[:3], [{"camera": "a"}, {"camera": "b"}, {}])
    np.testing.assert_array_equal(values[:, -2:], [[0, 1], [1, 0], [0, 0]])


def test_a_tag_has_a_bounded_number_of_columns_those_of_its_most_frequent_values() -> None:
    values = [f"camera {number:02}" for number in range(25)]
    context = columns(500, keys=("camera",), values=(*values[5:], *values))  # 222 of each value, or 444
    assert context is not None
    assert context.tags == tuple(("camera", value) for value in values[5:])


def test_a_tag_with_one_value_tells_nothing() -> None:
    context = columns(72, keys=("camera",))
    assert context is not None
    assert context.tags == ()


def test_the_covariates_survive_storage() -> None:
    for context in (columns(72, keys=("camera",), values=("a", "b")), columns(24 * 15)):
        assert context is not None
        assert ContextColumns.from_arrays(context.to_arrays()) == context
    assert ContextColumns.from_arrays({}) is None
