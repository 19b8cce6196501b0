"""Products of rows: those of the matrix product, and the same bits whatever other rows come with them."""

from typing import Any

import numpy as np
import pytest

from tidemark.drift.row_products import row_products


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("d", "r"), [(3, 5), (64, 64), (512, 320)])
def test_a_row_has_the_same_product_in_any_company(d: int, r: int, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    rows, matrix = rng.normal(size=(50, d)).astype(dtype), rng.normal(size=(d, r)).astype(dtype)
    together = row_products(rows, matrix)
    np.testing.assert_allclose(together, rows.astype(float) @ matrix.astype(float), atol=1e-3)
    for start, stop in ((0, 1), (3, 4), (5, 23), (7, 50)):
        np.testing.assert_array_equal(row_products(rows[start:stop], matrix), together[start:stop])
    assert row_products(rows[:0], matrix).shape == (0, r)
