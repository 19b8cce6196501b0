"""Incidents that resemble earlier ones of a stream, in kind, direction and size."""

import datetime as dt

import pytest

from tidemark.monitor.recurrence import MAX_PATTERNS, Pattern, Signature, recurrence_of, remembered

MAY = dt.datetime(2026, 5, 3, 7, tzinfo=dt.UTC)
RAIN = Signature("covariate", "embedding", {"brightness": -0.6, "contrast": -0.5, "sharpness": -0.1})


def test_the_first_incident_resembles_nothing() -> None:
    assert recurrence_of((), RAIN) is None


def test_rain_that_comes_back_is_counted_and_dated_by_its_last_time() -> None:
    patterns: tuple[Pattern, ...] = ()
    for day in range(40):
        changes = {"brightness": -0.6 + 0.005 * day, "contrast": -0.45, "sharpness": 0.1}
        patterns = remembered(patterns, Signature("covariate", "property", changes), MAY - dt.timedelta(days=39 - day))
    assert len(patterns) == 1
    recurrence = recurrence_of(patterns, RAIN)
    assert recurrence is not None
    assert recurrence.text == "as on 3 May 2026, 40 times so far"
    assert recurrence.first == MAY - dt.timedelta(days=39)


@pytest.mark.parametrize(
    "other",
    [
        Signature("label", "embedding", RAIN.changes),
        Signature("covariate", "embedding", {name: -value for name, value in RAIN.changes.items()}),
        Signature("covariate", "embedding", {name: 5 * value for name, value in RAIN.changes.items()}),
        Signature("covariate", "embedding", {"sharpness": -0.8}),
        Signature("covariate", "embedding", {}),
    ],
    ids=["another kind", "brighter", "much stronger", "blurred", "no property known"],
)
def test_another_drift_is_no_recurrence(other: Signature) -> None:
    patterns = remembered((), RAIN, MAY)
    assert recurrence_of(patterns, other) is None
    assert len(remembered(patterns, other, MAY)) == 2


def test_without_properties_the_view_decides() -> None:
    bare = Signature("covariate", "embedding", {})
    patterns = remembered((), bare, MAY)
    assert recurrence_of(patterns, bare) is not None
    assert recurrence_of(patterns, Signature("covariate", "log_probability", {})) is None


def test_the_history_is_bounded_and_survives_storage() -> None:
    patterns: tuple[Pattern, ...] = ()
    for number in range(3 * MAX_PATTERNS):
        patterns = remembered(patterns, Signature("covariate", "property", {f"property {number}": 1.0}), MAY)
    assert len(patterns) == MAX_PATTERNS
    assert tuple(Pattern.from_json(item.to_json()) for item in patterns) == patterns
