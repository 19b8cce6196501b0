"""Labels in bursts: near-identical images bet once, so that one error is not taken for many."""

import datetime as dt
from dataclasses import replace

import numpy as np
import pytest

from tests.support.labelled_stream import CLASSES, EMBEDDING, LabelledStream, answers, prepared_reference
from tidemark.drift.label_clusters import ClusterScale
from tidemark.monitor.events import AlertFired
from tidemark.monitor.prepared_reference import PreparedReference

DAY = dt.timedelta(days=1)


@pytest.fixture(scope="module")
def prepared() -> PreparedReference:
    return prepared_reference()


def send_bursts(stream: LabelledStream, count: int, size: int, swapped: bool = False) -> None:
    """Send labels of objects, of each of which `size` images were taken one after the other, in steps of 200."""
    for _ in range(0, count, 200):
        probabilities, labels = answers(200 // size, stream.rng)
        objects = stream.rng.normal(size=(200 // size, EMBEDDING))
        frames = np.repeat(objects, size, axis=0) + stream.rng.normal(0, 0.02, (200, EMBEDDING))
        near = np.repeat(probabilities, size, axis=0) * np.exp(0.01 * stream.rng.normal(size=(200, CLASSES)))
        near /= near.sum(axis=1, keepdims=True)
        truth = np.repeat((labels + swapped) % CLASSES, size)
        stream.send(near.astype(np.float32), truth, embeddings=frames.astype(np.float32))


@pytest.mark.parametrize("count", [8000, pytest.param(20_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("size", [5, pytest.param(20, marks=pytest.mark.slow)])
def test_calm_bursts_raise_at_most_one_alarm(prepared: PreparedReference, size: int, count: int) -> None:
    stream = LabelledStream(prepared)
    send_bursts(stream, count, size)
    assert len(stream.of(AlertFired)) <= 1


def test_without_clusters_bursts_raise_a_false_alarm() -> None:
    """The test above can fail: labels that all stand alone raise alarms."""
    prepared = prepared_reference()
    scale = ClusterScale(prepared.cluster_scale.directions, -1.0, -1.0)
    stream = LabelledStream(prepared)
    assert stream.state.labels is not None
    stream.state.labels.clusters._scale = scale
    send_bursts(stream, 6000, 20)
    assert stream.of(AlertFired)


def test_bursts_of_a_real_shift_are_detected(prepared: PreparedReference) -> None:
    stream = LabelledStream(prepared)
    send_bursts(stream, 2000, 5)
    assert stream.of(AlertFired) == []
    send_bursts(stream, 2000, 5, swapped=True)
    assert [event.kind for event in stream.of(AlertFired)] == ["concept"]


def test_a_burst_weighs_as_one_label_in_the_measured_accuracy(prepared: PreparedReference) -> None:
    stream = LabelledStream(prepared)
    probabilities, _ = answers(1, stream.rng)
    wrong = np.full(100, (int(probabilities.argmax()) + 1) % CLASSES)
    one = stream.rng.normal(size=(1, EMBEDDING)).astype(np.float32)
    stream.send(np.repeat(probabilities, 100, axis=0), wrong, embeddings=np.repeat(one, 100, axis=0))
    probabilities, _ = answers(9, stream.rng)
    stream.send(probabilities, probabilities.argmax(axis=1))
    measured = stream.state.status.feedback
    assert measured is not None
    assert measured.n == 10
    assert measured.accuracy == pytest.approx(0.9)


def test_images_of_another_day_that_are_only_similar_are_independent(prepared: PreparedReference) -> None:
    """Within a minute they are of one object; a copy is one at any time."""
    scale = prepared.cluster_scale
    stream = LabelledStream(replace(prepared))
    probabilities, labels = answers(1, stream.rng)
    image = np.zeros((1, EMBEDDING), np.float32)
    step = np.zeros((1, EMBEDDING), np.float32)
    step[0, 0] = 1.0
    step *= (
        (scale.copy + scale.burst)
        / 2
        / np.linalg.norm(np.concatenate([step[0], np.zeros(CLASSES, np.float32)]) @ scale.directions)
    )
    stream.send(probabilities, labels, embeddings=image)
    stream.send(probabilities, labels, embeddings=image + step)
    stream.now += DAY
    stream.send(probabilities, labels, embeddings=image - step)
    stream.send(probabilities, labels, embeddings=image)
    assert stream.state.status.feedback is not None
    assert stream.state.status.feedback.n == 2
