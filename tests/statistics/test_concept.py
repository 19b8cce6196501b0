"""Concept shift: found from few labels, and not mistaken for the other shifts."""

import numpy as np
import pytest

from tests.statistics.worlds import World
from tidemark.drift import ConceptMonitor, Reference

WORLD = World(k=6, spread=1.2)
RUN_TIME, SHARE = 100_000, 0.1


@pytest.fixture(scope="module")
def reference() -> Reference:
    return WORLD.reference(3000, np.random.default_rng(0))


def feed(monitor: ConceptMonitor, rng, n: int, change=lambda labels: labels, prior=None, **options) -> None:
    labels = WORLD.labels(n, rng, prior)
    probabilities = WORLD.see(labels, rng)["probabilities"]
    monitor.update(probabilities, probabilities.argmax(axis=1), change(labels), **options)


def swapped(labels: np.ndarray) -> np.ndarray:
    return np.where(labels == 1, 4, np.where(labels == 4, 1, labels))


def flipped(rng):
    return lambda labels: np.where(rng.random(len(labels)) < 0.1, (labels + 1) % 6, labels)


def delay(monitor: ConceptMonitor, rng, change) -> int:
    threshold = monitor.threshold(RUN_TIME, SHARE)
    start = monitor.count
    while monitor.evidence <= threshold:
        feed(monitor, rng, 5, change)
        assert monitor.count < start + 2000
    return monitor.count - start


def test_ten_points_of_accuracy_are_missed_within_150_labels(reference):
    rng = np.random.default_rng(1)
    delays = []
    for _ in range(9):
        monitor = ConceptMonitor(reference)
        feed(monitor, rng, 300)
        delays.append(delay(monitor, rng, flipped(rng)))
    assert np.median(delays) <= 150


def test_names_the_classes_that_were_swapped(reference):
    rng = np.random.default_rng(2)
    monitor = ConceptMonitor(reference)
    feed(monitor, rng, 300)
    assert delay(monitor, rng, swapped) <= 100
    assert set(monitor.classes()[:2]) == {1, 4}


def test_tells_what_came_back_beside_what_was_promised(reference):
    rng = np.random.default_rng(2)
    monitor = ConceptMonitor(reference)
    feed(monitor, rng, 300)
    found = monitor.agreement()
    assert found.low < found.promised < found.high
    feed(monitor, rng, 60, swapped)
    found = monitor.agreement(60)
    assert (found.n, found.accuracy) == (60, monitor.accuracy(60)[0])
    assert found.high < found.promised
    assert len(found.disagreeing) == round(60 * (1 - found.accuracy))
    for item in found.classes[:2]:
        assert (item.name, max(item.instead, key=item.instead.get)) in (("1", "4"), ("4", "1"))
        assert item.n == round(item.n * item.accuracy) + sum(item.instead.values())
        assert item.high < item.promised


def test_state_goes_on_where_it_stopped(reference):
    rng = np.random.default_rng(4)
    monitor = ConceptMonitor(reference)
    feed(monitor, rng, 40, flipped(rng))
    again = ConceptMonitor.restore(reference, monitor.state())
    feed(monitor, np.random.default_rng(5), 40)
    feed(again, np.random.default_rng(5), 40)
    assert (again.agreement(), again.evidence, again.count) == (monitor.agreement(), monitor.evidence, monitor.count)


def test_run_time_is_kept_while_the_labels_agree(reference):
    """60,000 labels against a run time of 100,000 labels: none expected; a bound by Ville, so none tolerated."""
    rng = np.random.default_rng(3)
    monitor = ConceptMonitor(reference)
    highest = 0.0
    for _ in range(30):
        feed(monitor, rng, 2000)
        highest = max(highest, monitor.evidence)
    assert highest < monitor.threshold(RUN_TIME, SHARE)


def test_label_shift_is_no_concept_shift(reference):
    rng = np.random.default_rng(4)
    prior = np.array([0, 0.05, 0.05, 0.3, 0.3, 0.3])
    monitor = ConceptMonitor(reference)
    for _ in range(10):
        feed(monitor, rng, 1000, prior=prior, proportions=prior, tolerance=0.05)
        assert monitor.evidence < monitor.threshold(RUN_TIME, SHARE)


def test_accuracy_of_the_last_labels(reference):
    monitor = ConceptMonitor(reference)
    assert monitor.accuracy() is None
    monitor.update(np.eye(6)[[0, 1, 2, 3]], [0, 1, 2, 3], [0, 1, 2, 5])
    accuracy, low, high, n = monitor.accuracy()
    assert (accuracy, n) == (0.75, 4)
    assert low < 0.75 < high
    assert monitor.accuracy(last=1)[0] == 0


def test_goes_on_from_its_state(reference):
    one = ConceptMonitor(reference)
    feed(one, np.random.default_rng(5), 100)
    other = ConceptMonitor.restore(reference, one.state())
    for monitor in (one, other):
        feed(monitor, np.random.default_rng(6), 100)
    assert one.evidence == other.evidence
    assert one.accuracy() == other.accuracy()


def test_bad_input_is_a_clear_error(reference):
    monitor = ConceptMonitor(reference)
    with pytest.raises(ValueError, match="labels must be"):
        monitor.update(np.eye(6)[:2], [0, 1], [0, 6])
    with pytest.raises(ValueError, match="predicted must be"):
        monitor.update(np.eye(6)[:2], np.array([0.0, 1.0]), [0, 1])
    without = Reference(reference.embeddings, reference.probabilities)
    with pytest.raises(ValueError, match="no"):
        ConceptMonitor(without)
