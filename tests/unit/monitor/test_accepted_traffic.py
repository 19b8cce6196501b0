"""What an accepted baseline learns of the hour and of tags, from itself or from traffic that was declared calm."""

import datetime as dt
from typing import Any

import numpy as np
import pytest

from tests.support.worlds import World
from tidemark.drift import Reference
from tidemark.monitor.accepted_traffic import BaselineContext, baseline_context
from tidemark.monitor.context_columns import ContextColumns
from tidemark.store.baselines import AcceptedPart, AcceptedTraffic
from tidemark.store.calibrations import Calm
from tidemark.store.prediction_id import id_at, times_of
from tidemark.store.tag_codes import encode_tags

WORLD = World()
MONDAY = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)
CAMERAS = [{"camera": "7"}, {"camera": "8"}, {"camera": "8"}]


@pytest.fixture(scope="module")
def reference() -> Reference:
    return WORLD.reference(500, np.random.default_rng(0))


def traffic(
    rows: int, hours: float, what: AcceptedPart = "all", calibration: dict[str, Any] | None = None
) -> AcceptedTraffic:
    rng = np.random.default_rng(1)
    times = [MONDAY + dt.timedelta(hours=hours) * (number / rows) for number in range(rows)]
    ids = b"".join(id_at(int(time.timestamp() * 1000), rng.bytes(10)).bytes for time in times)
    arrays = dict(WORLD.traffic(rows, rng)) | {"ids": np.frombuffer(ids, np.uint8).reshape(-1, 16)}
    arrays |= encode_tags([CAMERAS[number % 3] for number in range(rows)])
    return AcceptedTraffic(what, arrays, calibration)


def declared_calm(hours: float) -> Calm:
    accepted = traffic(2000, hours)
    columns = ContextColumns.of_traffic(times_of(accepted.arrays["ids"]), [{}] * 2000, ())
    if columns is None:
        return Calm(accepted.arrays, {})
    context = columns.values(times_of(accepted.arrays["ids"]), [{}] * 2000)
    return Calm(accepted.arrays | {"context": context}, columns.to_arrays())


def text_of(context: BaselineContext) -> str | None:
    return None if context.columns is None else context.columns.text


def is_empty(context: BaselineContext) -> bool:
    return (context.columns, context.calm, context.learnt) == (None, None, None)


@pytest.mark.parametrize(
    ("hours", "keys", "text"),
    [
        (72, ("camera",), "the hour of the day and the tag camera"),
        (72, (), "the hour of the day"),
        (8, ("camera",), "the tag camera"),
        (8, ("site",), None),
    ],
)
def test_accepted_traffic_tells_the_hour_from_two_days_and_its_tags(
    reference: Reference, hours: float, keys: tuple[str, ...], text: str | None
) -> None:
    context = baseline_context(reference, traffic(1200, hours), None, keys)
    assert text_of(context) == text
    if context.columns is not None:
        assert context.calm is not None
        assert np.shape(context.calm["context"]) == (1200, len(context.columns))
        of_camera = np.asarray(context.calm["context"])[:3, -1 if "camera" in keys else 0]
        assert len(set(of_camera.tolist())) > 1


def test_too_few_predictions_for_a_regression_are_compared_as_they_are(reference: Reference) -> None:
    assert is_empty(baseline_context(reference, traffic(999, 24 * 60), None, ("camera",)))


def test_a_few_hours_learn_the_cycle_from_calm_traffic_of_before(reference: Reference) -> None:
    calm = declared_calm(72)
    context = baseline_context(reference, traffic(600, 8), calm, ())
    assert text_of(context) == "the hour of the day"
    assert context.calm is None
    assert context.learnt is not None
    assert context.learnt.calm is calm.traffic
    assert np.shape(context.learnt.context) == (600, 6)


def test_a_mix_keeps_the_bursts_of_calm_traffic_and_no_level_of_its_hours(reference: Reference) -> None:
    for hours, has_calm in ((8, True), (72, False)):
        context = baseline_context(reference, traffic(600, 8, "mix"), declared_calm(hours), ())
        assert context.columns is None
        assert (context.calm is not None) == has_calm


def test_the_covariates_of_a_stored_calibration_stay_whatever_tags_are_watched_since(reference: Reference) -> None:
    fresh = baseline_context(reference, traffic(1200, 72), None, ("camera",))
    assert fresh.columns is not None
    stored = fresh.columns.to_arrays() | {"context_location": np.zeros(len(fresh.columns))}
    assert baseline_context(reference, traffic(1200, 72, calibration=stored), None, ()).columns == fresh.columns
    assert is_empty(baseline_context(reference, traffic(1200, 72, calibration={}), None, ("camera",)))
