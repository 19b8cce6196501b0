"""The end of an incident that labels raised: seldom while it lasts, and soon where its errors have gone."""

import numpy as np
import pytest
from numpy.typing import ArrayLike
from scipy import stats

from tests.support.label_traffic import RUN_TIME, SHARE, WORLD, feed, flipped
from tidemark.drift import ConceptMonitor, Reference
from tidemark.drift.recovery import RUN_LENGTH, Recovery, Tally

EXPECTED, HARMLESS = 0.07, 0.13  # error probabilities of the reference, and that are no harm
LONGEST = 5000  # labels


@pytest.fixture(scope="module")
def reference() -> Reference:
    return WORLD.reference(3000, np.random.default_rng(0))


def after_incident(rng: np.random.Generator, error: float, labels: int = 60) -> Recovery:
    """Return the test at the start of an incident that so many labels have shown."""
    wrong = float((rng.random(labels) < error).sum())
    return Recovery(incident=Tally(labels, wrong, HARMLESS * labels))


def labels_until_end(test: Recovery, rng: np.random.Generator, error: float, limit: int = LONGEST) -> int | None:
    for count, wrong in enumerate((rng.random(limit) < error).tolist(), start=1):
        test = test.followed_by(wrong, EXPECTED, HARMLESS)
        if test.is_over:
            return count
    return None


def labels_until_end_at_two_points(rng: np.random.Generator, error: float) -> int:
    """Return the labels until one alternative, the permitted errors, excludes two points more than they are."""
    null, evidence = HARMLESS + 0.02, -np.inf
    for count, wrong in enumerate((rng.random(LONGEST) < error).tolist(), start=1):
        ratio = HARMLESS / null if wrong else (1 - HARMLESS) / (1 - null)
        evidence = np.logaddexp(evidence, 0) + np.log(ratio)
        if evidence > np.log(RUN_LENGTH):
            return count
    return LONGEST


@pytest.mark.parametrize("error", [0.16, 0.18, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("rounds", [15, pytest.param(150, marks=pytest.mark.slow)])
def test_a_lasting_incident_ends_at_most_once_in_10_000_labels(error: float, rounds: int) -> None:
    rng = np.random.default_rng(1)
    ends = sum(labels_until_end(after_incident(rng, error), rng, error, 1000) is not None for _ in range(rounds))
    permitted = -np.expm1(-1000 / RUN_LENGTH)  # share that ends within 1,000 labels at that rate
    assert stats.binomtest(ends, rounds, permitted, alternative="greater").pvalue > 0.001


@pytest.mark.parametrize("rounds", [15, pytest.param(150, marks=pytest.mark.slow)])
def test_half_of_the_excess_of_errors_is_no_end(rounds: int) -> None:
    rng = np.random.default_rng(2)
    error = (HARMLESS + 0.5) / 2
    ends = sum(labels_until_end(after_incident(rng, 0.5), rng, error, 1000) is not None for _ in range(rounds))
    permitted = -np.expm1(-1000 / RUN_LENGTH)
    assert stats.binomtest(ends, rounds, permitted, alternative="greater").pvalue > 0.001


@pytest.mark.parametrize(("error", "ratio"), [(0.5, 4), (0.9, 12)])
def test_a_large_incident_ends_after_a_small_part_of_the_labels_that_excluding_two_points_takes(
    error: float, ratio: float
) -> None:
    rng = np.random.default_rng(3)
    after = 0.1  # error probability after the incident
    ends = [labels_until_end(after_incident(rng, error), rng, after) or LONGEST for _ in range(31)]
    others = [labels_until_end_at_two_points(rng, after) for _ in range(31)]
    assert np.median(ends) * ratio < np.median(others)


def test_a_small_incident_ends_no_later_than_by_excluding_two_points() -> None:
    rng = np.random.default_rng(4)
    ends = [labels_until_end(after_incident(rng, 0.18, 300), rng, EXPECTED) or LONGEST for _ in range(15)]
    assert np.median(ends) < np.median([labels_until_end_at_two_points(rng, EXPECTED) for _ in range(15)])


def test_labels_of_the_incident_raise_the_share_of_errors_that_is_excluded() -> None:
    rng = np.random.default_rng(5)
    test = first = after_incident(rng, 0.5, 20)
    for wrong in (rng.random(300) < 0.5).tolist():
        test = test.followed_by(wrong, EXPECTED, HARMLESS)
    assert test.incident.labels > 200
    assert first.incident.margin < test.incident.margin < (0.5 - HARMLESS) / 2


def test_an_alarm_within_an_incident_forgets_the_bets_and_keeps_the_errors(reference: Reference) -> None:
    rng = np.random.default_rng(6)
    monitor = ConceptMonitor(reference)
    feed(monitor, rng, 60, flipped(rng, 0.5))
    monitor.begin_incident(60)
    feed(monitor, rng, 60, flipped(rng, 0.5))
    monitor.reset()
    assert max(monitor.evidence, monitor.recovery_evidence, monitor.harm_recovery_evidence) < 0
    feed(monitor, rng, 100)
    assert monitor.harm_is_over
    assert monitor.concept_is_over


def test_a_corrected_label_corrects_the_evidence_of_the_end(reference: Reference) -> None:
    rng = np.random.default_rng(7)
    corrected, right_only = ConceptMonitor(reference), ConceptMonitor(reference)
    labels = WORLD.labels(100, rng)
    probabilities = WORLD.see(labels, rng)["probabilities"]
    predicted, ids = probabilities.argmax(axis=1), np.arange(100)
    right_only.update(probabilities, predicted, labels, ids=ids)
    corrected.update(probabilities, predicted, (labels + (ids % 4 == 0)) % 6, ids=ids)
    assert corrected.harm_recovery_evidence < right_only.harm_recovery_evidence
    corrected.update(probabilities, predicted, labels, ids=ids)
    assert corrected.harm_recovery_evidence == right_only.harm_recovery_evidence
    assert corrected.recovery_evidence == right_only.recovery_evidence


def test_a_stored_monitor_ends_an_incident_after_as_many_labels(reference: Reference) -> None:
    rng = np.random.default_rng(8)
    monitor = ConceptMonitor(reference)
    feed(monitor, rng, 40, flipped(rng, 0.5))
    monitor.begin_incident(40)
    feed(monitor, rng, 20)
    again = ConceptMonitor.restore(reference, monitor.state())
    for one in (monitor, again):
        feed(one, np.random.default_rng(9), 10)
    assert again.harm_recovery_evidence == monitor.harm_recovery_evidence > 0
    assert again.recovery_evidence == monitor.recovery_evidence


def test_a_state_without_the_errors_of_its_incident_gives_its_evidence_and_an_end(reference: Reference) -> None:
    rng = np.random.default_rng(10)
    monitor = ConceptMonitor(reference)
    feed(monitor, rng, 200)
    state: dict[str, ArrayLike] = dict(monitor.state())
    assert np.asarray(state["sums"]).shape == np.asarray(state["before"]).shape == (12,)
    del state["recovery"], state["before_recovery"]
    again = ConceptMonitor.restore(reference, state)
    assert again.evidence == monitor.evidence
    assert again.harm_evidence == monitor.harm_evidence
    assert again.recovery_evidence == pytest.approx(monitor.recovery_evidence)
    assert again.harm_recovery_evidence == pytest.approx(monitor.harm_recovery_evidence)
    feed(again, rng, 1500)
    assert again.harm_is_over
    assert again.concept_is_over
    assert again.harm_threshold(RUN_TIME, SHARE) == monitor.harm_threshold(RUN_TIME, SHARE)
