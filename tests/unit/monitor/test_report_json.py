"""The declared type of a report's JSON has every key that reports hold, and reads reports of earlier versions."""

import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from pydantic import TypeAdapter

from tests.support.labelled_stream import LabelledStream, prepared_reference
from tests.support.worlds import World
from tidemark.drift import Reference, WindowReport, WindowTest
from tidemark.drift.estimates import AccuracyMethod
from tidemark.monitor.events import AlertFired
from tidemark.monitor.stored_report import StoredReport
from tidemark.store.report_json import VERSION, WindowReportJson, WitnessJson

WORLD = World()
ADAPTER = TypeAdapter(WindowReportJson)


def assert_declared(report: Mapping[str, object]) -> None:
    """Pydantic drops keys that a type does not declare: the report must be the same without them."""
    values = json.loads(json.dumps(report, allow_nan=False))
    assert json.loads(json.dumps(ADAPTER.validate_python(values))) == values


@pytest.fixture(scope="module")
def reference() -> Reference:
    return WORLD.reference(600, np.random.default_rng(1))


@pytest.fixture(scope="module")
def window_test(reference: Reference) -> WindowTest:
    return WindowTest(reference, window_size=300)


@pytest.mark.parametrize("size", [5, 300])
def test_every_key_of_a_window_report_is_declared(window_test: WindowTest, size: int) -> None:
    rng = np.random.default_rng(2)
    window = window_test(**WORLD.traffic(size, rng, prior=[0.6, 0.1, 0.1, 0.1, 0.1], move=0.8))
    assert window.drifted == (size == 300)
    witness = WitnessJson(id="0192", score=1.0, nearest=3, neighbours=[{"row": 3, "label": None, "distance": 0.5}])
    report = StoredReport(window, 7, (witness,), {"0": 1.0}, ()).to_json()
    assert report["version"] == VERSION
    assert report["reference"] == 7
    assert_declared(report)


def test_every_key_that_labels_add_is_declared() -> None:
    stream = LabelledStream(prepared_reference())
    stream.label(500)
    assert stream.label(400, wrong=0.3, until=AlertFired) is not None
    report = stream.of(AlertFired)[0].report
    assert report["labels"]["n"] > 0
    assert_declared(report)


@pytest.mark.parametrize(("method", "fall"), [("regression", 0.4), ("unknown", 0.3)])
def test_the_largest_fall_is_that_of_the_lower_end_or_of_a_guess(
    window_test: WindowTest, method: AccuracyMethod, fall: float
) -> None:
    window = window_test(**WORLD.traffic(300, np.random.default_rng(4), move=0.8))
    assert window.performance is not None
    performance = replace(
        window.performance, method=method, reference_accuracy=0.9, estimated_accuracy=0.6, low=0.5, high=0.7
    )
    report = StoredReport(replace(window, performance=performance), 7, (), {}, ())
    assert report.largest_fall == pytest.approx(fall)
    assert StoredReport(replace(window, performance=None), 7, (), {}, ()).largest_fall == 0


def test_changes_take_the_place_of_the_values_of_the_window() -> None:
    report = StoredReport(WindowReport("tested", 300, kind="label", summary="as tested"), 7, (), {}, ())
    changed = report.with_changes({"summary": "as reported"}).with_changes({"kind": "covariate"})
    assert (changed.summary, changed.to_json()["summary"], changed.to_json()["kind"]) == (
        "as reported",
        "as reported",
        "covariate",
    )
    assert (report.summary, report.to_json()["kind"]) == ("as tested", "label")


def test_a_report_of_version_1_is_read() -> None:
    first: dict[str, object] = {"size": 300, "p_value": 0.5, "drifted": False, "kind": "none", "summary": "No drift"}
    assert ADAPTER.validate_python(first) == first
