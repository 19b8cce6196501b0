"""Labels come late, after a pause and corrected: they are judged by what held when the image was predicted."""

import datetime as dt
from dataclasses import replace

import numpy as np
import pytest

from tests.support.labelled_stream import START, LabelledStream, answers, prepared_reference
from tidemark.monitor.events import AlertFired
from tidemark.monitor.label_rate import LabelRate
from tidemark.monitor.label_regimes import MAX_REGIMES, Regime, regime_at, regimes_from_json, with_regime
from tidemark.monitor.prepared_reference import PreparedReference

HOUR = dt.timedelta(hours=1)


@pytest.fixture(scope="module")
def prepared() -> PreparedReference:
    return prepared_reference()


def test_labels_of_a_drift_that_is_over_are_judged_by_that_drift(prepared: PreparedReference) -> None:
    """A tenth more errors than confidence promises is what drifted images do, and no concept shift."""
    stream = LabelledStream(prepared, accuracy_tolerance=0.3)
    stream.drift("covariate")
    stream.advance()
    during = stream.now
    stream.now += HOUR
    stream.recover()
    stream.advance()
    stream.now += HOUR
    stream.label(1500, wrong=0.12, at=during + HOUR / 2)
    assert stream.of(AlertFired) == []
    stream.label(1500, wrong=0.12)
    assert [event.kind for event in stream.of(AlertFired)] == ["concept"]


def test_labels_of_images_from_before_a_drift_are_judged_strictly(prepared: PreparedReference) -> None:
    stream = LabelledStream(prepared, accuracy_tolerance=0.3)
    before = stream.now
    stream.now += HOUR
    stream.drift("covariate")
    stream.label(1500, wrong=0.12, at=before)
    assert [event.kind for event in stream.of(AlertFired)] == ["concept"]


def test_errors_that_the_images_explain_name_no_concept_shift(prepared: PreparedReference) -> None:
    """Six of ten labels contradict a confident model, on images on which its accuracy was estimated so low; such a loss
    is no harm here, so that nothing else can fire."""
    kinds = []
    for fall in (0.0, 0.7):
        stream = LabelledStream(prepared, accuracy_tolerance=0.6)
        stream.drift("covariate")
        stream.state = replace(stream.state, fall=fall)
        stream.advance()
        during = stream.now
        stream.now += HOUR
        stream.recover()
        stream.state = replace(stream.state, fall=0.0)
        stream.advance()
        stream.now += HOUR
        stream.label(300, wrong=0.6, at=during)
        kinds.append([event.kind for event in stream.of(AlertFired)])
    assert kinds == [["concept"], []]


def test_the_largest_fall_of_the_accuracy_in_a_span_is_kept_and_stored() -> None:
    regimes = with_regime((), "covariate", START, START, None, 0.2)
    for step, fall in enumerate((0.7, 0.1), start=1):
        regimes = with_regime(regimes, "covariate", START, START + step * HOUR, None, fall)
    assert [regime.fall for regime in regimes] == [0.7]
    assert regimes_from_json([regime.to_json() for regime in regimes], [0.7]) == regimes
    assert [regime.fall for regime in regimes_from_json([regime.to_json() for regime in regimes], [])] == [0.0]


def test_regimes_follow_the_kind_of_the_open_incident_and_are_bounded() -> None:
    regimes = with_regime((), None, START, START, None)
    assert regimes == ()
    regimes = with_regime(regimes, "covariate", START - HOUR, START, None)
    regimes = with_regime(regimes, "covariate", START - HOUR, START + HOUR, (0.5, 0.5))
    regimes = with_regime(regimes, "label", START - HOUR, START + 2 * HOUR, (0.4, 0.6))
    regimes = with_regime(regimes, None, START, START + 3 * HOUR, None)
    assert regimes == (
        Regime("covariate", START - HOUR, START + 2 * HOUR, (0.5, 0.5)),
        Regime("label", START + 2 * HOUR, START + 3 * HOUR, (0.4, 0.6)),
    )
    moments = [-2, -1, 0, 2, 3]
    kinds = [getattr(regime_at(regimes, START + step * HOUR), "kind", None) for step in moments]
    assert kinds == [None, "covariate", "covariate", "label", None]
    assert [Regime.from_json(regime.to_json()) for regime in regimes] == list(regimes)
    for step in range(2 * MAX_REGIMES):
        regimes = with_regime(regimes, ("label", None)[step % 2], START, START + step * HOUR, None)
    assert len(regimes) == MAX_REGIMES


def test_a_correction_replaces_the_bet_of_the_label_that_it_corrects(prepared: PreparedReference) -> None:
    stream, clean = LabelledStream(prepared), LabelledStream(prepared)
    probabilities, labels = answers(40, stream.rng)
    wrong = (labels + 1) % 5
    ids = stream.send(probabilities, wrong)
    stream.send(probabilities, labels, ids=ids, is_first=np.zeros(40, bool))
    clean.send(probabilities, labels)
    assert stream.state.labels is not None
    assert clean.state.labels is not None
    assert stream.state.status.feedback == clean.state.status.feedback
    assert stream.state.labels.monitor.count == 40


def test_the_labelled_share_is_that_of_recent_predictions() -> None:
    rate, seen = LabelRate(), 0
    for _ in range(500):
        seen += 100
        rate = rate.with_labels(10, seen)
    assert rate.share == pytest.approx(0.1, rel=0.1)
    seen += 1_000_000
    for _ in range(20):
        seen += 100
        rate = rate.with_labels(10, seen)
    assert rate.share > 0.05
    assert LabelRate().with_labels(10, 10).share == 1.0
    assert LabelRate().with_labels(5000, 1_000_000).share <= 1.0


def test_after_a_pause_without_labels_calm_labels_raise_nothing(prepared: PreparedReference) -> None:
    for seed in range(3):
        stream = LabelledStream(prepared, seed)
        probabilities, labels = answers(10, stream.rng)
        stream.send(probabilities, labels, predictions=1_000_000)
        stream.label(2000, batch=50)
        assert stream.alerts == []
