"""Labels of doubtful predictions only, as a review queue gives them: no false alert, and an accuracy that is right."""

from dataclasses import replace

import numpy as np
import pytest

from tests.support.labelled_stream import LabelledStream, answers, prepared_reference
from tidemark.monitor import checkpoint
from tidemark.monitor.events import AlertFired
from tidemark.monitor.prepared_reference import BaselineKey, PreparedReference
from tidemark.store.stream_status import StreamStatus


@pytest.fixture(scope="module")
def prepared() -> PreparedReference:
    return prepared_reference()


def review(stream: LabelledStream, count: int, below: float, wrong: float = 0.0) -> float:
    """Send predictions, and labels of those with a confidence below a limit; return the accuracy on all."""
    right = []
    for _ in range(0, count, 500):
        probabilities, labels = answers(500, stream.rng)
        labels = np.where(stream.rng.random(500) < wrong, (labels + 1) % 5, labels)
        stream.state = stream.state.with_confidences(probabilities)
        right.append(probabilities.argmax(axis=1) == labels)
        rows = probabilities.max(axis=1) < below
        stream.send(probabilities[rows], labels[rows], predictions=500)
    return float(np.mean(right))


def test_a_review_queue_raises_no_alert_and_its_accuracy_is_corrected(prepared: PreparedReference) -> None:
    stream = LabelledStream(prepared)
    truth = review(stream, 10_000, below=0.7)
    assert stream.alerts == []
    measured = stream.state.status.feedback
    assert measured is not None
    assert measured.on_labels is not None
    assert measured.on_labels < truth - 0.2
    assert abs(measured.accuracy - truth) < 0.03
    assert measured.low < truth < measured.high


def test_labels_of_a_random_part_are_not_corrected(prepared: PreparedReference) -> None:
    stream = LabelledStream(prepared)
    truth = review(stream, 2000, below=1.1)
    measured = stream.state.status.feedback
    assert measured is not None
    assert not measured.is_corrected
    assert abs(measured.accuracy - truth) < 0.05


def test_a_shift_is_detected_in_a_review_queue(prepared: PreparedReference) -> None:
    stream = LabelledStream(prepared)
    review(stream, 3000, below=0.7)
    assert stream.alerts == []
    review(stream, 6000, below=0.7, wrong=0.5)
    assert stream.of(AlertFired)


def test_the_sample_of_confidences_is_the_same_in_steps_of_any_size(prepared: PreparedReference) -> None:
    probabilities, _ = answers(1234, np.random.default_rng(3))
    whole = LabelledStream(prepared).state.with_confidences(probabilities)
    parts = LabelledStream(prepared).state
    for first in range(0, 1234, 7):
        chunk = probabilities[first : first + 7]
        parts = parts.with_confidences(chunk)
        parts = replace(parts, seen=parts.seen + len(chunk))
    np.testing.assert_array_equal(parts.confidences, whole.confidences)
    assert len(whole.confidences) == 247
    stored = checkpoint.Checkpoint.from_bytes(checkpoint.to_bytes(whole, BaselineKey(1), {}, {}))
    assert stored is not None
    restored, _ = checkpoint.restore_state(stored, BaselineKey(1), prepared, 125_000.0, 0.05)
    np.testing.assert_array_equal(restored.confidences, whole.confidences)


def test_labels_of_errors_only_measure_no_accuracy_and_raise_no_alert(prepared: PreparedReference) -> None:
    stream = LabelledStream(prepared)
    for _ in range(10):
        probabilities, labels = answers(500, stream.rng)
        stream.state = stream.state.with_confidences(probabilities)
        wrong = probabilities.argmax(axis=1) != labels
        stream.send(probabilities[wrong], labels[wrong], predictions=500)
        assert stream.state.status.feedback is None
    assert stream.alerts == []
    count = stream.state.status.errors_only
    assert count is not None
    assert count > 30
    assert StreamStatus.from_json(stream.state.status.to_json()) == stream.state.status


def test_a_model_that_fails_altogether_is_detected_on_labels_of_a_random_part(prepared: PreparedReference) -> None:
    stream = LabelledStream(prepared)
    review(stream, 500, below=1.1)
    for _ in range(3):
        probabilities, _ = answers(500, stream.rng)
        stream.state = stream.state.with_confidences(probabilities)
        chosen = slice(0, 60)
        stream.send(probabilities[chosen], (probabilities.argmax(axis=1)[chosen] + 1) % 5, predictions=500)
    assert stream.of(AlertFired)
    assert stream.state.status.errors_only is None
