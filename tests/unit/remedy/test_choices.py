"""What is drawn and named for people: resamples, and images to label."""

import numpy as np

from tidemark.drift import Reference
from tidemark.drift.samples import Sample
from tidemark.remedy.label_shift.class_weights import stratified
from tidemark.remedy.relabel import first_of_each
from tidemark.remedy.witness_scores import witness_scores


def test_a_resample_has_the_wanted_shares_and_repeats_as_little_as_it_can() -> None:
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    chosen = stratified(labels, np.array([0.4, 1.0, 2.5]), 0)
    assert np.bincount(labels[chosen], minlength=3).tolist() == [20, 30, 50]
    times = np.bincount(chosen, minlength=100)
    assert times[:50].max() == 1
    assert (times[50:80] == 1).all()
    assert set(times[80:]) == {2, 3}


def test_a_class_without_weight_is_left_out() -> None:
    labels = np.repeat([0, 1], [5, 5])
    assert labels[stratified(labels, np.array([0.0, 2.0, 7.0]), 0)].tolist() == [1] * 10


def test_every_predicted_class_has_its_turn() -> None:
    predicted = np.array([0, 0, 0, 0, 1, 2])
    priority = np.array([0.9, 0.8, 0.7, 0.6, 0.2, 0.1])
    assert first_of_each(predicted, priority, 4) == [0, 4, 5, 1]


def test_the_least_typical_row_has_the_highest_score() -> None:
    rng = np.random.default_rng(0)
    probabilities = np.full((400, 2), 0.5)
    reference = Reference(rng.normal(0, 1, (400, 4)), probabilities)
    embeddings = rng.normal(0, 1, (100, 4)).astype(np.float32)
    embeddings[:20] += 4
    scores = witness_scores(reference, Sample(embeddings, probabilities[:100].astype(np.float32), None))
    assert set(np.argsort(-scores)[:20]) == set(range(20))
