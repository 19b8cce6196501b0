import numpy as np
import pytest
from scipy import linalg

from tidemark.drift.principal_components import Projection
from tidemark.drift.whitening import RIDGE, excess_of_whitening, whitening


def decaying_rows(n: int, d: int, seed: int = 0) -> np.ndarray:
    """Return rows whose columns are correlated and have very different variances."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(n, d)) * (1 + np.arange(d)) ** -0.7
    return (mixed @ linalg.qr(rng.normal(size=(d, d)))[0] + 3).astype(np.float32)


@pytest.mark.parametrize(("n", "d"), [(400, 30), (60, 200), (30, 31)])
def test_rows_are_whitened_along_their_leading_components(n: int, d: int) -> None:
    rows, rank = decaying_rows(n, d), 12
    values, vectors = linalg.eigh(np.cov(rows.astype(np.float64), rowvar=False))
    expected = vectors[:, ::-1][:, :rank] / np.sqrt(values[::-1][:rank] + RIDGE * values[-1])
    matrix = whitening(rows, rank)
    assert matrix.shape == (d, rank)
    fresh = decaying_rows(50, d, seed=0) - rows.mean(axis=0)
    np.testing.assert_allclose(np.abs(fresh @ matrix), np.abs(fresh @ expected), atol=1e-3)


@pytest.mark.parametrize(("n", "d"), [(60, 200), (200, 60)])
def test_rows_of_few_dimensions_have_finite_whitened_components(n: int, d: int) -> None:
    rows = decaying_rows(n, 3) @ np.random.default_rng(1).normal(size=(3, d)).astype(np.float32)
    matrix = whitening(rows, 10)
    assert matrix.shape == (d, 10)
    assert np.isfinite(matrix).all()
    np.testing.assert_allclose(np.cov((rows @ matrix)[:, :3], rowvar=False).diagonal()[0], 1 / (1 + RIDGE), rtol=1e-3)


@pytest.mark.parametrize(("n", "components"), [(100, 50), (600, 256)])
def test_wide_embeddings_are_projected_on_a_bounded_number_of_components(n: int, components: int) -> None:
    rows = np.random.default_rng(0).normal(size=(n, 700)).astype(np.float32)
    assert Projection(rows)(rows).shape == (n, components)


def test_rows_that_are_all_equal_have_a_finite_whitening() -> None:
    assert np.isfinite(whitening(np.ones((20, 50), np.float32), 4)).all()


def test_the_excess_is_that_of_the_covariances() -> None:
    rows, rank = decaying_rows(120, 80), 40
    fitted, fresh = rows[0::2], rows[1::2]
    root = whitening(fitted, rank)
    covariances = (np.cov(part.astype(np.float64), rowvar=False) for part in (fitted, fresh))
    inside, outside = (np.trace(root.T @ covariance @ root) for covariance in covariances)
    assert excess_of_whitening(rows, rank) == pytest.approx(1 + (outside / inside - 1) / 2, rel=1e-4)
    assert excess_of_whitening(rows, rank) > 1
