"""What labels may bet: those of a burst once, a correction in place of the earlier label."""

import numpy as np
import pytest

from tests.support.label_traffic import RUN_TIME, SHARE, WORLD, accuracy_of
from tidemark.drift import ConceptMonitor, Reference

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


@pytest.fixture(scope="module")
def reference() -> Reference:
    return WORLD.reference(3000, np.random.default_rng(0))


@pytest.mark.parametrize("count", [8000, pytest.param(20_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("size", "step"), [pytest.param(5, 1, marks=pytest.mark.slow), (20, 4)])
def test_labels_of_a_burst_count_once(reference: Reference, size: int, step: int, count: int) -> None:
    """Bursts of one image: none of 8,000 labels alarms, also where a burst comes in several updates."""
    rng = np.random.default_rng(9)
    monitor, threshold = ConceptMonitor(reference), ConceptMonitor(reference).threshold(RUN_TIME, SHARE)
    labels = WORLD.labels(count // size, rng)
    probabilities = np.repeat(WORLD.see(labels, rng)["probabilities"], size, axis=0)
    labels, bursts = np.repeat(labels, size), np.repeat(np.arange(count // size), size)
    highest = max(
        monitor.update(
            probabilities[part], probabilities[part].argmax(axis=1), labels[part], clusters=bursts[part]
        ).evidence.max()
        for part in np.array_split(np.arange(count), count * step // 100)
    )
    assert highest < threshold
    without = ConceptMonitor(reference).update(probabilities, probabilities.argmax(axis=1), labels)
    assert without.evidence.max() > threshold


def test_a_burst_weighs_as_one_label_in_the_measured_accuracy(reference: Reference) -> None:
    monitor = ConceptMonitor(reference)
    answers = np.eye(6)[[0, 1, 2, 3, 3, 3, 3, 3]]
    monitor.update(answers, answers.argmax(axis=1), [0, 1, 2, 5, 5, 5, 5, 5], clusters=[-1, -1, -1, 7, 7, 7, 7, 7])
    accuracy, _, _, n = accuracy_of(monitor)
    assert (accuracy, n) == (0.75, 4)


@pytest.mark.parametrize("back", [0, pytest.param(30, marks=pytest.mark.slow), 400])
def test_a_corrected_label_replaces_the_earlier_bet(reference: Reference, back: int) -> None:
    """Every fourth of 600 labels is wrong and corrected later: the evidence is that of the right labels alone."""
    rng = np.random.default_rng(10)
    labels = WORLD.labels(600, rng)
    probabilities = WORLD.see(labels, rng)["probabilities"]
    predicted, ids = probabilities.argmax(axis=1), np.arange(600)
    wrong = np.arange(600) % 4 == 0
    right_only, corrected = ConceptMonitor(reference), ConceptMonitor(reference)
    right_only.update(probabilities, predicted, labels, ids=ids)
    for row in range(600):
        label = (labels[row] + wrong[row]) % 6
        corrected.update(probabilities[[row]], predicted[[row]], [label], ids=[row])
        late = row - back
        if late >= 0 and wrong[late]:
            corrected.update(probabilities[[late]], predicted[[late]], [labels[late]], ids=[late])
    for late in np.flatnonzero(wrong & (ids > 599 - back)).tolist():
        corrected.update(probabilities[[late]], predicted[[late]], [labels[late]], ids=[late])
    assert corrected.count == right_only.count == 600
    assert corrected.evidence == pytest.approx(right_only.evidence, abs=1e-9)
    assert corrected.harm_evidence == pytest.approx(right_only.harm_evidence, abs=1e-9)
    assert corrected.accuracy() == right_only.accuracy()


def test_a_correction_that_comes_too_late_changes_nothing(reference: Reference) -> None:
    rng = np.random.default_rng(11)
    monitor = ConceptMonitor(reference)
    labels = WORLD.labels(1500, rng)
    probabilities = WORLD.see(labels, rng)["probabilities"]
    monitor.update(probabilities, probabilities.argmax(axis=1), labels, ids=np.arange(1500))
    before = monitor.evidence, monitor.count
    monitor.update(probabilities[:1], probabilities[:1].argmax(axis=1), (labels[:1] + 1) % 6, ids=[0])
    assert (monitor.evidence, monitor.count) == before
