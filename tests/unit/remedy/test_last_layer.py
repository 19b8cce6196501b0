"""The last layer found and fitted from embeddings."""

import numpy as np
from scipy import special

from tidemark.remedy.adaptation.head import PENALTIES, Head, choose_penalty, distil_head, fit
from tidemark.remedy.paired_bootstrap import hits, log_losses

RNG = np.random.default_rng(0)
CENTRES = RNG.normal(0, 2, (3, 5))
TRUE = Head(RNG.normal(0, 1, (5, 3)), np.array([0.5, 0.0, -0.5]))
BLANK = Head(np.zeros((5, 3)), np.zeros(3))


def rows(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    return CENTRES[labels] + rng.normal(0, 1.5, (n, 5)), labels


def test_the_layer_that_answered_is_detected_from_its_answers() -> None:
    embeddings = RNG.normal(3, 2, (500, 5)) * [1, 3, 0.3, 1, 1]
    answered = TRUE.probabilities(embeddings)
    fresh = RNG.normal(3, 2, (200, 5)) * [1, 3, 0.3, 1, 1]
    np.testing.assert_allclose(
        distil_head(embeddings, answered).probabilities(fresh), TRUE.probabilities(fresh), atol=0.02
    )


def test_it_minimises_the_weighted_loss_with_its_penalty() -> None:
    embeddings, labels = rows(200, 1)
    weights = np.random.default_rng(2).uniform(0, 3, 200)
    head = fit(embeddings, labels, weights, BLANK, 0.1)
    deviation = np.sqrt(
        np.average((embeddings - np.average(embeddings, axis=0, weights=weights)) ** 2, axis=0, weights=weights)
    )
    mean = np.average(embeddings, axis=0, weights=weights)

    def objective(candidate: Head) -> float:
        logs = special.log_softmax(candidate.scores(embeddings), axis=1)[np.arange(200), labels]
        change = np.vstack([candidate.weights * deviation[:, None], candidate.offsets + mean @ candidate.weights])
        return float(-np.average(logs, weights=weights) + 0.05 * (change**2).sum())

    least = objective(head)
    for seed in range(20):
        step = np.random.default_rng(seed).normal(0, 0.02, (6, 3))
        assert objective(Head(head.weights + step[:5], head.offsets + step[5])) > least


def test_weights_count_as_repeated_rows() -> None:
    embeddings, labels = rows(120, 3)
    counts = np.random.default_rng(4).integers(0, 4, 120)
    repeated = np.repeat(np.arange(120), counts)
    one = fit(embeddings, labels, counts.astype(float), BLANK, 0.01)
    other = fit(embeddings[repeated], labels[repeated], np.ones(len(repeated)), BLANK, 0.01)
    np.testing.assert_allclose(one.probabilities(embeddings), other.probabilities(embeddings), atol=2e-3)


def test_neither_a_heavy_penalty_nor_a_lack_of_data_moves_the_start() -> None:
    embeddings, labels = rows(100, 5)
    head = fit(embeddings, labels, np.ones(100), TRUE, 1e6)
    np.testing.assert_allclose(head.probabilities(embeddings), TRUE.probabilities(embeddings), atol=1e-3)


def test_the_penalty_is_chosen_by_held_out_labels() -> None:
    embeddings, labels = rows(60, 6)
    noise = np.random.default_rng(7).integers(0, 3, 60)
    ones = np.ones(60)
    assert choose_penalty(embeddings, noise, ones, BLANK, 0) == max(PENALTIES)
    assert choose_penalty(embeddings, labels, ones, BLANK, 0) < max(PENALTIES)


def test_it_learns() -> None:
    training, fresh = rows(300, 8), rows(1000, 9)
    head = fit(*training, np.ones(300), BLANK, 1e-3)
    assert hits(head.probabilities(fresh[0]), fresh[1]).mean() > 0.8
    assert log_losses(head.probabilities(fresh[0]), fresh[1]).mean() < 0.6
