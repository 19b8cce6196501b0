"""The incident that labels raise: harm whatever the images do, concept by name, severity, and one alert a shift."""

import numpy as np
import pytest

from tests.support.labelled_stream import LabelledStream, prepared_reference
from tidemark.monitor import alert_rules, checkpoint
from tidemark.monitor.events import AlertChanged, AlertFired, AlertResolved
from tidemark.monitor.prepared_reference import BaselineKey, PreparedReference


@pytest.fixture(scope="module")
def prepared() -> PreparedReference:
    return prepared_reference()


def test_an_accuracy_that_falls_by_20_points_is_detected_while_the_images_have_drifted(
    prepared: PreparedReference,
) -> None:
    delays = []
    for seed in range(5):
        stream = LabelledStream(prepared, seed)
        stream.label(500, batch=50)
        stream.drift("covariate")
        stream.label(100)
        assert stream.alerts == []
        delays.append(stream.label(400, wrong=0.22, until=AlertFired) or 400)
        (fired,) = stream.of(AlertFired)
        assert (fired.kind, fired.severity) == ("harm", "page")
        assert "The model became worse: accuracy 0.9" in fired.report["summary"]
    assert np.median(delays) <= 150


def test_labels_that_contradict_certain_answers_are_named_a_concept_shift(prepared: PreparedReference) -> None:
    stream = LabelledStream(prepared)
    stream.label(500)
    assert stream.label(400, wrong=0.3, until=AlertFired) is not None
    (fired,) = stream.of(AlertFired)
    assert fired.kind == "concept"
    assert list(stream.state.kinds) == ["concept"]


def test_a_harm_is_named_a_concept_shift_on_the_same_alert(prepared: PreparedReference) -> None:
    """While the images have drifted, confidence means little; labels of later images show the concept shift."""
    stream = LabelledStream(prepared)
    stream.label(300)
    stream.drift("covariate")
    stream.label(400, wrong=0.2, until=AlertFired)
    assert list(stream.state.kinds) == ["covariate", "harm"]
    stream.recover()
    stream.label(1000, wrong=0.2)
    assert ("changed", "kind") in stream.alerts
    assert list(stream.state.kinds) == ["concept"]
    assert len(stream.of(AlertFired)) == 1


@pytest.mark.parametrize("wrong", [0.06, *(pytest.param(wrong, marks=pytest.mark.slow) for wrong in (0.1, 0.2, 0.4))])
def test_a_lasting_shift_is_one_incident_that_ends_when_the_labels_agree_again(
    prepared: PreparedReference, wrong: float
) -> None:
    stream = LabelledStream(prepared)
    stream.label(500, batch=50)
    stream.label(3000, wrong=wrong, batch=50)
    assert len(stream.of(AlertFired)) == 1
    assert stream.of(AlertResolved) == []
    stream.label(2500, batch=50)
    (resolved,) = stream.of(AlertResolved)
    assert resolved.resolution == "recovered"
    assert list(stream.state.kinds) == []
    assert len(stream.of(AlertFired)) == 1


def test_a_large_incident_ends_within_100_labels_that_agree_again(prepared: PreparedReference) -> None:
    """Every few labels of a lasting incident alarm again: none of these alarms ends it, or hides its errors."""
    stream = LabelledStream(prepared)
    stream.label(500, batch=50)
    stream.label(300, wrong=0.5)
    assert len(stream.of(AlertFired)) == 1
    assert stream.of(AlertResolved) == []
    after = stream.label(300, until=AlertResolved)
    assert after is not None
    assert after <= 100


def test_calm_labels_raise_nothing(prepared: PreparedReference) -> None:
    for seed in range(3):
        stream = LabelledStream(prepared, seed)
        stream.label(2000, batch=100)
        assert stream.alerts == []


def test_a_loss_within_the_tolerance_is_no_harm(prepared: PreparedReference) -> None:
    stream = LabelledStream(prepared, accuracy_tolerance=0.3)
    stream.drift("covariate")
    stream.label(1500, wrong=0.22)
    assert stream.of(AlertFired) == []


@pytest.mark.parametrize(
    ("harmful", "low", "page_below", "severity"),
    [
        (True, 0.8, None, "page"),
        (False, 0.2, None, "ticket"),
        (True, 0.8, 0.7, "ticket"),
        (True, 0.8, 0.9, "page"),
        (False, 0.8, 0.9, "page"),
        (False, 0.9, 0.9, "ticket"),
    ],
)
def test_what_pages_is_the_lower_end_below_the_limit_or_without_a_limit_a_harm(
    harmful: bool, low: float, page_below: float | None, severity: str
) -> None:
    assert alert_rules.severity_of_labels(harmful, low, page_below) == severity


def test_the_severity_rises_when_the_measured_accuracy_crosses_the_limit(prepared: PreparedReference) -> None:
    stream = LabelledStream(prepared, page_below=0.55)
    stream.drift("covariate")
    stream.label(400, wrong=0.22, until=AlertFired)
    (fired,) = stream.of(AlertFired)
    assert fired.severity == "ticket"
    stream.label(400, wrong=0.8)
    changes = [event for event in stream.of(AlertChanged) if event.severity == "page"]
    assert [event.reason for event in changes][:1] in (["severity"], ["kind"])
    assert stream.state.concept is not None
    assert stream.state.concept.severity == "page"


def test_a_stream_goes_on_from_its_checkpoint_and_restarts_its_evidence_with_another_tolerance(
    prepared: PreparedReference,
) -> None:
    stream = LabelledStream(prepared)
    stream.drift("covariate")
    stream.label(60, wrong=0.22)
    assert stream.state.labels is not None
    stored = checkpoint.Checkpoint.from_bytes(checkpoint.to_bytes(stream.state, BaselineKey(1), {}, {}))
    assert stored is not None
    same, _ = checkpoint.restore_state(stored, BaselineKey(1), prepared, 125_000.0, 0.05)
    assert same.labels is not None
    assert same.labels.monitor.harm_evidence == stream.state.labels.monitor.harm_evidence > 0
    assert same.labels.rate == stream.state.labels.rate
    assert same.regimes == stream.state.regimes != ()
    other, _ = checkpoint.restore_state(stored, BaselineKey(1), prepared, 125_000.0, 0.1)
    assert other.labels is not None
    assert other.labels.monitor.harm_evidence < 0
    assert other.labels.monitor.count == 60


def test_the_checkpoint_of_an_earlier_version_is_restored(prepared: PreparedReference) -> None:
    stream = LabelledStream(prepared)
    stream.label(400, wrong=0.3, until=AlertFired)
    stored = checkpoint.Checkpoint.from_bytes(checkpoint.to_bytes(stream.state, BaselineKey(1), {}, {}))
    assert stored is not None
    labels, incident = stored.values["labels"], stored.values["concept"]
    assert labels is not None
    assert incident is not None
    del stored.values["regimes"], labels["rate"], incident["harmful"]
    del stored.arrays["labels.harm_tolerance"]
    restored, _ = checkpoint.restore_state(stored, BaselineKey(1), prepared, 125_000.0, 0.05)
    assert restored.labels is not None
    assert stream.state.labels is not None
    assert restored.labels.monitor.count == stream.state.labels.monitor.count
    assert restored.labels.monitor.accuracy() == stream.state.labels.monitor.accuracy()
    assert restored.kinds == stream.state.kinds
