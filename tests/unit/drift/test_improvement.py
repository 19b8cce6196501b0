"""The improvement by another last layer, estimated from rehearsals of both models on the same images."""

from collections.abc import Callable

import numpy as np
import pytest

from tidemark.drift import Reference
from tidemark.drift.rehearsals.improvement import ImprovementEstimate, ImprovementEstimator, RehearsedPair
from tidemark.drift.rehearsals.record import AppliedOperation, Rehearsal
from tidemark.drift.samples import Sample

ROWS, REHEARSED, CLASSES, WIDTH = 900, 300, 3, 6
MEANS = 3 * np.eye(CLASSES, WIDTH)
OFFSET = 2.5 * np.eye(WIDTH)[0]  # the shift that the remedy takes away
SIZES = (0.4, 0.8, 1.3, 1.9, 2.6)

Layer = Callable[[np.ndarray], np.ndarray]


def before(embeddings: np.ndarray) -> np.ndarray:
    """Answer with the nearest class mean."""
    odds = np.exp(embeddings @ MEANS.T - (embeddings @ MEANS.T).max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True), np.float32)


def after(embeddings: np.ndarray) -> np.ndarray:
    """Answer as the remedied model does."""
    return before(embeddings - OFFSET)


def embed(rng: np.random.Generator, labels: np.ndarray, noise: float = 0, move: float = 0, axis: int = 0) -> np.ndarray:
    return np.asarray(
        MEANS[labels] + (1 + noise) * rng.normal(size=(len(labels), WIDTH)) + move * np.eye(WIDTH)[axis], np.float32
    )


def estimator_of(layer: Layer, proportions_moved: bool = False) -> ImprovementEstimator:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, ROWS)
    rows, plain = np.arange(REHEARSED), embed(rng, labels)
    changed = [("grain", size, embed(rng, labels[rows], noise=size)) for size in SIZES]
    for axis in (0, 1, 4):
        changed += [(f"place {axis}", size, embed(rng, labels[rows], move=size, axis=axis)) for size in SIZES]
    old, new = (Reference(plain, one(plain), labels=labels) for one in (before, layer))
    pairs = [
        RehearsedPair(
            Rehearsal((AppliedOperation(f"{family} {size}", family, "deviations", size),), 1),
            Sample(embeddings, before(embeddings), None),
            Sample(embeddings, layer(embeddings), None),
        )
        for family, size, embeddings in changed
    ]
    return ImprovementEstimator(old, new, rows, pairs, proportions_moved)


@pytest.fixture(scope="module")
def estimator() -> ImprovementEstimator:
    return estimator_of(after)


def estimate_and_truth(
    estimator: ImprovementEstimator, layer: Layer, embeddings: np.ndarray, labels: np.ndarray
) -> tuple[ImprovementEstimate, float]:
    old, new = before(embeddings), layer(embeddings)
    truth = float((new.argmax(axis=1) == labels).mean() - (old.argmax(axis=1) == labels).mean())
    return estimator(Sample(embeddings, old, None), Sample(embeddings, new, None)), truth


@pytest.mark.parametrize(("shares", "error"), [(None, 0.04), ([0.7, 0.2, 0.1], 0.05), ([0, 0.5, 0.5], 0.1)])
def test_the_interval_covers_what_a_remedied_model_gains_and_loses(shares: list[float] | None, error: float) -> None:
    estimator = estimator_of(after, proportions_moved=shares is not None)
    rng = np.random.default_rng(1)
    errors, covered, signs = [], [], []
    for move in (0.0, 0.6, 1.6, 2.3, 2.9):
        labels = rng.choice(CLASSES, 800, p=shares)
        estimate, truth = estimate_and_truth(estimator, after, embed(rng, labels, move=move), labels)
        errors.append(estimate.amount - truth)
        covered.append(estimate.low <= truth <= estimate.high)
        signs.append(abs(truth) < 0.03 or np.sign(estimate.amount) == np.sign(truth))
    assert np.abs(errors).mean() < error
    assert np.mean(covered) >= 0.8
    assert all(signs)


def test_a_model_that_changes_few_answers_has_a_narrow_interval() -> None:
    def slightly(embeddings: np.ndarray) -> np.ndarray:
        return before(embeddings - 0.1 * OFFSET)

    rng = np.random.default_rng(2)
    labels = rng.integers(0, CLASSES, 800)
    estimate, truth = estimate_and_truth(estimator_of(slightly), slightly, embed(rng, labels, move=2.3), labels)
    assert estimate.low <= truth <= estimate.high
    assert estimate.high - estimate.low < 0.1


def test_answers_that_do_not_change_gain_nothing(estimator: ImprovementEstimator) -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, CLASSES, 500)
    estimate, _ = estimate_and_truth(estimator, before, embed(rng, labels, move=1.0), labels)
    assert estimate == (0, 0, 0)
