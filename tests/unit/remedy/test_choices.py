"""What is drawn and named for people: resamples, and images to label."""

import datetime as dt
import json
import tracemalloc
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest

from tidemark.drift import Reference, WindowTest
from tidemark.drift.samples import Sample
from tidemark.remedy.label_shift.class_weights import stratified
from tidemark.remedy.relabel import JSON, MAX_IMAGES, draw_probabilities, relabel
from tidemark.remedy.remedy_context import RemedyContext
from tidemark.remedy.span import UNKNOWN, Span
from tidemark.remedy.witness_scores import witness_scores


def test_a_resample_has_the_requested_shares_and_repeats_as_little_as_it_can() -> None:
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    chosen = stratified(labels, np.array([0.4, 1.0, 2.5]), 0)
    assert np.bincount(labels[chosen], minlength=3).tolist() == [20, 30, 50]
    times = np.bincount(chosen, minlength=100)
    assert times[:50].max() == 1
    assert (times[50:80] == 1).all()
    assert set(times[80:]) == {2, 3}


def test_a_class_without_weight_is_omitted() -> None:
    labels = np.repeat([0, 1], [5, 5])
    assert labels[stratified(labels, np.array([0.0, 2.0, 7.0]), 0)].tolist() == [1] * 10


def test_images_to_label_are_drawn_with_stored_probabilities_from_every_predicted_class() -> None:
    predicted = np.repeat([0, 1, 2], [600, 300, 30])
    rng = np.random.default_rng(0)
    confidence, witness = rng.uniform(0.5, 1, 930), rng.normal(size=930)
    probability = draw_probabilities(predicted, confidence, witness, 90)
    assert (probability > 0).all()
    assert (probability <= 1).all()
    assert np.bincount(predicted, probability).round(6).tolist() == [30, 30, 30]
    doubtful, typical = confidence < 0.6, witness < np.median(witness)
    of_first = predicted == 0
    assert probability[of_first & doubtful].mean() > 1.2 * probability[of_first & ~doubtful].mean()
    assert probability[of_first & ~typical].mean() > 1.2 * probability[of_first & typical].mean()


def test_about_a_hundred_images_are_named_to_be_labelled(tmp_path: Path) -> None:
    rng, n = np.random.default_rng(0), 1000
    probabilities = rng.dirichlet(np.ones(3), n)
    reference = Reference(rng.normal(size=(n, 4)), probabilities)
    sample = reference.check(rng.normal(size=(n, 4)), probabilities)
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    ids = tuple(UUID(int=number) for number in range(n))
    span = Span("m:1", now, now, reference, sample, ids, np.full(n, UNKNOWN), "0")
    report = WindowTest(reference)(sample.embeddings[:20], sample.probabilities[:20])
    relabel(RemedyContext(span, report, frozenset({"concept"}), tmp_path))
    rows = json.loads((tmp_path / JSON).read_text())
    assert abs(len(rows) - MAX_IMAGES) < 5 * np.sqrt(MAX_IMAGES)
    estimate = sum(1 / row["probability"] for row in rows)
    assert 0.5 * n < estimate < 2 * n


def test_the_least_typical_row_has_the_highest_score() -> None:
    rng = np.random.default_rng(0)
    probabilities = np.full((400, 2), 0.5)
    reference = Reference(rng.normal(0, 1, (400, 4)), probabilities)
    embeddings = rng.normal(0, 1, (100, 4)).astype(np.float32)
    embeddings[:20] += 4
    scores = witness_scores(reference, Sample(embeddings, probabilities[:100].astype(np.float32), None))
    assert set(np.argsort(-scores)[:20]) == set(range(20))


def test_scores_compare_with_a_bounded_number_of_rows_of_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidemark.remedy.witness_scores.MAX_ROWS", 100)
    rng = np.random.default_rng(0)
    reference = Reference(rng.normal(size=(2000, 4)), np.full((2000, 2), 0.5))
    sample = reference.check(rng.normal(size=(50, 4)), np.full((50, 2), 0.5))
    tracemalloc.start()
    witness_scores(reference, sample)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000  # the distances of 2,000 rows from each other alone are 16 MB
