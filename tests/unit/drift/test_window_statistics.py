"""The statistics of simulated windows are those of their sums, in whatever parts they are computed."""

import numpy as np
import pytest

from tidemark.drift import window_statistics
from tidemark.drift.score_layout import Group
from tidemark.drift.views import Leading

GROUPS = (Group(Leading.EMBEDDING, slice(0, 4)), Group(Leading.PROPERTY, slice(4, 7)))
LENGTHS = np.array([2, 8, 32])
FIRST = 32
SUMS = np.random.default_rng(0).normal(size=(3, 100, 7)).astype(np.float32)


def statistics() -> np.ndarray:
    norm = window_statistics.norms(LENGTHS, 500)
    parts = window_statistics.window_statistics(SUMS, GROUPS, LENGTHS, norm, FIRST)
    return np.concatenate([*parts], axis=-1)


def test_statistics_are_squared_lengths_of_window_sums_in_units_of_their_variance() -> None:
    norm = window_statistics.norms(LENGTHS, 500)
    expected = np.empty((3, 100 - FIRST, len(GROUPS), len(LENGTHS)))
    for last in range(FIRST, 100):
        for scale, length in enumerate(LENGTHS):
            window = SUMS[:, last + 1 - length : last + 1].sum(axis=1, dtype=np.float64)
            for number, group in enumerate(GROUPS):
                expected[:, last - FIRST, number, scale] = (window[:, group.columns] ** 2).sum(axis=1) * norm[scale]

    np.testing.assert_allclose(statistics(), expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("blocks", [1, 7, 68])
def test_statistics_do_not_depend_on_the_parts_in_which_they_are_computed(
    blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = statistics()
    monkeypatch.setattr(window_statistics, "PART_NUMBERS", blocks * SUMS.shape[0] * SUMS.shape[2])

    np.testing.assert_array_equal(statistics(), whole)
