import numpy as np
import pytest

from tidemark.inference.probabilities import ModelFailed, activate, distributions


def test_exact_rows_keep_their_values() -> None:
    rows = np.random.default_rng(0).dirichlet(np.ones(10), 5).astype(np.float32)
    assert distributions(rows) is rows


def test_a_row_is_corrected_whatever_the_others_of_its_batch_are() -> None:
    exact, rounded = np.array([[0.5, 0.5]], np.float32), np.array([[0.5, 0.507]], np.float32)
    both = distributions(np.concatenate([exact, rounded]))
    np.testing.assert_array_equal(both[0], exact[0])
    np.testing.assert_array_equal(both[1], distributions(rounded)[0])
    assert abs(both[1].sum() - 1) < 1e-6


@pytest.mark.parametrize("steps", [127, 255, 256, 1000])
def test_probabilities_on_a_grid_may_be_off_by_half_a_step_a_class(steps: int) -> None:
    true = np.random.default_rng(0).dirichlet(np.full(300, 0.05), 20)
    rows = (np.rint(true * steps) / steps).astype(np.float32)
    assert np.abs(rows.sum(axis=1) - 1).max() > 0.01
    np.testing.assert_allclose(distributions(rows).sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(
    "row", [[0.2, 0.2, 0.2], [1.4, -0.4, 0.0], [0.0, 0.0, 0.0], [0.9, 0.9, 0.9], [0.51, 0.523, 0.1]]
)
def test_a_row_that_is_not_a_distribution_fails(row: list[float]) -> None:
    with pytest.raises(ModelFailed, match=r"set output\.activation"):
        distributions(np.array([[1, 0, 0], row], np.float32))


def test_normalise_divides_by_the_sum() -> None:
    np.testing.assert_allclose(activate(np.array([[1, 3]], np.float32), "normalise"), [[0.25, 0.75]])
