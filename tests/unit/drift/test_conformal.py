"""Conformal intervals: the quantile of all scores, and that of windows whose predictions are as dispersed."""

import numpy as np

from tidemark.drift.rehearsals.conformal import LocalQuantile, conformal_quantile


def scores_that_grow_where_predictions_are_concentrated(rng: np.random.Generator, windows: int) -> np.ndarray:
    """Return scores and dispersities (2, n): a quarter of the windows is concentrated, and errs five times as much."""
    dispersity = np.where(rng.random(windows) < 0.25, 0.3, 0.95) + 0.02 * rng.standard_normal(windows)
    return np.stack([np.abs(rng.standard_normal(windows)) * np.where(dispersity < 0.6, 5.0, 1.0), dispersity])


def test_nine_of_ten_new_scores_are_at_most_the_quantile() -> None:
    rng = np.random.default_rng(0)
    below = [rng.random() <= conformal_quantile(rng.random(30)) for _ in range(1000)]
    assert 0.87 <= np.mean(below) <= 0.95


def test_the_local_quantile_covers_concentrated_and_dispersed_windows_alike() -> None:
    rng = np.random.default_rng(1)
    scores, dispersity = scores_that_grow_where_predictions_are_concentrated(rng, 400)
    fresh, places = scores_that_grow_where_predictions_are_concentrated(rng, 2000)
    quantile = LocalQuantile(scores, dispersity)
    local = fresh <= np.array([quantile(place) for place in places])
    overall = fresh <= conformal_quantile(scores)
    concentrated = places < 0.6
    assert overall[concentrated].mean() < 0.7
    assert 0.85 <= local[concentrated].mean() <= 0.96
    assert 0.85 <= local[~concentrated].mean() <= 0.96
    assert quantile(0.95) < 0.6 * conformal_quantile(scores)


def test_a_window_unlike_all_others_has_the_largest_score() -> None:
    scores = np.linspace(0, 1, 50)
    assert LocalQuantile(scores, np.full(50, 0.95))(0.05) == 1.0
