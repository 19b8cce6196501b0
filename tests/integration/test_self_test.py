"""The monitor tests the detector of each reference once it is calibrated, and daily after that."""

import datetime as dt

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine

from tests.support.monitoring import Installation
from tidemark.api.endpoints.drift_metrics import DriftCollector
from tidemark.api.endpoints.metrics import drift_exposition
from tidemark.drift import Reference, StreamDetector
from tidemark.monitor.daily_self_tests import run_due_self_tests
from tidemark.store import references, self_tests


@pytest.fixture
def installation(engine: Engine, url: str) -> Installation:
    installation = Installation(engine, url)
    installation.forget_calibrations()
    return installation


def row(installation: Installation) -> self_tests.SelfTestRow:
    with installation.engine.connect() as connection:
        [outcome] = self_tests.load_all(connection)
    return outcome


def calibrate(installation: Installation) -> None:
    with installation.engine.begin() as connection:
        reference_id = row(installation).reference_id
        detector = StreamDetector(Reference.from_arrays(references.load(connection, reference_id)))
        references.save_calibration(connection, reference_id, detector.calibration())


def samples(engine: Engine) -> dict[str, float]:
    families = text_string_to_metric_families(drift_exposition(DriftCollector(engine)).decode())
    return {one.name: one.value for family in families for one in family.samples if "selftest" in one.name}


def test_a_calibrated_reference_is_tested_once_a_day(installation: Installation) -> None:
    assert run_due_self_tests(installation.engine) == 0
    assert row(installation).ran_at is None
    assert samples(installation.engine) == {}
    calibrate(installation)
    assert run_due_self_tests(installation.engine) == 1
    assert run_due_self_tests(installation.engine) == 0
    assert run_due_self_tests(installation.engine, dt.timedelta(0)) == 1
    tested = row(installation)
    assert tested.delay is not None
    assert tested.delay <= 200
    metrics = samples(installation.engine)
    assert metrics["tidemark_selftest_delay_predictions"] == tested.delay
    assert tested.succeeded_at is not None
    assert metrics["tidemark_selftest_last_success_timestamp_seconds"] == pytest.approx(tested.succeeded_at.timestamp())


def test_a_broken_detector_is_reported_and_the_time_of_the_last_success_stays(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    calibrate(installation)
    run_due_self_tests(installation.engine)
    before = row(installation)
    monkeypatch.setattr(StreamDetector, "update", lambda *_: None)
    run_due_self_tests(installation.engine, dt.timedelta(0))
    broken = row(installation)
    assert (broken.delay, broken.succeeded_at) == (None, before.succeeded_at)
    assert "not found" in str(broken.reason)
    assert samples(installation.engine)["tidemark_selftest_delay_predictions"] == float("inf")


def test_an_error_of_the_detector_is_a_failure_of_its_self_test(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    calibrate(installation)
    monkeypatch.setattr(StreamDetector, "update", lambda *_: 1 / 0)
    run_due_self_tests(installation.engine)
    assert "ZeroDivisionError" in str(row(installation).reason)
